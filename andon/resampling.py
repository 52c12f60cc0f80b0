"""Intervals of a statistic of rows: the bootstrap, and what is quicker where it says the same.

A `Law` is what is believed of the truth after the rows were seen: it gives the 95 % interval, and
how surely the truth is above a number.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from andon.errors import LineError
from andon.metrics import Combine

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]

RESAMPLES = 1_000
Z = 1.959964  # of a two-sided 95 % interval
NORMAL = NormalDist()
# A mean's law is normal, for all that matters, with many rows, or with enough that hardly lean.
MANY_ROWS = 20_000
ENOUGH_ROWS = 2_000
HARDLY = 0.01  # of the acceleration: it moves an end by 4 % of a standard error
MOST_DRAWN = 50_000  # rows of one resample
_AT_ONCE = 1_000_000  # drawn row numbers that are held in memory


class Law(Protocol):
    """What is believed of a number."""

    def interval(self) -> tuple[float, float]:
        """The 95 % interval."""

    def at_most(self, x: float) -> float:
        """One-sided p value of "the truth is `x` or less"; ties count half."""


@dataclass(frozen=True)
class Normal:
    """An estimate and its standard error."""

    value: float
    error: float

    def interval(self) -> tuple[float, float]:
        return self.value - Z * self.error, self.value + Z * self.error

    def at_most(self, x: float) -> float:
        if self.error == 0:
            return 0.5 - 0.5 * float(np.sign(self.value - x))
        return NORMAL.cdf(-(self.value - x) / self.error)


@dataclass(frozen=True)
class Resampled:
    """Sorted values of resamples, read with a correction for bias and skewness.

    `bias` and `skew` are z0 and a of the BCa interval (Efron, JASA 82, 1987); both 0: percentiles.
    """

    draws: Numbers
    bias: float = 0.0
    skew: float = 0.0

    def interval(self) -> tuple[float, float]:
        low, high = (self._level(z) for z in (-Z, Z))
        found = np.quantile(self.draws, (low, high))
        return float(found[0]), float(found[1])

    def _level(self, z: float) -> float:
        moved = self.bias + z
        return NORMAL.cdf(self.bias + moved / (1 - self.skew * moved))

    def at_most(self, x: float) -> float:
        """`interval` the other way round: the level at which its lower end is `x`.

        Beyond all draws by the normal law: many tests at once need small p values.
        """
        moved = NORMAL.inv_cdf(_share_below(self.draws, x)) - self.bias
        found = NORMAL.cdf(moved / (1 + self.skew * moved) - self.bias)
        tail = Normal(float(self.draws.mean()), float(self.draws.std())).at_most(x)
        if x < self.draws[0]:
            return min(found, tail)
        return max(found, tail) if x > self.draws[-1] else found


def of_means(rows: Numbers, combine: Combine, seed: int, resamples: int = RESAMPLES) -> Law | None:
    """The law of `combine(mean of rows)`; `rows` is (n, k). None if it is mostly undefined.

    BCa with the acceleration from the jackknife, which is exact here and needs no loop; the normal
    law, with the jackknife's standard error, where that says the same.
    """
    n, means = len(rows), rows.mean(axis=0)
    value = float(combine(means))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        without = combine((n * means - rows) / (n - 1))
    pull = without.mean() - without
    squares = float((pull**2).sum())
    if not math.isfinite(value) or not math.isfinite(squares):
        return None
    skew = float((pull**3).sum()) / (6 * squares**1.5) if squares else 0.0
    normal = n >= MANY_ROWS or (n >= ENOUGH_ROWS and abs(skew) < HARDLY)
    if normal or squares == 0:
        return Normal(value, math.sqrt(squares * (n - 1) / n))
    rng, found = np.random.default_rng(seed), []
    step = max(1, _AT_ONCE // n)
    for begin in range(0, resamples, step):
        drawn = rng.integers(0, n, (min(step, resamples - begin), n), dtype=np.int32)
        columns = [rows[:, k][drawn].mean(axis=1) for k in range(rows.shape[1])]
        found.append(combine(np.column_stack(columns)))
    return _corrected(np.concatenate(found), value, skew, resamples)


def of_rows(
    n: int, of: Callable[[Places], float], seed: int, resamples: int = RESAMPLES
) -> Law | None:
    """The law of any statistic of n rows; `of` takes row numbers. None if mostly undefined.

    The percentile bootstrap with a correction for bias. From more than MOST_DRAWN rows so many are
    drawn, and the spread is scaled (Bickel, Götze & van Zwet, Statistica Sinica 7, 1997).
    """
    value = _value(of, np.arange(n))
    if not math.isfinite(value):
        return None
    rng, m = np.random.default_rng(seed), min(n, MOST_DRAWN)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        draws = np.array([_value(of, rng.integers(0, n, m)) for _ in range(resamples)])
    if m < n:
        draws = value + (draws - np.nanmean(draws)) * math.sqrt(m / n)
    return _corrected(draws, value, 0.0, resamples)


def _value(of: Callable[[Places], float], rows: Places) -> float:
    try:
        return of(rows)
    except LineError:  # a project's own metric that cannot be had on these rows
        return float("nan")


def _corrected(draws: Numbers, value: float, skew: float, resamples: int) -> Law | None:
    known = np.sort(draws[np.isfinite(draws)])
    if len(known) < resamples / 2:
        return None
    return Resampled(known, NORMAL.inv_cdf(_share_below(known, value)), skew)


def _share_below(draws: Numbers, x: float) -> float:
    """Never 0 or 1: what was not drawn may still be; ties count half."""
    below = (np.searchsorted(draws, x) + np.searchsorted(draws, x, "right")) / 2
    return float((below + 0.5) / (len(draws) + 1))
