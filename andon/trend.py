"""Will it run out? The trend of readings over time, and when it reaches a limit.

The slope is Theil's and Sen's: the median of the slopes of all pairs, which a few odd readings do
not move (Sen, *JASA* 63, 1968). Readings of a process wander, so that their slope is surer by its
formula than in truth: a trend counts if each third of the readings goes the same way, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
FEWEST = 24  # readings
MOST = 288
Z = 2.575829  # of a two-sided 99 % interval


@dataclass(frozen=True)
class Trend:
    """Of n readings: units a second, with a 99 % interval, and whether all thirds agree."""

    n: int
    slope: float
    low: float
    high: float
    steady: bool

    @property
    def grows(self) -> bool:
        """Beyond doubt."""
        return self.low > 0 and self.steady

    def seconds_left(self, value: float, limit: float) -> float:
        """Until the limit by the slope; infinite if it does not grow."""
        return max(0.0, limit - value) / self.slope if self.slope > 0 else math.inf


def trend(times: Numbers, values: Numbers) -> Trend | None:
    """Of the newest MOST readings since the last restart; (n,) each, oldest first.

    None with fewer than FEWEST.
    """
    times, values = times[-MOST:], values[-MOST:]
    begin = _restarted(values)
    times, values = times[begin:], values[begin:]
    n = len(values)
    if n < FEWEST or times[-1] <= times[0]:
        return None
    slope, low, high = _sen(times, values)
    thirds = np.array_split(np.arange(n), 3)
    steady = all(_sen(times[it], values[it])[0] > 0 for it in thirds)
    return Trend(n, slope, low, high, steady)


def _restarted(values: Numbers) -> int:
    """The place of the last fall by more than half: whatever it was began anew."""
    falls = np.flatnonzero(values[1:] < values[:-1] / 2)
    return int(falls[-1]) + 1 if len(falls) else 0


def _sen(times: Numbers, values: Numbers) -> tuple[float, float, float]:
    n = len(values)
    i, j = np.triu_indices(n, 1)
    apart = times[j] - times[i]
    known = apart > 0
    slopes = np.sort((values[j] - values[i])[known] / apart[known])
    if not len(slopes):
        return 0.0, -math.inf, math.inf
    _, ties = np.unique(values, return_counts=True)
    spread = n * (n - 1) * (2 * n + 5) - (ties * (ties - 1) * (2 * ties + 5)).sum()
    half = Z * math.sqrt(max(spread, 0) / 18)
    low = slopes[max(0, round((len(slopes) - half) / 2) - 1)]
    high = slopes[min(len(slopes) - 1, round((len(slopes) + half) / 2))]
    return float(np.median(slopes)), float(low), float(high)
