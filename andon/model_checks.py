"""What the model itself says in a release: answers, pairs of answers to the same inputs, losses.

`alpha`, everywhere: the chance of a false failure over all looks; `andon.gates` divides it.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import asin, pi, sin

from andon.seen import Agreement, Seen, Sides
from andon.sequential import Mean, beyond_p
from andon.spec import Limits
from andon.verdict import Outcome, Verdict

PAIRS = 30  # on fewer, an agreement is chance; no more than the step's min_requests are asked for


def predictions(seen: Seen, limits: Limits, alpha: float) -> list[Verdict]:
    """Answers that are none, and how far the others are from the champion's; two comparisons."""
    found = [_sound(seen)]
    if seen.labels:
        found.append(_labels(seen, limits.shift, alpha / 2))
    if seen.scores.champion.n:
        found.append(_scores(seen.scores, limits.shift, alpha / 2))
    return found


def labels(seen: Seen, limits: Limits, alpha: float) -> list[Verdict]:
    """Mean loss on labelled rows, against the champion's."""
    name, (ours, theirs) = "loss on labels", (seen.losses.candidate, seen.losses.champion)
    if not ours.n or not theirs.n:
        told = "no labels yet" if ours.n == theirs.n == 0 else _counts(ours.n, theirs.n)
        return [Verdict(check=name, outcome=Outcome.PASS, detail=f"nothing was tested: {told}")]
    gap, p = ours.value - theirs.value, beyond_p(ours, theirs, limits.margin)
    return [
        Verdict(
            check=name,
            outcome=Outcome.FAIL if p <= alpha else Outcome.PASS,
            value=gap,
            limit=limits.margin,
            n=ours.n,
            detail=f"mean loss {ours.value:.3f} on {ours.n} labelled rows, the champion's "
            f"{theirs.value:.3f} on {theirs.n}: {_told(gap, limits.margin, p, alpha)}",
            evidence=_evidence(seen.losses, p, alpha),
        )
    ]


def _told(gap: float, limit: float, p: float, alpha: float) -> str:
    """What a difference means, beside its limit."""
    if gap <= limit:
        return f"{gap:+.3f}, within {limit:g}"
    said = "beyond doubt" if p <= alpha else "which may be chance"
    return f"{gap:+.3f}, more than {limit:g}, {said} (p = {p:.2g}, fails at {alpha:.2g})"


def _counts(ours: int, theirs: int) -> str:
    return f"{ours} labels of the candidate's rows, {theirs} of the champion's"


def _sound(seen: Seen) -> Verdict:
    if not seen.rows + seen.bad:
        detail = "nothing was tested: no answers to clients yet"
    else:
        detail = f"{seen.bad} of {seen.rows + seen.bad} answers are NaN, infinite or out of range"
    return Verdict(
        check="sound predictions",
        outcome=Outcome.FAIL if seen.bad else Outcome.PASS,
        value=float(seen.bad),
        limit=0.0,
        n=seen.rows + seen.bad,
        detail=detail + (f"; first: {seen.example}" if seen.example else ""),
    )


def _labels(seen: Seen, limit: float, alpha: float) -> Verdict:
    """Largest difference of a label's share.

    The j-th label that came up is tested at alpha / (j (j + 1)): these sum to alpha, however many
    there will be.
    """
    tested = [
        (_shift_p(sides, limit) * j * (j + 1), -_gap(sides), label, sides)
        for j, (label, sides) in enumerate(seen.labels.items(), 1)
    ]
    p, gap, label, sides = min(tested, key=lambda it: it[:3])
    return Verdict(
        check="label shares against champion",
        outcome=Outcome.FAIL if p <= alpha else Outcome.PASS,
        value=-gap,
        limit=limit,
        n=sides.candidate.n,
        detail=f"label {label}: {sides.candidate.value:.1%} of {sides.candidate.n} answers, "
        f"{sides.champion.value:.1%} of the champion's {sides.champion.n}: "
        f"{_told(-gap, limit, min(p, 1.0), alpha)}; the furthest of {len(tested)} labels",
        evidence=_evidence(sides, min(p, 1.0), alpha) | {"label": label, "labels": len(tested)},
    )


def _scores(sides: Sides, limit: float, alpha: float) -> Verdict:
    p, gap = _shift_p(sides, limit), _gap(sides)
    return Verdict(
        check="mean score against champion",
        outcome=Outcome.FAIL if p <= alpha else Outcome.PASS,
        value=gap,
        limit=limit,
        n=sides.candidate.n,
        detail=f"mean score {sides.candidate.value:.3f} over {sides.candidate.n} answers, the "
        f"champion's {sides.champion.value:.3f} over {sides.champion.n}: "
        f"{_told(gap, limit, p, alpha)}",
        evidence=_evidence(sides, p, alpha),
    )


def _gap(sides: Sides) -> float:
    if not sides.candidate.n or not sides.champion.n:
        return 0.0
    return abs(sides.candidate.value - sides.champion.value)


def _shift_p(sides: Sides, limit: float) -> float:
    """Of "the means are at most `limit` apart".

    Both directions are wrong only where one ratio, that of the true means, is above 1/alpha: they
    share alpha undivided.
    """
    ours, theirs = sides.candidate, sides.champion
    return min(beyond_p(ours, theirs, limit), beyond_p(theirs, ours, limit))


def _evidence(sides: Sides, p: float, alpha: float) -> dict[str, object]:
    return {
        "candidate_n": sides.candidate.n,
        "candidate_mean": sides.candidate.value,
        "candidate_interval": list(sides.candidate.interval(alpha)),
        "champion_n": sides.champion.n,
        "champion_mean": sides.champion.value,
        "champion_interval": list(sides.champion.interval(alpha)),
        "p": p,
        "alpha": alpha,
    }


def agreement(seen: Seen, limits: Limits, min_requests: int, alpha: float) -> list[Verdict]:
    """Both answers to the same inputs: how many differ, in any slice, and do the scores go along?

    Three comparisons.
    """
    found, wanted = seen.agreement, max(1, min(PAIRS, min_requests))
    if found.differ.n < wanted:
        return [_few(found, limits.disagreement, wanted)]
    return [
        _disagreement(found, limits.disagreement, alpha / 3),
        *_slices(found.slices.items(), limits.disagreement, alpha / 3),
        *_correlation(found, limits.correlation, alpha / 3),
    ]


def _few(found: Agreement, limit: float, wanted: int) -> Verdict:
    """Requests of the line's own fill in where clients are few; what they say is never a failure.

    They are few inputs again and again: ten wrong ones may be one that is wrong ten times.
    """
    own = found.probes
    enough = found.differ.n + own.n >= wanted and own.value <= limit and found.differ.value <= limit
    return Verdict(
        check="disagreement",
        outcome=Outcome.PASS if enough else Outcome.INCONCLUSIVE,
        value=own.value if own.n else found.differ.value,
        limit=limit,
        n=found.differ.n + own.n,
        detail=f"{found.differ.total:.0f} of {found.differ.n} pairs of answers differ, and "
        f"{own.total:.0f} of {own.n} to the line's own requests"
        + ("" if enough else f"; wanted at least {wanted} pairs within the limit"),
        evidence={"pairs": found.differ.n, "own_requests": own.n},
    )


def _disagreement(found: Agreement, limit: float, alpha: float) -> Verdict:
    differ = found.differ
    low, high = differ.interval(alpha)
    p = differ.above_p(limit)
    within = Outcome.PASS if differ.value <= limit else Outcome.INCONCLUSIVE
    return Verdict(
        check="disagreement",
        outcome=Outcome.FAIL if p <= alpha else within,
        value=differ.value,
        limit=limit,
        n=differ.n,
        detail=f"{differ.total:.0f} of {differ.n} pairs of answers to the same inputs differ: "
        f"{low:.1%} to {high:.1%} beyond doubt",
        evidence={
            "differ": differ.total, "n": differ.n, "interval": [low, high], "p": p, "alpha": alpha
        },
    )  # fmt: skip


def _slices(slices: Iterable[tuple[str, Mean]], limit: float, alpha: float) -> list[Verdict]:
    """The slice that disagrees most surely; the j-th that came up is tested at alpha / (j (j + 1)).

    Which slices come up, and in which order, is of the inputs, not of the answers.
    """
    tested = [
        (it.above_p(limit) * j * (j + 1), -it.value, name, it, j * (j + 1))
        for j, (name, it) in enumerate(slices, 1)
    ]
    if not tested:
        return []
    p, _, name, worst, share = min(tested, key=lambda it: it[:3])
    low, high = worst.interval(alpha / share)
    return [
        Verdict(
            check="disagreement in a slice",
            outcome=Outcome.FAIL if p <= alpha else Outcome.PASS,
            value=worst.value,
            limit=limit,
            n=worst.n,
            detail=f"{name}: {worst.total:.0f} of {worst.n} pairs of answers differ, "
            f"{low:.1%} to {high:.1%} beyond doubt; the worst of {len(tested)} slices",
            evidence={
                "slice": name,
                "slices": len(tested),
                "p": min(p, 1.0),
                "alpha": alpha,
                "interval": [low, high],
            },
        )
    ]


def _correlation(found: Agreement, limit: float, alpha: float) -> list[Verdict]:
    """Two pairs at a time: does the candidate rank them as the champion does?

    That is true of a share (1 + tau) / 2 of them, tau being Kendall's; a correlation of r has
    tau = 2/pi asin(r) where scores are normal (Greiner's relation; Kruskal, *JASA* 53, 1958). So
    the limit becomes one of a share, whose confidence sequence is valid at every look.
    """
    ranked = found.ranked
    if ranked.n == 0:
        return []
    low, high = ranked.interval(alpha)
    apart = Mean(ranked.n - ranked.total, ranked.n)  # not ranked alike: has to be few enough
    p = apart.above_p(1 - (1 + 2 / pi * asin(limit)) / 2)
    value = _as_correlation(ranked.value)
    failed = p <= alpha
    within = Outcome.PASS if value >= limit - 1e-12 else Outcome.INCONCLUSIVE
    pearson = found.correlation
    return [
        Verdict(
            check="score correlation",
            outcome=Outcome.FAIL if failed else within,
            value=value,
            limit=limit,
            n=found.differ.n,
            detail=f"{ranked.total:g} of {ranked.n} twos of inputs are ranked alike, as with a "
            f"correlation of {_as_correlation(low):.2f} to {_as_correlation(high):.2f}",
            evidence={
                "ranked_alike": ranked.total,
                "n": ranked.n,
                "interval": [_as_correlation(low), _as_correlation(high)],
                "pearson": pearson,
                "p": p,
                "alpha": alpha,
            },
        )
    ]


def _as_correlation(alike: float) -> float:
    return sin(pi / 2 * (2 * alike - 1))
