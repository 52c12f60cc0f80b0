"""Binary: does a score of 0.7 come true in 7 of 10 cases?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andon import evidence
from andon.paired import wilson

Array = NDArray[Any]
BINS = 15
FEWEST = 20  # rows of a bin
RESAMPLES = 1_000


def calibration(y: Array, score: Array, *, seed: int) -> evidence.Calibration | None:
    """Reliability bins, calibration error and Brier decomposition; None with under 2 * FEWEST rows.

    `y` (n,) is 1 or 0, `score` (n,) a probability. The decomposition is Murphy's (J. Appl.
    Meteorology 12, 1973); the error is debiased as by Kumar, Liang & Ma (NeurIPS 2019), with an
    interval from resamples within bins.
    """
    n = len(y)
    if n < 2 * FEWEST or not np.isfinite(score).all():
        return None
    bins = _bins(score, min(BINS, n // FEWEST))
    counts = np.bincount(bins)
    known = counts > 0
    counts = counts[known]
    shares = np.bincount(bins, y)[known] / counts
    means = np.bincount(bins, score)[known] / counts
    weights, base = counts / n, float(np.mean(y))
    lows = [float(score[bins == it].min()) for it in np.flatnonzero(known)]
    highs = [float(score[bins == it].max()) for it in np.flatnonzero(known)]
    return evidence.Calibration(
        bins=[
            evidence.Bin(low, high, int(k), float(mean), float(share), *wilson(round(share * k), k))
            for low, high, k, mean, share in zip(lows, highs, counts, means, shares, strict=True)
        ],
        error=_error(counts, means, shares, seed),
        brier=float(np.mean((score - y) ** 2)),
        reliability=float(np.sum(weights * (means - shares) ** 2)),
        resolution=float(np.sum(weights * (shares - base) ** 2)),
        uncertainty=base * (1 - base),
    )


def _bins(score: Array, most: int) -> Array:
    """Of equally many rows; where there are few different scores, one each."""
    values, places = np.unique(score, return_inverse=True)
    if len(values) <= most:
        return places
    edges = np.unique(np.quantile(score, np.linspace(0, 1, most + 1)))
    return np.clip(np.searchsorted(edges, score, side="right") - 1, 0, max(len(edges) - 2, 0))


def _error(counts: Array, means: Array, shares: Array, seed: int) -> evidence.Interval:
    weights, chance = counts / counts.sum(), shares * (1 - shares) / np.maximum(counts - 1, 1)
    value = _root(float(np.sum(weights * ((means - shares) ** 2 - chance))))
    rng = np.random.default_rng(seed)
    drawn = rng.binomial(counts, shares, (RESAMPLES, len(counts))) / counts
    # A resample has its own chance on top of that of the rows.
    squares = (weights * ((means - drawn) ** 2 - 2 * chance)).sum(axis=1)
    low, high = np.quantile(squares, (0.025, 0.975))
    return evidence.Interval(value, _root(float(low)), _root(float(high)))


def _root(square: float) -> float:
    return math.sqrt(max(square, 0.0))
