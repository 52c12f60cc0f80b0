"""Whether live inputs are sound: nulls, categories never seen, values out of range.

Only what gets worse counts, and each test knows how large the reference was: a small one has not
seen all that is usual.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from andon.drift import outside_p
from andon.profile import Counts, Feature, counts
from andon.summary import Summary, Tally
from andon.verdict import Outcome, Verdict
from andon.windows import Finding, benjamini_hochberg, judged

WIDE, ENOUGH = 40, 200


class Rise(NamedTuple):
    """A kind of trouble: its share of the reference's rows and of a window's, and the p value."""

    what: str
    before: float
    now: float
    p: float


def more_p(reference: int, of: int, window: int, rows: int) -> float:
    """One-sided p of Fisher's exact test: the window's share is above the reference's.

    The hypergeometric chances of `window` and more of all such rows being the window's are summed
    from the first on; further than WIDE standard deviations above the mean there is nothing.
    """
    such, total = reference + window, of + rows
    mean = such * rows / total
    spread = math.sqrt(mean * (1 - such / total) * of / max(total - 1, 1))
    most = min(such, rows, max(window, math.ceil(mean + WIDE * spread)) + ENOUGH)
    k = np.arange(window, most + 1)
    chances = _log_choose(such, k) + _log_choose(total - such, rows - k)
    return float(min(1.0, np.exp(chances - _log_choose(total, rows)).sum()))


def _log_choose(n: int, k: NDArray[np.int64] | int) -> Any:
    return gammaln(n + 1) - gammaln(np.add(k, 1)) - gammaln(np.subtract(n, k) + 1)


def rises(feature: Feature, tally: Tally) -> list[Rise]:
    """Of each kind of trouble that the feature can have."""
    mine, theirs = counts(feature), tally.counts
    n, m = int(mine.sum()), int(theirs.sum())
    nulls = int(mine[-1]), int(theirs[-1])
    found = [Rise("null", nulls[0] / n, nulls[1] / m, more_p(nulls[0], n, nulls[1], m))]
    if feature.kind == "category":
        before, now = _unseen(feature, mine), int(theirs[-2])
        found.append(Rise("never seen", before / n, now / m, more_p(before, n, now, m)))
    elif feature.edges:
        before, now = (int(it[0] + it[-2]) for it in (mine, theirs))
        p = more_p(before, n, now, m) if before else outside_p(n - nulls[0], m - nulls[1], now)
        found.append(Rise("out of range", before / n, now / m, p))
    return found


def _unseen(feature: Feature, reference: Counts) -> int:
    """How many of the reference's rows had a category that its other rows had not: at most.

    So many of other rows have one that the reference does not know (Good, Biometrika 40, 1953).
    """
    once = int((reference[: len(feature.top)] == 1).sum())
    return min(once + len(feature.rare) + int(reference[-2]), int(reference[:-1].sum()))


def live_data(
    features: Sequence[Feature], windows: Sequence[Summary], *,
    alpha: float, rise: float, min_rows: int, need: int = 1,
) -> list[Verdict]:  # fmt: skip
    """One verdict a feature; `windows`, the newest first.

    A window is bad if the share of rows with one kind of trouble is at least `rise` more than in
    the reference, and its p value, adjusted over all kinds and features, is under `alpha`; or if
    values could not be read. Inconclusive with fewer than `min_rows` rows in the newest.
    """
    empty = Summary(0, 0, 0, {}, None, {})
    found = [_look(features, it, alpha, rise, min_rows) for it in windows or [empty]]
    return [
        judged(f"data: {it.name}", rise, [look[it.name] for look in found], need)
        for it in features
    ]  # fmt: skip


def repeated(again: int, rows: int, *, limit: float, min_rows: int) -> Verdict:
    """Rows that are in the log twice, as of a file that was copied: `again` of `rows`.

    What is there twice is counted twice by all other checks. Fails above `limit`.
    """
    check = "data: repeated ids"
    if rows < max(min_rows, 1):
        detail = f"{rows} rows, wanted at least {min_rows}"
        return Verdict(
            check=check, outcome=Outcome.INCONCLUSIVE, limit=limit, n=rows, detail=detail
        )
    share = again / rows
    return Verdict(
        check=check, outcome=Outcome.FAIL if share > limit else Outcome.PASS, value=share,
        limit=limit, n=rows, detail=f"{again:,} of {rows:,} rows have an id that another one has",
    )  # fmt: skip


def _look(
    features: Sequence[Feature], window: Summary, alpha: float, rise: float, min_rows: int
) -> dict[str, Finding]:
    findings, told = {}, {}
    for it in features:
        tally = window.features.get(it.name)
        n = tally.n if tally is not None else 0
        if it.name in window.unread and window.rows >= max(min_rows, 1):
            why = f"cannot be read: {window.unread[it.name]}"
            findings[it.name] = Finding(True, window.rows, why, 1.0)
        elif tally is None or n < max(min_rows, 1) or not it.n:
            findings[it.name] = Finding(None, n, f"{n} rows, wanted at least {min_rows}")
        else:
            told[it.name] = (n, rises(it, tally))
    raw = np.array([rise.p for _, found in told.values() for rise in found])
    adjusted = iter(benjamini_hochberg(raw).tolist() if len(raw) else [])
    for name, (n, found) in told.items():
        findings[name] = _finding(n, {it: next(adjusted) for it in found}, alpha, rise)
    return findings


def _finding(n: int, adjusted: Mapping[Rise, float], alpha: float, rise: float) -> Finding:
    """Tells of the worst kind: the bad one, else the one that rose most."""
    bad = [it for it, p in adjusted.items() if it.now - it.before >= rise and p < alpha]
    worst = max(bad or adjusted, key=lambda it: it.now - it.before)
    detail = f"{100 * worst.now:.1f} % {worst.what}, {100 * worst.before:.1f} % in the reference"
    detail += f"; adjusted p {adjusted[worst]:.2g}"
    kinds = {
        it.what: {"before": it.before, "now": it.now, "p": it.p, "adjusted_p": p}
        for it, p in adjusted.items()
    }
    evidence = {"p": worst.p, "adjusted_p": adjusted[worst], "effect": worst.now - worst.before,
                "n": n, "kinds": kinds}  # fmt: skip
    return Finding(bool(bad), n, detail, worst.now - worst.before, evidence)
