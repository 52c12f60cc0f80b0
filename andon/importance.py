"""How much a model needs each column: permutation importance, with an interval.

A column's values are moved between rows, and the metric is measured again (Breiman, *Machine
Learning* 45, 2001; with a row never keeping its own value: Fisher, Rudin & Dominici, *JMLR* 20,
2019). The rows are dealt into groups, and values move within a group only: so the groups are
independent of each other, and the delete-a-group jackknife (Kott, *Journal of Official Statistics*
17, 2001) sees the chance of the rows and of the permutations at once, for any metric.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from andon.metrics import MetricInfo, known
from andon.training import Array
from andon.verdict import Outcome, Verdict

GROUPS = 20
FEWEST_IN_GROUP = 5
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Importance:
    """How much worse the metric is without a column, in its unit; positive: the column matters.

    `low` and `high` are a 95 % interval, None where there are too few rows for one.
    """

    value: float
    low: float | None
    high: float | None

    @property
    def matters(self) -> bool:
        """Whether the interval excludes chance."""
        return self.low is not None and self.low > 0


def deal(n: int, seed: int) -> Indices:
    """The group of each of n rows, at random; groups differ by a row at most: (n,)."""
    groups = max(1, min(GROUPS, n // FEWEST_IN_GROUP))
    return np.random.default_rng(seed).permutation(np.arange(n) % groups)


def donors(group: Indices, repeats: int, seed: int) -> Indices:
    """From which row each row gets its value: another of its group: (repeats, n).

    Each repeat moves values along a random circle, so no row of two or more keeps its own.
    """
    rng, n = np.random.default_rng([seed, 1]), len(group)
    found = np.empty((repeats, n), dtype=np.int64)
    for given in found:
        order = np.lexsort((rng.random(n), group))
        starts = np.flatnonzero(np.diff(group[order], prepend=-1))
        previous = np.arange(n) - 1
        previous[starts] = np.append(starts[1:], n) - 1
        given[order] = order[previous]
    return found


def importance(
    metric: str | MetricInfo, y: Array, said: Array, without: Sequence[Array], group: Indices
) -> Importance:
    """The loss of the metric, averaged over repeats, and its interval.

    `y` and `said` are (n,): truth and output of the kind the metric uses; `without` has an output
    (n,) for each repeat; `group` (n,) is from `deal`. The interval is the delete-a-group
    jackknife's, with Student's t of one degree of freedom less than groups.
    """
    from scipy.special import stdtrit

    info = known(metric)

    def loss(rows: NDArray[np.bool_]) -> float:
        kept = info.of(y[rows], said[rows])
        moved_ones = float(np.mean([info.of(y[rows], it[rows]) for it in without]))
        return info.sign * (kept - moved_ones) + 0.0  # no negative zero

    value, groups = loss(np.ones(len(y), dtype=bool)), int(group.max()) + 1 if len(y) else 0
    if groups < 3 or not np.isfinite(value):
        return Importance(value, None, None)
    left = np.array([loss(group != it) for it in range(groups)])
    if not np.isfinite(left).all():
        return Importance(value, None, None)
    error = np.sqrt((groups - 1) / groups * np.sum((left - left.mean()) ** 2))
    half = float(stdtrit(groups - 1, 0.975) * error)
    return Importance(value, value - half, value + half)


def narrow(
    columns: int, loss: Callable[[Sequence[int]], float], most: int
) -> tuple[list[int], list[list[int]]]:
    """At most `most` columns to look at one by one, and blocks of the rest that mattered less.

    `loss` measures a block of columns that are moved together. The block that matters most is
    halved, until there are enough single columns or no block matters: of c columns that matter
    among many, each costs about 2 log2(columns) measurements.
    """
    size = max(1, -(-columns // 32))
    blocks = [list(range(at, min(at + size, columns))) for at in range(0, columns, size)]
    heap = [(-loss(block), block) for block in blocks]
    heapq.heapify(heap)
    single: list[int] = []
    for _ in range(4 * most):
        if not heap or len(single) == most or heap[0][0] >= 0:
            break
        _, block = heapq.heappop(heap)
        if len(block) == 1:
            single += block
            continue
        middle = len(block) // 2
        for half in (block[:middle], block[middle:]):
            heapq.heappush(heap, (-loss(half), half))
    return single, [block for _, block in sorted(heap)]


def moved(before: Mapping[str, float], now: Mapping[str, float]) -> float | None:
    """The share of importance that lies on other columns than before, 0 to 1.

    The total variation distance of the positive importances, each scaled to a sum of 1; None if
    one of them has none.
    """
    shares = [{name: max(it, 0.0) for name, it in given.items()} for given in (before, now)]
    sums = [sum(it.values()) for it in shares]
    if not all(np.isfinite(it) and it > 0 for it in sums):
        return None
    names = {*before, *now}
    first, second = ([it.get(name, 0.0) / total for name in names] for it, total in
                     zip(shares, sums, strict=True))  # fmt: skip
    return 0.5 * sum(abs(a - b) for a, b in zip(first, second, strict=True))


CHECK = "importance like the champion's"


def told(
    before: Mapping[str, float], now: Mapping[str, float], limit: float, rows: int, name: str
) -> Verdict:
    """A verdict that tells and never stops: a better model may well look at other columns."""
    share = moved(before, now)
    if share is None:
        detail = f"not comparable with {name}: one of the two needs no column"
        return Verdict(check=CHECK, outcome=Outcome.PASS, limit=limit, n=rows, detail=detail)
    detail = f"{share:.0%} of the importance lies on other columns than {name}'s"
    if share >= limit:
        shifts = {it: now.get(it, 0.0) - before.get(it, 0.0) for it in {*before, *now}}
        most = sorted(shifts, key=lambda it: (-abs(shifts[it]), it))[:3]
        detail = f"warning, stops nothing: {detail}, most on {', '.join(most)}"
    return Verdict(
        check=CHECK, outcome=Outcome.PASS, value=share, limit=limit, n=rows, detail=detail
    )
