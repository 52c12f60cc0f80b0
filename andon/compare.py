"""May this model replace the champion? Paired on the same held-out rows, with three outcomes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andon.metrics import METRICS, MetricInfo
from andon.verdict import Outcome, Verdict

RESAMPLES = 400
MIN_ROWS = 30


def within_limit(metric: str, value: float, limit: float, n: int, check: str) -> Verdict:
    """The absolute limit, inclusive: a minimum where greater is better, else a maximum."""
    info = METRICS[metric]
    if not np.isfinite(value):
        return Verdict(
            check=check,
            outcome=Outcome.INCONCLUSIVE,
            limit=limit,
            n=n,
            detail=f"{metric} is undefined on these {n} rows",
        )
    good = value >= limit if info.greater_is_better else value <= limit
    sign = ">=" if info.greater_is_better else "<="
    return Verdict(
        check=check,
        outcome=Outcome.PASS if good else Outcome.FAIL,
        value=value,
        limit=limit,
        n=n,
        detail=f"{metric} {value:.4f}, wanted {sign} {limit:.4f}",
    )


def not_worse(
    metric: str,
    y: NDArray[Any],
    champion: NDArray[Any],
    challenger: NDArray[Any],
    *,
    margin: float,
    seed: int,
) -> Verdict:
    """Non-inferiority of a challenger by a paired bootstrap on the same rows.

    `y`, `champion` and `challenger` are (n,): the truth and each model's output of the kind that
    the metric uses. The gain is oriented so that positive is better; its 95 % percentile interval
    (Efron & Tibshirani 1993, ch. 13) decides: pass if it lies above -margin, fail if below,
    inconclusive if it holds -margin.
    """
    info, n = METRICS[metric], len(y)
    check = "not worse than champion"
    if n < MIN_ROWS:
        return Verdict(
            check=check,
            outcome=Outcome.INCONCLUSIVE,
            n=n,
            limit=-margin,
            detail=f"only {n} held-out rows, wanted at least {MIN_ROWS}",
        )
    gains = _gains(info, y, champion, challenger, seed)
    if len(gains) < RESAMPLES // 2:
        return Verdict(
            check=check,
            outcome=Outcome.INCONCLUSIVE,
            n=n,
            limit=-margin,
            detail=f"{metric} is undefined on most resamples",
        )
    before, after = info.of(y, champion), info.of(y, challenger)
    gain = (after - before) if info.greater_is_better else (before - after)
    low, high = (float(v) for v in np.quantile(gains, (0.025, 0.975)))
    outcome = Outcome.PASS if low > -margin else Outcome.INCONCLUSIVE
    if high < -margin:
        outcome = Outcome.FAIL
    return Verdict(
        check=check,
        outcome=outcome,
        value=gain,
        limit=-margin,
        n=n,
        detail=f"{metric}: champion {before:.4f}, challenger {after:.4f}; "
        f"gain {gain:+.4f} (95 % {low:+.4f} to {high:+.4f})",
        evidence={"champion": before, "challenger": after, "low": low, "high": high},
    )


def _gains(
    info: MetricInfo,
    y: NDArray[Any],
    champion: NDArray[Any],
    challenger: NDArray[Any],
    seed: int,
) -> NDArray[np.float64]:
    rng, n = np.random.default_rng(seed), len(y)
    sign = 1.0 if info.greater_is_better else -1.0
    gains = np.empty(RESAMPLES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for i in range(RESAMPLES):
            rows = rng.integers(0, n, n)
            gains[i] = info.of(y[rows], challenger[rows]) - info.of(y[rows], champion[rows])
    return sign * gains[np.isfinite(gains)]


def quality(
    metric: str,
    y: NDArray[Any],
    output: NDArray[Any],
    *,
    expected: float,
    margin: float,
    min_labels: int,
    seed: int = 0,
) -> Verdict:
    """The metric on labels that came back, against its value at training.

    Fails if the bootstrap's 95 % interval of the loss lies above the margin, passes if it lies
    below, and is inconclusive between, or with fewer than `min_labels` labels.
    """
    info, n, check = METRICS[metric], len(y), f"quality: {metric}"
    value = info.of(y, output) if n else float("nan")
    if n < min_labels or not np.isfinite(value):
        return Verdict(
            check=check,
            outcome=Outcome.INCONCLUSIVE,
            limit=margin,
            n=n,
            detail=f"{n} labels came back, wanted at least {min_labels}",
        )
    rng = np.random.default_rng(seed)
    resampled = [info.of(y[rows], output[rows]) for rows in rng.integers(0, n, (RESAMPLES, n))]
    sign = 1.0 if info.greater_is_better else -1.0
    losses = sign * (expected - np.asarray(resampled))
    low, high = np.quantile(losses[np.isfinite(losses)], (0.025, 0.975))
    outcome = Outcome.INCONCLUSIVE
    if low > margin:
        outcome = Outcome.FAIL
    elif high < margin:
        outcome = Outcome.PASS
    return Verdict(
        check=check,
        outcome=outcome,
        value=sign * (expected - value),
        limit=margin,
        n=n,
        detail=f"{metric} {value:.4f} on {n} labels, {expected:.4f} at training",
        evidence={"live": value, "training": expected, "low": float(low), "high": float(high)},
    )
