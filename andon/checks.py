"""Checks of a release: does the candidate answer, rightly, quickly and without errors?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from andon.looks import Probe
from andon.ports import Traffic
from andon.spec import HttpLimits
from andon.verdict import Outcome, Verdict

TOLERANCE = 1e-9


def same_answer(expected: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Labels equal, numbers within 1e-9; what is expected nowhere, as the id, may be anything."""
    return all(key in found and _same(value, found[key]) for key, value in expected.items())


def _same(expected: Any, found: Any) -> bool:
    if isinstance(expected, Mapping):
        return (
            isinstance(found, Mapping)
            and len(expected) == len(found)
            and same_answer(expected, found)
        )
    if isinstance(found, bool) != isinstance(expected, bool):
        return False
    if isinstance(expected, float) and isinstance(found, int | float):
        return abs(expected - found) <= TOLERANCE * max(1.0, abs(expected))
    return bool(expected == found)


def smoke(probe: Probe, wanted: int) -> Verdict:
    """Requests with known answers: none may fail or be answered differently."""
    bad = probe.failed + probe.wrong
    outcome = Outcome.PASS if probe.sent >= wanted else Outcome.INCONCLUSIVE
    if bad:
        outcome = Outcome.FAIL
    detail = f"{probe.sent} requests with known answers: {probe.failed} failed, {probe.wrong} wrong"
    return Verdict(
        check="smoke",
        outcome=outcome,
        value=float(bad),
        limit=0.0,
        n=probe.sent,
        detail=detail + (f"; first: {probe.example}" if probe.example else ""),
    )


def http(before: Traffic, after: Traffic, limits: HttpLimits, min_requests: int) -> list[Verdict]:
    """Error rate and p95 latency of one server between two readings of the gateway's counters."""
    n = int(after.requests - before.requests)
    errors = after.errors - before.errors
    enough = n >= min_requests
    few = "" if enough else f"; wanted at least {min_requests} requests"
    # Enough errors to fail whatever the missing requests bring need not wait for them.
    failed = errors > limits.error_rate * max(n, min_requests)
    rate = errors / n if n else 0.0
    passed = Outcome.PASS if enough else Outcome.INCONCLUSIVE
    return [
        Verdict(
            check="error rate",
            outcome=Outcome.FAIL if failed else passed,
            value=rate,
            limit=limits.error_rate,
            n=n,
            detail=f"{errors:.0f} of {n} requests failed{few}",
        ),
        _latency(before, after, limits.p95_ms, min_requests),
    ]


def _latency(before: Traffic, after: Traffic, limit: float, min_requests: int) -> Verdict:
    n = int(after.requests - before.requests)
    p95 = 1_000 * quantile(before, after, 0.95)
    told = f"{p95:.1f} ms"
    outcome = Outcome.FAIL if p95 > limit else Outcome.PASS
    if p95 == inf:
        p95 = 1_000 * max((it for it in after.buckets if it < inf), default=0.0)
        told = f"above {p95:.0f} ms, the most that the gateway tells apart,"
        # A limit above that may be kept or not.
        outcome = Outcome.FAIL if p95 >= limit else Outcome.INCONCLUSIVE
    few = n < min_requests
    return Verdict(
        check="latency p95",
        outcome=Outcome.INCONCLUSIVE if few else outcome,
        value=p95,
        limit=limit,
        n=n,
        detail=f"{told} over {n} requests"
        + (f"; wanted at least {min_requests} requests" if few else ""),
    )


def quantile(before: Traffic, after: Traffic, q: float) -> float:
    """A quantile in seconds, interpolated within its histogram bucket; 0 without requests.

    As Prometheus' histogram_quantile, but infinite in the open last bucket: it can be anything.
    """
    bounds = sorted(after.buckets)
    counts = [after.buckets[b] - before.buckets.get(b, 0.0) for b in bounds]
    if not counts or counts[-1] <= 0:
        return 0.0
    return _interpolate(bounds, counts, q * counts[-1])


def _interpolate(bounds: Sequence[float], counts: Sequence[float], rank: float) -> float:
    low, seen = 0.0, 0.0
    for bound, count in zip(bounds, counts, strict=True):
        if count >= rank:
            if bound == inf:
                return inf
            share = (rank - seen) / (count - seen) if count > seen else 1.0
            return low + (bound - low) * share
        low, seen = bound, count
    return low
