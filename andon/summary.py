"""What rows of live traffic look like, in counts that add up.

A summary is counted over the bins of the reference profile. Those of batches, servers, days and
windows are added with `+`: nothing is read twice, and what is kept does not grow with the rows.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from andon.profile import Counts, Feature, Numbers

Groups: TypeAlias = NDArray[np.intp]
CELLS = 4_096  # of the grid that finds most values' bins
PIECES = 256  # about: so many summaries are kept while a log is read
SMALLEST = 4  # pieces of the smallest window that is judged


@dataclass(frozen=True)
class Coded:
    """Texts as places in a list of words; -1 is null."""

    codes: NDArray[np.int32]
    words: list[str]


@dataclass(frozen=True)
class Tally:
    """One feature of some rows: rows in each bin, nulls last; mean and spread of finite numbers.

    `squares` is the sum of squared distances from the mean.
    """

    counts: Counts
    real: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        """Of both together (moments: Chan, Golub & LeVeque, The American Statistician 37, 1983)."""
        counts, real = self.counts + other.counts, self.real + other.real
        if not real:
            return Tally(counts)
        apart = other.mean - self.mean
        mean = self.mean + apart * other.real / real
        between = apart * apart * self.real * other.real / real
        return Tally(counts, real, mean, self.squares + other.squares + between)

    @property
    def n(self) -> int:
        """Rows counted, nulls included."""
        return int(self.counts.sum())

    @property
    def std(self) -> float:
        return math.sqrt(self.squares / self.real) if self.real else 0.0


@dataclass(frozen=True)
class Summary:
    """Some rows: how many, when (microseconds since 1970), and a tally of each feature by name.

    `said`: of the scores that the model gave. `unread`: features whose values could not be read,
    and why; their rows are in no tally. `parts`: `said` again, of slices by name.
    """

    rows: int
    first: int
    last: int
    features: dict[str, Tally]
    said: Tally | None
    unread: dict[str, str]
    parts: dict[str, Tally] = field(default_factory=dict)

    def __add__(self, other: Summary) -> Summary:
        said = self.said + other.said if self.said and other.said else self.said or other.said
        return Summary(
            self.rows + other.rows,
            min(self.first, other.first),
            max(self.last, other.last),
            _added(self.features, other.features),
            said,
            {**other.unread, **self.unread},
            _added(self.parts, other.parts),
        )

    @property
    def span(self) -> tuple[float, float]:
        """First and last time, in epoch seconds."""
        return self.first / 1e6, self.last / 1e6


def _added(mine: Mapping[str, Tally], theirs: Mapping[str, Tally]) -> dict[str, Tally]:
    return {
        name: mine[name] + theirs[name]
        if name in mine and name in theirs
        else mine.get(name) or theirs[name]
        for name in {**mine, **theirs}
    }


def tallies(feature: Feature, values: Numbers | Coded, groups: Groups, many: int) -> list[Tally]:
    """One for each of `many` groups of rows; `groups`: (rows,), which one each row is in.

    Numbers are (rows,) floats, null as NaN. Counts are those of `profile.window_counts`.
    """
    size = len(feature.counts) or _bins_of(feature)
    if isinstance(values, Coded):
        return [Tally(it) for it in _grouped(_places(feature, values), groups, many, size)]
    bins = _bins(np.asarray(feature.edges, dtype=np.float64), values)
    bins[np.isnan(values)] = size - 1
    counts = _grouped(bins, groups, many, size)
    with np.errstate(over="ignore", invalid="ignore"):
        return [Tally(*it) for it in zip(counts, *_moments(values, groups, many), strict=True)]


def _bins_of(feature: Feature) -> int:
    return len(feature.top) + 3 if feature.kind == "category" else len(feature.edges) + 2


def _grouped(bins: NDArray[np.intp], groups: Groups, many: int, size: int) -> list[Counts]:
    together = bins if many == 1 else bins + groups * size
    found = np.bincount(together, minlength=many * size).astype(np.int64)
    return list(found.reshape(many, size))


def _bins(edges: Numbers, values: Numbers) -> NDArray[np.intp]:
    """`searchsorted` from the right; most rows are found on a grid of equal cells, at once.

    A cell without an edge in it belongs to one bin. The few other rows, and NaN, are searched for.
    """
    low, high = (edges[0], edges[-1]) if len(edges) else (0.0, 0.0)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        scale = np.float64(CELLS) / (high - low)
    if not 0.0 < scale < np.inf:
        return np.searchsorted(edges, values, side="right")

    def cells(of: Numbers) -> NDArray[np.int16]:
        with np.errstate(over="ignore", invalid="ignore"):
            places = (of - low) * scale
        return np.fmax(np.fmin(places, CELLS), -1.0).astype(np.int16)  # NaN: the last cell

    taken = cells(edges)
    of_cell = np.searchsorted(taken, np.arange(-1, CELLS + 1), side="left").astype(np.int8)
    of_cell[taken + 1] = -1
    of_cell[[0, -1]] = -1
    found = of_cell[cells(values) + 1].astype(np.intp)
    open_ = np.flatnonzero(found < 0)
    found[open_] = np.searchsorted(edges, values[open_], side="right")
    return found


def _places(feature: Feature, values: Coded) -> NDArray[np.intp]:
    rarer, unseen, null = (len(feature.top) + i for i in range(3))
    places = dict.fromkeys(feature.rare, rarer) | {it: i for i, it in enumerate(feature.top)}
    table = np.array([*(places.get(word, unseen) for word in values.words), null], dtype=np.intp)
    return table[values.codes]


def numbered(feature: Feature, values: Coded) -> Numbers:
    """Categories as numbers: their bins; null as NaN."""
    places = _places(feature, values).astype(np.float64)
    places[values.codes < 0] = np.nan
    return places


def _moments(
    values: Numbers, groups: Groups, many: int
) -> tuple[list[int], list[float], list[float]]:
    borders = np.flatnonzero(np.diff(groups)) + 1
    begun = groups[[0, *borders]] if len(groups) else groups
    if len(np.unique(begun)) < len(begun):  # mixed, as of several servers
        order = np.argsort(groups, kind="stable")
        values, groups = values[order], groups[order]
        borders = np.flatnonzero(np.diff(groups)) + 1
    real, means, squares = [0] * many, [0.0] * many, [0.0] * many
    ends = [*borders.tolist(), len(groups)]
    for begin, end in zip([0, *ends], ends, strict=False):
        mine = values[begin:end]
        finite = np.isfinite(mine)
        if not finite.all():
            mine = mine[finite]
        if len(mine):
            group = int(groups[begin])
            real[group], means[group] = len(mine), float(mine.mean())
            apart = mine - means[group]
            # Not a dot product: its threads wait for each other where others are at work.
            squares[group] = float(np.square(apart, out=apart).sum())
    return real, means, squares


@dataclass(frozen=True)
class Cut:
    """How the latest rows are cut into windows: `of` windows of at most `rows`, `need` to alarm.

    While there are fewer rows, windows are smaller, so that `need` of them are there as early as
    each can have `min_rows`.
    """

    rows: int
    min_rows: int
    of: int = 3
    need: int = 2

    @property
    def _pieces(self) -> int:
        """Of a full window."""
        least = max(-(-self.min_rows // SMALLEST), -(-self.of * self.rows // PIECES))
        return max(1, self.rows // least)

    @property
    def piece(self) -> int:
        """Rows that are summarised together."""
        return self.rows // self._pieces

    @property
    def latest(self) -> int:
        """Rows to read."""
        return self.of * self._pieces * self.piece

    def windows(self, pieces: Mapping[int, Summary]) -> list[Summary]:
        """The newest first; `pieces` by their number, the newest rows being in piece 0."""
        rows = sum(it.rows for it in pieces.values())
        smallest = -(-self.min_rows // self.piece)
        each = max(1, min(self._pieces, max(smallest, rows // self.need // self.piece)))
        parts: dict[int, list[Summary]] = {}
        for number in sorted(pieces):
            parts.setdefault(number // each, []).append(pieces[number])
        return [total(parts[it]) for it in sorted(parts)[: self.of]]


def total(summaries: Sequence[Summary]) -> Summary:
    """All of them added up; there has to be one."""
    return functools.reduce(operator.add, summaries)
