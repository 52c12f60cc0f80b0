"""Two models on the same rows: by how much is the second one better, and how sure is that?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andon.metrics import MetricInfo
from andon.resampling import NORMAL, RESAMPLES, Law, Normal, Z, of_means, of_rows

POWER_Z = 0.841621  # of a power of 80 %
Array = NDArray[Any]


@dataclass(frozen=True)
class Gain:
    """The second model's gain over the first, oriented so that positive is better.

    `method` is `delong`, `tango` or `bootstrap`. `equal_p` is two-sided: of no difference.
    """

    first: float
    second: float
    value: float
    law: Law
    method: str
    equal_p: float


def gain(
    info: MetricInfo,
    y: Array,
    first: Array,
    second: Array,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Gain | None:
    """Compare two models' outputs for the same rows; None where the metric is undefined.

    Accuracy: Tango's interval and McNemar's test. ROC AUC: DeLong's. All others: the bootstrap.
    """
    values = info.of(y, first), info.of(y, second)
    if not all(map(math.isfinite, values)):
        return None
    method, equal = "bootstrap", None
    believed: Law | None
    if info.name == "accuracy":
        method, right = "tango", (first == y, second == y)
        won, lost = int((right[1] & ~right[0]).sum()), int((right[0] & ~right[1]).sum())
        believed, equal = Tango(len(y), won, lost), mcnemar(won, lost)
    elif info.name == "roc_auc":
        method, believed = "delong", delong(y.astype(bool), first, second)
    else:
        believed = _resampled(info, y, first, second, seed, resamples)
    if believed is None:
        return None
    if equal is None:
        below = believed.at_most(0.0)
        equal = 2 * min(below, 1 - below)
    return Gain(*values, info.sign * (values[1] - values[0]), believed, method, min(1.0, equal))


def _resampled(
    info: MetricInfo, y: Array, first: Array, second: Array, seed: int, resamples: int
) -> Law | None:
    if info.uses == "label":
        y, first, second = _with_both_errors(y, first, second)
    if info.rows is not None and info.combine is not None:
        combine, rows = info.combine, [info.rows(y, it) for it in (first, second)]
        k = rows[0].shape[1]
        return of_means(
            np.hstack(rows),
            lambda means: info.sign * (combine(means[..., k:]) - combine(means[..., :k])),
            seed,
            resamples,
        )

    def difference(rows: NDArray[np.int64]) -> float:
        return info.sign * (info.of(y[rows], second[rows]) - info.of(y[rows], first[rows]))

    return of_rows(len(y), difference, seed, min(resamples, RESAMPLES // 2))


def _with_both_errors(y: Array, first: Array, second: Array) -> tuple[Array, Array, Array]:
    """Two rows more of each class: one that only the first has right, and one only the second.

    Where two models hardly ever differ there is nothing to draw, and a bootstrap would be far too
    sure. It is Agresti & Min's remedy for paired shares (Statistics in Medicine 24, 2005).
    """
    classes = np.unique(y)
    if len(classes) < 2:
        return y, first, second
    wrong = np.roll(classes, 1)
    return (
        np.concatenate([y, classes, classes]),
        np.concatenate([first, classes, wrong]),
        np.concatenate([second, wrong, classes]),
    )


@dataclass(frozen=True)
class Tango:
    """The score interval of the difference of two shares of the same n rows (Tango 1998).

    `won` rows only the second has right, `lost` only the first. Where two models hardly ever
    differ, a bootstrap has nothing to draw from and is far too sure: without a difference in 100
    rows it would exclude any, when 3 in 100 are still likely.
    """

    n: int
    won: int
    lost: int

    def z(self, difference: float) -> float:
        """The score statistic of "the difference is this"."""
        n, won, lost = self.n, self.won, self.lost
        b = (2 * n - won + lost) * difference - won - lost
        c = -lost * difference * (1 - difference)
        lost_share = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
        variance = n * (2 * lost_share + difference * (1 - difference))
        return (won - lost - n * difference) / math.sqrt(max(variance, 1e-300))

    def interval(self) -> tuple[float, float]:
        found, edge = (self.won - self.lost) / self.n, 1 - 1e-9
        low = _root(lambda it: self.z(it) - Z, -edge, found) if self.z(-edge) > Z else -1.0
        high = _root(lambda it: self.z(it) + Z, found, edge) if self.z(edge) < -Z else 1.0
        return low, high

    def at_most(self, x: float) -> float:
        return NORMAL.cdf(-self.z(min(max(x, -1 + 1e-9), 1 - 1e-9)))


def _root(of: Callable[[float], float], low: float, high: float) -> float:
    from scipy.optimize import brentq

    return float(brentq(of, low, high))


def mcnemar(won: int, lost: int) -> float:
    """Two-sided p value of "both are right equally often", exact (McNemar 1947)."""
    if won == lost:
        return 1.0
    from scipy.stats import binom

    return min(1.0, 2 * float(binom.cdf(min(won, lost), won + lost, 0.5)))


def delong(
    positive: NDArray[np.bool_], first: Array, second: Array, base: float = 0.0
) -> Law | None:
    """The law of the difference of two AUCs (DeLong et al. 1988), in O(n log n).

    Sun & Xu, IEEE Signal Processing Letters 21 (2014). None with one class, or scores that are not
    finite. If the rows do not tell the models apart, though they rank them otherwise, as when both
    are perfect on them, the error is that of the rule of three: none of so many. `base` is added: a
    `first` that knows nothing has an AUC of exactly 0.5.
    """
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return None
    parts = [placements(positive, it) for it in (first, second)]
    m, n = len(parts[0][0]), len(parts[0][1])
    if m < 2 or n < 2:
        return None
    differences = [after - before for before, after in zip(*parts, strict=True)]
    value = float(differences[0].mean())
    error = math.sqrt(sum(float(it.var(ddof=1)) / len(it) for it in differences))
    if error == 0 and not np.array_equal(_ranks(first), _ranks(second)):
        error = (1 - 0.025 ** (1 / min(m, n))) / Z
    return Normal(base + value, error)


def placements(positive: NDArray[np.bool_], score: Array) -> tuple[Array, Array]:
    """For each positive the share of negatives below it; for each negative that of positives above.

    Ties count half. The mean of either is the AUC.
    """
    ranks, n = _ranks(score), int((~positive).sum())
    m = len(positive) - n
    above = (ranks[positive] - _ranks(score[positive])) / max(n, 1)
    below = 1 - (ranks[~positive] - _ranks(score[~positive])) / max(m, 1)
    return above, below


def _ranks(values: Array) -> Array:
    from scipy.stats import rankdata

    return np.asarray(rankdata(values))


def level(info: MetricInfo, y: Array, output: Array, *, seed: int) -> tuple[float, float] | None:
    """The 95 % interval of one model's metric; None where it is undefined.

    Accuracy: Wilson's. ROC AUC: DeLong's, on the log-odds. All others: the bootstrap.
    """
    value, n = info.of(y, output), len(y)
    if not math.isfinite(value) or n < 2:
        return None
    if info.name == "accuracy":
        return wilson(round(value * n), n)
    if info.name == "roc_auc":
        return _level_of_auc(y.astype(bool), output)
    found = law(info, y, output, seed=seed)
    return found.interval() if found is not None else None


def law(info: MetricInfo, y: Array, output: Array, *, seed: int) -> Law | None:
    """The law of one model's metric; None where it is undefined. ROC AUC: DeLong's."""
    if info.name == "roc_auc":
        return delong(y.astype(bool), np.zeros(len(y)), output, base=0.5)
    if info.rows is not None and info.combine is not None:
        return of_means(info.rows(y, output), info.combine, seed)
    return of_rows(len(y), lambda rows: info.of(y[rows], output[rows]), seed, RESAMPLES // 2)


def wilson(k: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of a share, k of n (Wilson 1927)."""
    share, z2 = k / n, Z * Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def _level_of_auc(positive: NDArray[np.bool_], score: Array) -> tuple[float, float] | None:
    above, below = placements(positive, score)
    if min(len(above), len(below)) < 2:
        return None
    auc = float(above.mean())
    error = math.sqrt(sum(float(it.var(ddof=1)) / len(it) for it in (above, below)))
    if not 0 < auc < 1 or error == 0:
        few = 0.025 ** (1 / min(len(above), len(below)))
        return (few, 1.0) if auc > 0.5 else (0.0, 1 - few)
    odds, half = math.log(auc / (1 - auc)), Z * error / (auc * (1 - auc))
    return 1 / (1 + math.exp(half - odds)), 1 / (1 + math.exp(-half - odds))


def more_rows(n: int, value: float, interval: tuple[float, float], margin: float) -> int | None:
    """How many more rows would settle it, with 80 % power, if the gain is what it seems.

    From the observed spread of a row: s = half the interval * √n / z; settled is what is
    (z + z_power) standard errors away from -margin. None if that is out of reach (10 million).
    """
    spread = (interval[1] - interval[0]) / (2 * Z) * math.sqrt(n)
    away = abs(value + margin)
    if away == 0 or spread == 0:
        return None
    needed = ((Z + POWER_Z) * spread / away) ** 2
    return max(1, math.ceil(needed - n)) if needed < 1e7 else None
