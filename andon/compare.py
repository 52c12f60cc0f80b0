"""May this model replace the champion? Paired on the same held-out rows, with three outcomes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from andon.metrics import METRICS
from andon.verdict import Outcome, Verdict

RESAMPLES = 400
MIN_ROWS = 30
SUPERIOR_ROWS = 5_000  # for better than a constant: so many tell, and more take time
Z = 1.959964  # of a two-sided 95 % interval


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
    """Non-inferiority of a challenger, paired on the same rows.

    `y`, `champion` and `challenger` are (n,): the truth and each model's output of the kind that
    the metric uses. The gain is oriented so that positive is better; its 95 % interval decides:
    pass if it lies above -margin, fail if below, inconclusive if it holds -margin. The interval is
    a percentile bootstrap (Efron & Tibshirani 1993, ch. 13), for accuracy a score interval.
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
    interval = _interval(metric, y, champion, challenger, seed)
    if interval is None:
        return Verdict(
            check=check,
            outcome=Outcome.INCONCLUSIVE,
            n=n,
            limit=-margin,
            detail=f"{metric} is undefined on most resamples",
        )
    before, after = info.of(y, champion), info.of(y, challenger)
    gain = (after - before) if info.greater_is_better else (before - after)
    low, high = interval
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


def _interval(
    metric: str, y: NDArray[Any], champion: NDArray[Any], challenger: NDArray[Any], seed: int
) -> tuple[float, float] | None:
    """95 % interval of the gain; None if the metric is undefined on most resamples."""
    if metric == "accuracy":
        return paired_difference(y == champion, y == challenger)
    info = METRICS[metric]
    sign = 1.0 if info.greater_is_better else -1.0
    gains = _bootstrap(
        len(y),
        seed,
        lambda rows: info.of(y[rows], challenger[rows]) - info.of(y[rows], champion[rows]),
    )
    if len(gains) < RESAMPLES // 2:
        return None
    low, high = np.quantile(sign * gains, (0.025, 0.975))
    return float(low), float(high)


def paired_difference(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> tuple[float, float]:
    """95 % score interval of the difference of two shares of the same rows (Tango 1998).

    Where two models hardly ever differ, a bootstrap has nothing to draw from and is far too sure:
    without a difference in 100 rows it would exclude any, when 3 in 100 are still likely.
    """
    n, won, lost = len(before), int((after & ~before).sum()), int((before & ~after).sum())

    def z(difference: float) -> float:
        b = (2 * n - won + lost) * difference - won - lost
        c = -lost * difference * (1 - difference)
        lost_share = (np.sqrt(b * b - 8 * n * c) - b) / (4 * n)
        variance = n * (2 * lost_share + difference * (1 - difference))
        return float((won - lost - n * difference) / np.sqrt(max(variance, 1e-300)))

    found, edge = (won - lost) / n, 1 - 1e-9
    low = brentq(lambda it: z(it) - Z, -edge, found) if z(-edge) > Z else -1.0
    high = brentq(lambda it: z(it) + Z, found, edge) if z(edge) < -Z else 1.0
    return float(low), float(high)


def _bootstrap(n: int, seed: int, of: Callable[[NDArray[np.int64]], float]) -> NDArray[np.float64]:
    """A statistic on resampled rows; where it is undefined it is left out."""
    rng, found = np.random.default_rng(seed), np.empty(RESAMPLES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for i in range(RESAMPLES):
            found[i] = of(rng.integers(0, n, n))
    return found[np.isfinite(found)]


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
        few = f"{n} labels came back, wanted at least {min_labels}"
        return Verdict(
            check=check,
            outcome=Outcome.INCONCLUSIVE,
            limit=margin,
            n=n,
            detail=few if n < min_labels else f"{metric} is undefined on these {n} labels",
        )
    sign = 1.0 if info.greater_is_better else -1.0
    live = _bootstrap(n, seed, lambda rows: info.of(y[rows], output[rows]))
    low, high = np.quantile(sign * (expected - live), (0.025, 0.975))
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


def better_than(
    metric: str, y: NDArray[Any], constant: NDArray[Any], output: NDArray[Any], *, seed: int
) -> Verdict:
    """Superiority to a constant, paired on the same rows (all (n,)).

    Pass if the 95 % interval of the gain lies above 0; fail if the gain itself does not; between,
    the rows are too few to tell. The interval is that of `not_worse`, on `SUPERIOR_ROWS` of the
    rows if there are more: it is wider then, so the verdict errs on the safe side.
    """
    info, n = METRICS[metric], len(y)
    check = "better than a constant"
    dummy, found = info.of(y, constant), info.of(y, output)
    detail = f"{metric} {found:.4f}, a constant gets {dummy:.4f}"
    if not (np.isfinite(found) and np.isfinite(dummy)):
        return Verdict(check=check, outcome=Outcome.INCONCLUSIVE, n=n, detail=detail)
    gain = (found - dummy) if info.greater_is_better else (dummy - found)
    some = np.unique(np.linspace(0, n - 1, min(n, SUPERIOR_ROWS)).astype(int))
    interval = _interval(metric, y[some], constant[some], output[some], seed) if gain > 0 else None
    outcome = Outcome.INCONCLUSIVE if gain > 0 else Outcome.FAIL
    evidence = {}
    if interval is not None:
        low, high = interval
        outcome = Outcome.PASS if low > 0 else outcome
        detail += f"; gain {gain:+.4f} (95 % {low:+.4f} to {high:+.4f})"
        evidence = {"low": low, "high": high}
    return Verdict(
        check=check, outcome=outcome, value=found, limit=dummy, n=n, detail=detail,
        evidence=evidence,
    )  # fmt: skip
