"""Gates of a release: what everything seen in a step so far says.

A whole rollout of a candidate that is as good as its champion, and within the fixed limits, is
failed by chance in at most `ALPHA` of cases, over all its looks, checks and steps. Whoever drives
gives each state its share; a gate divides that over its comparisons (`comparisons`), and each of
these holds at every look at once (`andon.sequential`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from andon import checks, model_checks, traffic_checks
from andon.resource_checks import resources
from andon.seen import Seen
from andon.spec import GateName, Limits
from andon.verdict import Outcome, Verdict

__all__ = ["ALPHA", "Seen", "comparisons", "judge", "sides"]

ALPHA = 0.05  # of a whole rollout: how often one that is as good as its champion may be failed

# The checks of each gate that chance may fail. The fixed limits are among them: a candidate that
# keeps a limit has bad luck as often as one that is as good as its champion.
CHANCE: dict[GateName, tuple[str, ...]] = {
    "errors": ("error rate", "errors against champion"),
    "latency": ("latency p95", "latency against champion"),
    "inputs": ("refused inputs against champion",),
    "predictions": ("label shares against champion", "mean score against champion"),
    "agreement": ("disagreement", "disagreement in a slice", "score correlation"),
    "labels": ("loss on labels",),
    "resources": (),
}


def comparisons(gate: Sequence[GateName]) -> tuple[str, ...]:
    """The checks of a gate that chance may fail: they share the gate's alpha evenly."""
    return tuple(name for it in dict.fromkeys(gate) for name in CHANCE[it])


def judge(
    seen: Seen, gate: Sequence[GateName], limits: Limits, min_requests: int, alpha: float = ALPHA
) -> list[Verdict]:
    """The verdicts of a gate so far; may be asked at every look.

    `alpha` is this state's share of the rollout's false alarms, over all its looks and checks.
    Nothing passes before the candidate has answered `min_requests`, but the known answers.
    """
    if min_requests == 0 and not gate:
        return []
    each = alpha / max(1, len(comparisons(gate)))
    found: list[Verdict] = []
    for name in dict.fromkeys(gate):
        found += _of(name, seen, limits, min_requests, each)
        if name in seen.missing:
            found.append(_unmeasured(name, seen.missing[name]))
    if not {"errors", "latency"} & set(gate):
        found.append(_requests(seen, min_requests))
    n = int(seen.candidate.requests)
    if n < min_requests:
        found = [_waiting(it, n, min_requests) for it in found]
    return [checks.smoke(seen.probe, 0), *found]


def _of(
    name: GateName, seen: Seen, limits: Limits, min_requests: int, each: float
) -> list[Verdict]:
    if name == "agreement":
        return model_checks.agreement(seen, limits, min_requests, 3 * each)
    if name == "resources":
        return resources(seen, limits)
    parts: dict[GateName, tuple[Callable[[Seen, Limits, float], list[Verdict]], int]] = {
        "errors": (traffic_checks.errors, 1),
        "latency": (traffic_checks.latency, 1),
        "inputs": (traffic_checks.inputs, 1),
        "predictions": (model_checks.predictions, 2),
        "labels": (model_checks.labels, 1),
    }
    check, shares = parts[name]
    return check(seen, limits, shares * each)


def _unmeasured(name: str, why: str) -> Verdict:
    return Verdict(
        check=f"{name} measured", outcome=Outcome.INCONCLUSIVE, detail=f"not measured: {why}"
    )


def _requests(seen: Seen, min_requests: int) -> Verdict:
    n = int(seen.candidate.requests)
    return Verdict(
        check="requests",
        outcome=Outcome.PASS,
        value=float(n),
        limit=float(min_requests),
        n=n,
        detail=f"answered {n} requests",
    )


# What a server's first requests are like says little of the rest: a cold start is slow.
PATIENT = {"latency p95", "latency against champion"}


def _waiting(verdict: Verdict, n: int, min_requests: int) -> Verdict:
    """What it is before there are enough requests: a failure that is certain, or nothing yet."""
    certain = verdict.outcome is Outcome.FAIL and verdict.check not in PATIENT
    detail = f"{verdict.detail}; {n} requests, wanted at least {min_requests}"
    outcome = verdict.outcome if certain else Outcome.INCONCLUSIVE
    return verdict.model_copy(update={"outcome": outcome, "detail": detail})


def sides(evidence: Mapping[str, Any]) -> tuple[float, float] | None:
    """Candidate's and champion's number, by the names that checks give them in their evidence."""
    for what in ("", "_mean", "_rate"):
        found = evidence.get(f"candidate{what}"), evidence.get(f"champion{what}")
        if all(isinstance(it, int | float) for it in found):
            return found[0], found[1]  # type: ignore[return-value]
    counts = [evidence.get(f"{who}_{it}") for who in ("candidate", "champion") for it in "kn"]
    if not all(isinstance(it, int | float) for it in counts) or not (counts[1] and counts[3]):
        return None
    return counts[0] / counts[1], counts[2] / counts[3]
