"""Checks of a release: does the candidate answer, rightly, quickly and without errors?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf
from statistics import median_low
from typing import Any

from andon.looks import Probe
from andon.ports import Traffic
from andon.spec import HttpLimits
from andon.verdict import Outcome, Verdict

TOLERANCE = 1e-9
OFFERED = 0.95  # of a load's rate: with less of it sent, nobody knows how its rate is served
BUSY = 0.8  # of a core: whoever sends with one interpreter can hardly send more


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


def quantile(traffic: Traffic, q: float) -> float:
    """A quantile in seconds, interpolated within its histogram bucket; 0 without requests.

    As Prometheus' histogram_quantile, but infinite in the open last bucket: it can be anything.
    """
    bounds = sorted(traffic.buckets)
    counts = [traffic.buckets[b] for b in bounds]
    if not counts or counts[-1] <= 0:
        return 0.0
    return _interpolate(bounds, counts, q * counts[-1])


def above(traffic: Traffic, seconds: float) -> float:
    """Requests that surely took longer: those above the first bucket that reaches so far."""
    reach = [n for bound, n in sorted(traffic.buckets.items()) if bound >= seconds]
    return max(traffic.buckets.values()) - reach[0] if reach else 0.0


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


@dataclass(frozen=True)
class LoadRun:
    """One run of a load: `rps` as it was sent, latencies from when requests were due.

    `busy`: the share of a core that the sender's process used.
    """

    sent: int
    failed: int
    rps: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    busy: float = 0.0
    example: str = ""


def load(runs: Sequence[LoadRun], rps: float, wanted: int, limits: HttpLimits) -> Verdict:
    """Steady load: the median run's p95 latency, and the errors of all runs.

    Inconclusive while runs are missing, and where the rate was not reached though nothing is
    wrong with the answers: then the sender is at its limit, and says nothing of the server.
    """
    if not runs:
        detail = f"0 of {wanted} runs are done"
        return Verdict(
            check="load", outcome=Outcome.INCONCLUSIVE, limit=limits.p95_ms, detail=detail
        )
    n, failed = sum(it.sent for it in runs), sum(it.failed for it in runs)
    middle = median_low(it.p95_ms for it in runs)
    shown = next(it for it in runs if it.p95_ms == middle)
    reached = min(it.rps for it in runs)
    busy = max(it.busy for it in runs)
    outcome = Outcome.PASS if middle <= limits.p95_ms else Outcome.FAIL
    notes = []
    if len(runs) < wanted:
        outcome = Outcome.INCONCLUSIVE
        notes.append(f"{len(runs)} of {wanted} runs are done")
    elif reached < OFFERED * rps and (outcome is Outcome.PASS or busy >= BUSY):
        outcome = Outcome.INCONCLUSIVE
        notes.append(
            f"this machine could not send more (its sender used {100 * busy:.0f} % of a core)"
        )
    # What is missing cannot make these errors good.
    if failed > limits.error_rate * n * wanted / len(runs):
        outcome = Outcome.FAIL
    if failed:
        notes.append(f"first: {next(it.example for it in runs if it.failed)}")
    detail = (
        f"{reached:.4g} of {rps:g} requests/s; p50 {shown.p50_ms:.1f}, p95 {middle:.1f}, "
        f"p99 {shown.p99_ms:.1f} ms in the median run; {failed} of {n} requests failed"
    )
    return Verdict(
        check="load", outcome=outcome, value=middle, limit=limits.p95_ms, n=n,
        detail="; ".join([detail, *notes]), evidence={"runs": [asdict(it) for it in runs]},
    )  # fmt: skip
