"""Drift of live inputs against the reference profile: an alarm needs effect *and* evidence."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2_contingency

from andon.verdict import Outcome, Verdict

Counts = NDArray[np.int64]
MIN_EXPECTED = 5.0


def total_variation(reference: Counts, window: Counts) -> float:
    """Half the L1 distance of two histograms over the same bins: 0 (same) to 1 (disjoint)."""
    p, q = reference / reference.sum(), window / window.sum()
    return float(0.5 * np.abs(p - q).sum())


def two_sample_p(reference: Counts, window: Counts) -> float:
    """p of Pearson's chi-square test of homogeneity; both samples count with their own size.

    Bins whose expected count is under 5 in the window are pooled first (Cochran's rule).
    """
    pooled = np.stack([reference, window]).astype(float)
    expected = pooled.sum(axis=0) * window.sum() / pooled.sum()
    rare = expected < MIN_EXPECTED
    table = np.column_stack([pooled[:, ~rare], pooled[:, rare].sum(axis=1)])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 1.0
    return float(chi2_contingency(table, correction=False).pvalue)


def benjamini_hochberg(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjusted p values that control the false discovery rate (Benjamini & Hochberg 1995)."""
    n = len(p_values)
    order = np.argsort(p_values)[::-1]
    adjusted = np.minimum.accumulate(p_values[order] * n / np.arange(n, 0, -1))
    result = np.empty(n)
    result[order] = np.minimum(adjusted, 1.0)
    return result


def drift(
    reference: Mapping[str, Counts],
    window: Mapping[str, Counts],
    *,
    alpha: float,
    effect: float,
    min_rows: int,
) -> list[Verdict]:
    """One verdict a feature. Counts are (bins,), nulls and unseen values being bins of their own.

    Fails if total variation is at least `effect` and the adjusted p is under `alpha`; inconclusive
    with fewer than `min_rows` rows in the window, or none of this feature at all.
    """
    sizes = {name: int(window[name].sum()) if name in window else 0 for name in reference}
    told = [n for n in reference if sizes[n] >= max(min_rows, 1) and reference[n].sum() > 0]
    raw = np.array([two_sample_p(reference[name], window[name]) for name in told])
    adjusted = dict(zip(told, benjamini_hochberg(raw) if told else raw, strict=True))
    unadjusted = dict(zip(told, raw, strict=True))
    verdicts = []
    for name in reference:
        check, n = f"drift: {name}", sizes[name]
        if name not in adjusted:
            verdicts.append(
                Verdict(
                    check=check,
                    outcome=Outcome.INCONCLUSIVE,
                    limit=effect,
                    n=n,
                    detail=f"{n} rows, wanted at least {min_rows}",
                )
            )
            continue
        distance, p = total_variation(reference[name], window[name]), float(adjusted[name])
        drifted = distance >= effect and p < alpha
        verdicts.append(
            Verdict(
                check=check,
                outcome=Outcome.FAIL if drifted else Outcome.PASS,
                value=distance,
                limit=effect,
                n=n,
                detail=f"total variation {distance:.3f}, adjusted p {p:.2g}",
                evidence={"p": float(unadjusted[name]), "adjusted_p": p},
            )
        )
    return verdicts
