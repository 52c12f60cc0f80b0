"""Traefik's counters, by server. Pure: `TraefikGateway` fetches the text."""

from __future__ import annotations

import re

from andon.adapters.routes import FALLBACK
from andon.ports import Traffic

PROVIDER = "@file"
# Refused, but not for what was asked: too slow to ask, too often, gone before the answer.
NOT_INVALID = frozenset({"408", "429", "499"})
_SAMPLE = re.compile(
    r"traefik_service_(requests_total|request_duration_seconds_bucket)\{(.*)\} (.*)"
)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def read_traffic(metrics: str) -> dict[str, Traffic]:
    """Prometheus' text to counters by server, summed over status codes, methods and protocols.

    Only services that are named after a server: what a server answers in another's place is
    counted under its second name, and left out.
    """
    sums: dict[str, dict[str, float]] = {}
    buckets: dict[str, dict[float, float]] = {}
    for line in metrics.splitlines():
        sample = _SAMPLE.fullmatch(line)
        if not sample:
            continue
        labels, value = dict(_LABEL.findall(sample[2])), float(sample[3])
        name = labels["service"].removesuffix(PROVIDER)
        if name == labels["service"] or name.endswith(FALLBACK):
            continue  # Traefik's own, its API and metrics; or an answer in another's place
        if sample[1] == "requests_total":
            counts = sums.setdefault(name, {"requests": 0.0, "errors": 0.0, "invalid": 0.0})
            counts["requests"] += value
            if kind := _kind(labels["code"]):
                counts[kind] += value
        else:
            bounds = buckets.setdefault(name, {})
            bound = float(labels["le"])
            bounds[bound] = bounds.get(bound, 0.0) + value
    return {
        name: Traffic(**counts, buckets=dict(sorted(buckets.get(name, {}).items())))
        for name, counts in sums.items()
    }


def _kind(code: str) -> str:
    if code.startswith("5"):
        return "errors"
    return "invalid" if code.startswith("4") and code not in NOT_INVALID else ""
