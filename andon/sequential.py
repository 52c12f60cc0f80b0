"""Tests that may be looked at as often as one likes: what they promise holds at every look at once.

**Two rates of failure** are compared block by block, a block being what both servers answered in
the same period. Given how many of a block's requests failed in all, how many of these are the
candidate's has Fisher's noncentral hypergeometric distribution; it depends on the odds ratio of the
two rates alone, not on how high they are, nor on how the traffic was split. So the likelihood ratio
of two odds ratios, multiplied over blocks, is a martingale under the one below, its mixture over
odds ratios too, and by Ville's inequality it exceeds 1/alpha at any look with probability alpha at
most.

**One mean** of values from 0 to 1, or a share, has a beta-binomial mixture: a confidence sequence.

Mixtures: Robbins, *Annals of Mathematical Statistics* 41 (1970), "Statistical methods related to
the law of the iterated logarithm"; as always-valid p-values: Johari, Koomen, Pekelis & Walsh,
*Operations Research* 70 (2022), "Always valid inference". For rates of failure below about 10 %
the odds ratio reads as the ratio of the rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import exp, inf, lgamma, log, pi, sqrt

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Log odds ratios that are told apart: a factor of 1/400 to 400, by steps of 5 %.
GRID: Floats = np.arange(-120, 121) / 20
_PRIOR: Floats = -(GRID**2) / 2 - np.log(np.exp(-(GRID**2) / 2).sum())
BLOCK = 10  # requests of either side, at least: less than that says little of a ratio
BISECTIONS = 40
TINY = 1e-300  # nearer to 0 than this, quotients are not to be had
STEPS = 50  # of Newton's method at most; it takes 3 to 10


@dataclass(frozen=True)
class Counts:
    """Requests (n) and failures (k) of the candidate and of the champion in one period.

    Raises ValueError if there are negative counts, or more failures than requests.
    """

    candidate_n: int = 0
    candidate_k: int = 0
    champion_n: int = 0
    champion_k: int = 0

    def __post_init__(self) -> None:
        for n, k in ((self.candidate_n, self.candidate_k), (self.champion_n, self.champion_k)):
            if not 0 <= k <= n:
                raise ValueError(f"failures must be 0 to {n}, the requests; found {k}")

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.candidate_n + other.candidate_n,
            self.candidate_k + other.candidate_k,
            self.champion_n + other.champion_n,
            self.champion_k + other.champion_k,
        )

    @property
    def whole(self) -> bool:
        """Enough on both sides for a block. Decided by requests, never by failures."""
        return min(self.candidate_n, self.champion_n) >= BLOCK


def _nothing() -> Floats:
    return np.zeros(len(GRID))


@dataclass(frozen=True)
class Comparison:
    """All looks so far. `scores`: log likelihood of each log odds ratio in GRID, shape (241,)."""

    total: Counts = Counts()
    pending: Counts = Counts()
    scores: Floats = field(default_factory=_nothing, compare=False, repr=False)

    def look(self, since: Counts) -> Comparison:
        """With what came since the last look; it counts once its block is whole."""
        pending, total = self.pending + since, self.total + since
        if not pending.whole:
            return Comparison(total, pending, self.scores)
        if pending.candidate_k + pending.champion_k == 0:
            return Comparison(total, Counts(), self.scores)  # tells nothing apart
        return Comparison(total, Counts(), self.scores + block_scores(pending))


@lru_cache(maxsize=2_000)
def block_scores(block: Counts) -> Floats:
    """Log likelihood of each log odds ratio in GRID, up to a constant, shape (241,)."""
    failures = block.candidate_k + block.champion_k
    low, high = max(0, failures - block.champion_n), min(failures, block.candidate_n)
    if low == high:
        return _nothing()
    ways = [
        _choose(block.candidate_n, k) + _choose(block.champion_n, failures - k)
        for k in range(low, high + 1)
    ]
    terms = np.array(ways)[:, None] + np.arange(low, high + 1)[:, None] * GRID
    scores = np.asarray(block.candidate_k * GRID - _log_sum(terms, axis=0))
    scores.setflags(write=False)
    return scores


def _choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _log_sum(terms: Floats, axis: int) -> Floats:
    top = terms.max(axis=axis, keepdims=True)
    return np.asarray(np.log(np.exp(terms - top).sum(axis=axis)) + top.squeeze(axis))


def harm_p(scores: Floats, tolerated: float = 1.0) -> float:
    """Always-valid p-value of "the odds ratio is at most `tolerated`".

    `scores`: shape (241,). Raises ValueError if `tolerated` is outside the grid.
    """
    at, prior = _above(tolerated)
    evidence = float(_log_sum(scores[at + 1 :] + prior, axis=-1)) - float(scores[at])
    return exp(-max(evidence, 0.0))


@lru_cache(maxsize=64)
def _above(tolerated: float) -> tuple[int, Floats]:
    """The tolerated ratio's place in the grid (never stricter), and the prior of larger ones."""
    edge = log(tolerated) if tolerated > 0 else -inf
    if not GRID[0] < edge < GRID[-1]:
        raise ValueError(f"tolerated odds ratio: expected 1/400 to 400, found {tolerated}")
    at = int(np.searchsorted(GRID, edge - 1e-12))
    prior = _PRIOR[at + 1 :] - np.log(np.exp(_PRIOR[at + 1 :]).sum())
    return at, prior


def ratio_interval(scores: Floats, alpha: float) -> tuple[float, float]:
    """Confidence sequence of the odds ratio, at level 1 - alpha over all looks together.

    `scores`: shape (241,). An end outside the grid is 0 or infinite. Raises ValueError if alpha is
    not between 0 and 1.
    """
    _check(alpha)
    kept = np.flatnonzero(_log_sum(scores + _PRIOR, axis=-1) - scores < -log(alpha))
    low, high = int(kept[0]) - 1, int(kept[-1]) + 1  # outwards: what lies between was not tried
    return (
        exp(GRID[low]) if low >= 0 else 0.0,
        exp(GRID[high]) if high < len(GRID) else inf,
    )


def ratio_estimate(scores: Floats) -> float:
    """The likeliest odds ratio of the grid; the one nearest to 1 if nothing tells them apart."""
    likeliest = np.flatnonzero(scores >= scores.max() - 1e-12)
    return exp(min((float(GRID[i]) for i in likeliest), key=abs))


@dataclass(frozen=True)
class Mean:
    """The sum of n values from 0 to 1: of losses, of scores, or (1 and 0) of what is so or not.

    What is said of their mean holds at every look at once, if it is the same from look to look. A
    beta-binomial mixture, Beta(1/2, 1/2) (Robbins, 1970; Howard, Ramdas, McAuliffe & Sekhon,
    *Annals of Statistics* 49, 2021): the ratio is convex in each value, so that what holds for
    failures holds for any values in between. Raises ValueError if total is not 0 to n.
    """

    total: float = 0.0
    n: int = 0

    def __post_init__(self) -> None:
        if not -1e-9 <= self.total <= self.n + 1e-6:
            raise ValueError(
                f"total of {self.n} values from 0 to 1: expected 0 to {self.n}, found {self.total}"
            )

    def __add__(self, other: Mean) -> Mean:
        return Mean(self.total + other.total, self.n + other.n)

    @staticmethod
    def of(values: Sequence[float]) -> Mean:
        """Of values that came; what is outside 0 to 1 counts as its nearest end."""
        return Mean(sum(min(max(it, 0.0), 1.0) for it in values), len(values))

    @property
    def value(self) -> float:
        """The mean so far; 0 of nothing."""
        return self.total / self.n if self.n else 0.0

    def above_p(self, limit: float) -> float:
        """Always-valid p-value of "the mean is at most `limit`"."""
        if self.n == 0 or self.value <= limit:
            return 1.0
        likely = _likelihood(self.total, self.n, limit)
        return exp(min(0.0, likely - self._mixed())) if likely > -inf else 0.0

    def evidence(self, limit: float) -> float:
        """Log of the e-value against "the mean is at most `limit`"; 0 of nothing."""
        if self.n == 0:
            return 0.0
        likely = _likelihood(self.total, self.n, min(self.value, limit))
        return self._mixed() - likely if likely > -inf else inf

    def interval(self, alpha: float) -> tuple[float, float]:
        """Confidence sequence of the mean, at level 1 - alpha over all looks together.

        Raises ValueError if alpha is not between 0 and 1.
        """
        _check(alpha)
        if self.n == 0:
            return 0.0, 1.0
        total = min(self.total, float(self.n)) if self.value > TINY else 0.0
        return _interval(total, self.n, alpha)

    def _mixed(self) -> float:
        failed = max(self.n - self.total, 0.0)
        return lgamma(max(self.total, 0.0) + 0.5) + lgamma(failed + 0.5) - lgamma(self.n + 1) - _PI


_PI = log(pi)


def beyond_p(ours: Mean, theirs: Mean, margin: float) -> float:
    """Always-valid p-value of "our mean is at most theirs and `margin`"; 0 <= margin < 1.

    The product of both means' ratios is a martingale at the true pair of means, so what holds of
    it holds of the least favourable pair that the hypothesis allows. That one is on its border: our
    mean is theirs and the margin.
    """
    gap = ours.value - theirs.value
    if not ours.n or not theirs.n or gap <= margin + TINY:
        return 1.0
    low, high = theirs.value, ours.value - margin
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if _slope(ours, middle + margin) + _slope(theirs, middle) > 0:
            low = middle
        else:
            high = middle
    least = (low + high) / 2
    likely = _likelihood(ours.total, ours.n, least + margin)
    likely += _likelihood(theirs.total, theirs.n, least)
    return exp(min(0.0, likely - ours._mixed() - theirs._mixed()))


def _slope(it: Mean, mean: float) -> float:
    """Of the log likelihood of a mean; never asked at 0 or 1 where that is not the mean itself."""
    hit = it.total / mean if it.total > 0 else 0.0
    return hit - ((it.n - it.total) / (1 - mean) if it.total < it.n else 0.0)


def _likelihood(total: float, n: int, mean: float) -> float:
    if (mean <= 0 and total > 0) or (mean >= 1 and total < n):
        return -inf
    hit = total * log(mean) if total > 0 else 0.0
    return hit + ((n - total) * log(1 - mean) if total < n else 0.0)


@lru_cache(maxsize=2_000)
def _interval(total: float, n: int, alpha: float) -> tuple[float, float]:
    likely = _likelihood(total, n, total / n)
    room = max(0.0, likely - Mean(total, n)._mixed() - log(alpha))
    return _low(total, n, room), 1.0 - _low(n - total, n, room)


def _low(total: float, n: int, room: float) -> float:
    """Below the mean, where the log likelihood is `room` less than at the mean.

    By Newton's method from outside: of a concave function all its steps stay outside. The begin is
    outside by Pinsker's inequality (2 d² <= KL), or by log(1 + x) <= x where the mean is near 0.
    """
    if total <= 0:
        return 0.0
    mean = total / n
    m = max(mean - sqrt(room / (2 * n)), mean * exp(-1 - room / total))
    if m < TINY:
        return 0.0
    for _ in range(STEPS):
        missing = n * _divergence(mean, m) - room
        slope = (total - n * m) / (m * (1 - m))
        if missing <= 1e-9 * room or slope <= 0:
            break
        m += missing / slope
    return m


def _divergence(p: float, q: float) -> float:
    """Kullback & Leibler's, of two coins."""
    return p * log(p / q) + ((1 - p) * log((1 - p) / (1 - q)) if p < 1 else 0.0)


def _check(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha: expected between 0 and 1, found {alpha}")
