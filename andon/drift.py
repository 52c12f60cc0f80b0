"""Drift of live inputs against the reference profile: an alarm needs effect *and* evidence.

Reference and window are both samples. Every test here is right for both of their sizes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, ndtr  # scipy.stats would be 70 MB more

from andon.profile import Counts, Feature, counts
from andon.summary import Tally
from andon.verdict import Verdict
from andon.windows import Finding, benjamini_hochberg, judged

MIN_EXPECTED = 5.0
FIRM = 100  # rows of a category that is surely among the most frequent
HALF = 0.5  # a row more in each bin: PSI has no value where a bin is empty


def total_variation(reference: Counts, window: Counts) -> float:
    """Half the L1 distance of two histograms over the same bins: 0 (same) to 1 (disjoint)."""
    p, q = reference / reference.sum(), window / window.sum()
    return float(0.5 * np.abs(p - q).sum())


def stability_index(reference: Counts, window: Counts) -> float:
    """PSI, Σ (q - p) ln(q / p) over the bins, with half a row more in each."""
    p, q = (it + HALF for it in (reference, window))
    p, q = p / p.sum(), q / q.sum()
    return float(((q - p) * np.log(q / p)).sum())


def wasserstein(feature: Feature, window: Tally) -> float | None:
    """First Wasserstein distance over the reference's standard deviation, by the bins' edges.

    Values within a bin count as spread evenly, those out of range as at its end: a lower bound.
    """
    mine, theirs = counts(feature)[:-1], window.counts[:-1]
    if not feature.std or len(feature.edges) < 2 or not mine.sum() or not theirs.sum():
        return None
    apart = np.abs(np.cumsum(mine) / mine.sum() - np.cumsum(theirs) / theirs.sum())[:-1]
    widths = np.diff(np.array(feature.edges))
    return float((widths * (apart[1:] + apart[:-1]) / 2).sum() / feature.std)


def two_sample_p(reference: Counts, window: Counts) -> float:
    """p of Pearson's chi-square test of homogeneity; both samples count with their own size.

    Bins whose expected count is under 5 in the smaller sample are pooled first (Cochran's rule).
    """
    both = np.stack([reference, window]).astype(float)
    sizes = both.sum(axis=1)
    rare = both.sum(axis=0) * sizes.min() / sizes.sum() < MIN_EXPECTED
    table = np.column_stack([both[:, ~rare], both[:, rare].sum(axis=1)])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 1.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    statistic = ((table - expected) ** 2 / expected).sum()
    return float(chdtrc(table.shape[1] - 1, statistic))


def rank_p(reference: Counts, window: Counts) -> float:
    """p of the Wilcoxon-Mann-Whitney test on ordered bins, whose rows are ties; normal law.

    It finds a shift of all values with far fewer rows than the chi-square test does.
    """
    ties = (reference + window).astype(float)
    n, m = float(reference.sum()), float(window.sum())
    ranks = np.cumsum(ties) - (ties - 1) / 2
    both = n + m
    spread = both + 1 - (ties**3 - ties).sum() / (both * (both - 1)) if both > 1 else 0.0
    if n * m * spread <= 0:
        return 1.0
    apart = (window * ranks).sum() - m * (both + 1) / 2
    return float(2 * ndtr(-abs(apart) / math.sqrt(n * m * spread / 12)))


def outside_p(reference: int, window: int, outside: int) -> float:
    """p of so many rows of a window outside the range of a reference with so many rows.

    Without drift all orders of all rows are as probable, so that k given places at the ends are
    all the window's with a chance of Π (m - i) / (n + m - i); there are k + 1 ways to have k.
    """
    if outside == 0:
        return 1.0
    i = np.arange(outside)
    chance = np.log((window - i) / (reference + window - i)).sum()
    return float(min(1.0, math.exp(chance) * (outside + 1)))


def p_values(feature: Feature, window: Counts) -> dict[str, float]:
    """Of each test that fits the feature's kind."""
    reference = counts(feature)
    if feature.kind == "category":
        return {"chi_square": two_sample_p(_firm(feature, reference), _firm(feature, window))}
    if not feature.edges:
        return {"chi_square": two_sample_p(reference, window)}
    mine, theirs = _within(reference), _within(window)
    found = {
        "chi_square": two_sample_p(mine, theirs),
        "rank": rank_p(mine[:-1], theirs[:-1]),
    }
    if not reference[0] + reference[-2]:
        sizes = int(reference[:-1].sum()), int(window[:-1].sum())
        found["outside"] = outside_p(*sizes, int(window[0] + window[-2]))
    return found


def _within(bins: Counts) -> Counts:
    """Values out of range are in the bin at their end.

    The range is the reference's own: it has none out of it by construction, other rows have.
    """
    if len(bins) <= 4:
        return np.array([bins[:-1].sum(), bins[-1]])
    low, high = bins[0] + bins[1], bins[-3] + bins[-2]
    return np.concatenate([[low], bins[2:-3], [high], bins[-1:]])


def _firm(feature: Feature, bins: Counts) -> Counts:
    """One bin of all categories but those that are frequent beyond chance.

    Of many rare ones those that the reference happened to have are the reference's choice, again.
    """
    top = len(feature.top)
    keep = np.ones(top, dtype=np.bool_)
    if feature.rare:
        keep = counts(feature)[:top] >= FIRM
    others = bins[:top][~keep].sum() + bins[top] + bins[top + 1]
    return np.concatenate([bins[:top][keep], [others, bins[-1]]])


def _effect(feature: Feature, window: Counts) -> float:
    reference = counts(feature)
    if feature.kind == "category":
        return total_variation(_firm(feature, reference), _firm(feature, window))
    return total_variation(reference, window)


def drift(
    reference: Mapping[str, Feature],
    windows: Sequence[Mapping[str, Tally]],
    *,
    alpha: float,
    effect: float,
    min_rows: int,
    need: int = 1,
) -> list[Verdict]:
    """One verdict a check; `windows`, the newest first, have a tally for each by its name.

    A window is bad if total variation is at least `effect` and the p value, adjusted over all
    checks, is under `alpha`. It fails if the newest is bad, and `need` of all are; it is
    inconclusive with fewer than `min_rows` rows in the newest, or none of this feature at all.
    """
    found = [_look(reference, it, alpha, effect, min_rows) for it in windows or [{}]]
    return [judged(check, effect, [it[check] for it in found], need) for check in reference]


def _look(
    reference: Mapping[str, Feature], window: Mapping[str, Tally],
    alpha: float, effect: float, min_rows: int,
) -> dict[str, Finding]:  # fmt: skip
    sizes = {name: window[name].n if name in window else 0 for name in reference}
    told = [n for n in reference if sizes[n] >= max(min_rows, 1) and reference[n].n > 0]
    tests = {name: p_values(reference[name], window[name].counts) for name in told}
    raw = np.array([_smallest(it) for it in tests.values()])
    adjusted = dict(zip(told, _adjusted(raw), strict=True))
    findings = {}
    for name, p in zip(told, raw, strict=True):
        mine, theirs = reference[name], window[name]
        distance, sure = _effect(mine, theirs.counts), float(adjusted[name])
        evidence = {
            "p": float(p), "adjusted_p": sure, "tests": tests[name], "effect": distance,
            "psi": stability_index(counts(mine), theirs.counts),
            "wasserstein": wasserstein(mine, theirs), "n": sizes[name], "reference_n": mine.n,
        }  # fmt: skip
        bad = distance >= effect and sure < alpha
        detail = f"total variation {distance:.3f}, adjusted p {sure:.2g}"
        findings[name] = Finding(bad, sizes[name], detail, distance, evidence)
    for name in reference:
        if name not in findings:
            detail = f"{sizes[name]} rows, wanted at least {min_rows}"
            findings[name] = Finding(None, sizes[name], detail)
    return findings


def _smallest(tests: Mapping[str, float]) -> float:
    """One p value of several tests (Bonferroni)."""
    return min(1.0, len(tests) * min(tests.values()))


def _adjusted(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    return benjamini_hochberg(raw) if len(raw) else raw
