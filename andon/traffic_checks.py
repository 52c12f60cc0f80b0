"""What the gateway counted of a release: errors, latency and refused requests.

`alpha`, everywhere: the chance of a false failure over all looks; `andon.gates` divides it.
"""

from __future__ import annotations

from math import inf
from typing import Any

from andon.checks import quantile
from andon.ports import Traffic
from andon.seen import Seen
from andon.sequential import Comparison, Mean, beyond_p, harm_p, ratio_estimate, ratio_interval
from andon.spec import Limits
from andon.verdict import Outcome, Verdict

SLOW = 0.05  # the share of requests above the 95th percentile


def errors(seen: Seen, limits: Limits, alpha: float) -> list[Verdict]:
    """Requests that failed: against the limit, and against the champion's."""
    return [
        _error_rate(seen.candidate, limits.error_rate, alpha),
        *_against("errors against champion", "failed", seen.errors, limits.error_ratio, alpha),
    ]


def inputs(seen: Seen, limits: Limits, alpha: float) -> list[Verdict]:
    """Requests that were refused (4xx), against the champion's."""
    name = "refused inputs against champion"
    return _against(name, "were refused", seen.refused, limits.invalid_ratio, alpha)


def latency(seen: Seen, limits: Limits, alpha: float) -> list[Verdict]:
    """The 95th percentile of the latency: against the limit, and against the champion's."""
    return [
        _p95(seen.candidate, limits.p95_ms, alpha),
        *_usual(seen, limits.latency_ratio, alpha),
    ]


def _error_rate(traffic: Traffic, limit: float, alpha: float) -> Verdict:
    n = int(traffic.requests)
    found = Mean(float(min(n, int(traffic.errors))), n)
    p = found.above_p(limit)
    low, high = found.interval(alpha)
    within = Outcome.PASS if found.value <= limit else Outcome.INCONCLUSIVE
    return Verdict(
        check="error rate",
        outcome=Outcome.FAIL if p <= alpha else within,
        value=found.value,
        limit=limit,
        n=n,
        detail=f"{found.total:.0f} of {n} requests failed"
        + ("; too few to tell it from the limit" if p > alpha and found.value > limit else ""),
        evidence={"failed": found.total, "p": p, "alpha": alpha, "interval": [low, high]},
    )


def _against(
    name: str, what: str, seen: Comparison, tolerated: float, alpha: float
) -> list[Verdict]:
    """The odds ratio of candidate and champion; nothing where there is no champion to compare."""
    it = seen.total
    if it.champion_n == 0:
        return []
    p = harm_p(seen.scores, tolerated)
    low, high = ratio_interval(seen.scores, alpha)
    ours, theirs = it.candidate_k / max(it.candidate_n, 1), it.champion_k / it.champion_n
    up_to = f"{high:.2f}" if high < inf else "any"
    return [
        Verdict(
            check=name,
            outcome=Outcome.FAIL if p <= alpha else Outcome.PASS,
            value=p,
            limit=alpha,
            n=it.candidate_n,
            detail=f"{it.candidate_k} of {it.candidate_n} requests {what} ({ours:.2%}), of the "
            f"champion's {it.champion_k} of {it.champion_n} ({theirs:.2%}): "
            f"odds ratio {low:.2f} to {up_to}, at most {tolerated:g} is allowed; "
            f"p = {p:.2g}, fails at {alpha:.2g}",
            evidence={
                "candidate_n": it.candidate_n,
                "candidate_k": it.candidate_k,
                "champion_n": it.champion_n,
                "champion_k": it.champion_k,
                "candidate_rate": ours,
                "champion_rate": theirs,
                "odds_ratio": ratio_estimate(seen.scores),
                "interval": [low, high if high < inf else None],
                "tolerated": tolerated,
                "p": p,
                "alpha": alpha,
            },
        )
    ]


def _p95(traffic: Traffic, limit_ms: float, alpha: float) -> Verdict:
    """Fails if the share of requests above the limit is above 5 % beyond doubt.

    Within a bucket requests are taken as spread evenly, as the percentile itself takes them.
    """
    p95 = 1_000 * quantile(traffic, 1 - SLOW)
    slower = Mean(_slower(traffic, limit_ms / 1_000), int(_counted(traffic)))
    p = slower.above_p(SLOW)
    outcome = Outcome.PASS if p95 <= limit_ms else Outcome.INCONCLUSIVE
    told = f"{p95:.1f} ms"
    if p95 == inf:
        p95 = 1_000 * _top(traffic)
        told = f"above {p95:.0f} ms, the most that the gateway tells apart,"
    if p <= alpha:
        outcome = Outcome.FAIL
    doubt = "; too few to tell it from the limit" if outcome is Outcome.INCONCLUSIVE else ""
    return Verdict(
        check="latency p95",
        outcome=outcome,
        value=p95,
        limit=limit_ms,
        n=int(traffic.requests),
        detail=f"{told} over {int(traffic.requests)} requests{doubt}",
        evidence={
            "slower": slower.total,
            "n": slower.n,
            "p": p,
            "alpha": alpha,
            "interval": list(slower.interval(alpha)),
        },
    )


def _usual(seen: Seen, ratio: float, alpha: float) -> list[Verdict]:
    """Against the champion's: how many requests take longer than `ratio` times its p95?

    Its first requests set the bound, later ones are counted: a bound that is chosen by the numbers
    that are tested would be right too rarely. Fails if more than 5 %, and more than of the
    champion's own, take longer, both beyond doubt.
    """
    name = "latency against champion"
    if seen.champion.requests == 0:
        return []
    if seen.usual is None:
        n = int(seen.champion.requests)
        return [_untested(name, f"the champion answered {n} requests: too few to know its latency")]
    p95 = quantile(seen.usual[1], 1 - SLOW)
    bound = next((it for it in sorted(seen.champion.buckets) if it >= ratio * p95), inf)
    if bound == inf:
        told = "above" if p95 == inf else f"{ratio:g} times {1_000 * p95:.1f} ms, which is above"
        top = f"{1_000 * _top(seen.champion):.0f} ms, the most that the gateway tells apart"
        return [_untested(name, f"the champion's p95 is {told} {top}")]
    return [_slower_than(name, seen, bound, p95, alpha)]


def _slower_than(name: str, seen: Seen, bound: float, p95: float, alpha: float) -> Verdict:
    before, champions_before = seen.usual or (Traffic(), Traffic())
    ours = _above(seen.candidate.since(before), bound)
    theirs = _above(seen.champion.since(champions_before), bound)
    p = max(ours.above_p(SLOW), beyond_p(ours, theirs, 0.0))  # both have to be beyond doubt
    evidence: dict[str, Any] = {
        "bound_ms": 1_000 * bound,
        "champion_p95_ms": 1_000 * p95,
        "candidate_n": ours.n,
        "candidate_k": ours.total,
        "candidate_interval": list(ours.interval(alpha)),
        "champion_n": theirs.n,
        "champion_k": theirs.total,
        "champion_interval": list(theirs.interval(alpha)),
        "p": p,
        "alpha": alpha,
    }
    return Verdict(
        check=name,
        outcome=Outcome.FAIL if p <= alpha else Outcome.PASS,
        value=ours.value,
        limit=SLOW,
        n=ours.n,
        detail=f"{ours.total:.0f} of {ours.n} requests took more than {1_000 * bound:g} ms, of the "
        f"champion's {theirs.total:.0f} of {theirs.n}, whose p95 was {1_000 * p95:.1f} ms; "
        f"p = {p:.2g}, fails at {alpha:.2g}",
        evidence=evidence,
    )


def _untested(name: str, why: str) -> Verdict:
    return Verdict(check=name, outcome=Outcome.PASS, detail=f"nothing was tested: {why}")


def _counted(traffic: Traffic) -> float:
    return max(traffic.buckets.values(), default=0.0)


def _top(traffic: Traffic) -> float:
    """The largest bound in seconds that is one."""
    return max((it for it in traffic.buckets if it < inf), default=0.0)


def _above(traffic: Traffic, bound: float) -> Mean:
    """Requests above a bound of the histogram."""
    n = int(_counted(traffic))
    return Mean(float(max(0, n - int(traffic.buckets.get(bound, 0.0)))), n)


def _slower(traffic: Traffic, seconds: float) -> float:
    """How many requests took longer; in the open last bucket nobody knows, and none does."""
    low, seen = 0.0, 0.0
    for bound, count in sorted(traffic.buckets.items()):
        if bound > seconds:
            if bound == inf:
                return _counted(traffic) - count if seconds > low else _counted(traffic) - seen
            inside = seen + (count - seen) * (seconds - low) / (bound - low)
            return max(0.0, _counted(traffic) - inside)
        low, seen = bound, count
    return 0.0
