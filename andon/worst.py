"""The worst parts of the held-out rows that can be found, of one or two columns.

They are chosen on one half of the rows and measured on the other, so that the measure is neither
flattered nor damned by the choice. They are shown, and decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from andon import evidence
from andon.cuts import Coded
from andon.metrics import MetricInfo
from andon.slices import Rows, holm, measured

Array = NDArray[Any]
TOP_VALUES = 12  # of a column
SEARCHED_ROWS = 50_000  # in each half
SEARCHED_COLUMNS = 60
SHOWN = 5
_CHUNK = 8_192
_ONE_SIDED = 1.645


def worst(
    info: MetricInfo,
    rows: Rows,
    column: Callable[[str, Array], Coded],
    names: Sequence[str],
    *,
    min_rows: int,
    seed: int,
) -> tuple[list[evidence.Slice], int]:
    """The worst slices of one or two columns, and how many were looked at.

    `column(name, chosen)` codes a column's chosen rows. Worse means: a greater loss of the
    challenger than of the champion, or, without one, than on all rows. The loss of a row is its
    squared error, or whether its label is wrong; the metric itself is told. Work is bounded by
    SEARCHED_ROWS, SEARCHED_COLUMNS and TOP_VALUES.
    """
    n = len(rows.y)
    drawn = np.random.default_rng(seed).permutation(n)[: 2 * SEARCHED_ROWS]
    few, half = max(30, min_rows // 2), len(drawn) // 2
    halves = drawn[:half], drawn[half:]
    if half < 2 * few:
        return [], 0
    # The cuts are of all drawn rows: they do not look at the loss, and both halves share them.
    whole = [column(name, drawn) for name in names]
    search = [Coded(it.name, it.values, it.codes[:half]) for it in whole]
    confirm = [Coded(it.name, it.values, it.codes[half:]) for it in whole]
    loss = losses(info, rows.part(halves[0]))
    candidates, looked = _candidates(search, loss, few)
    found: list[evidence.Slice] = []
    masks: list[Array] = []
    for conditions in candidates:
        mask, other = _mask(search, conditions), _mask(confirm, conditions)
        alike = any((mask & it).sum() > 0.5 * (mask | it).sum() for it in masks)
        if alike or other.sum() < few or len(found) == SHOWN:
            continue
        masks.append(mask)
        part = rows.part(halves[0][mask])
        seen = info.of(part.y, part.challenger)
        shown = [(search[c].name, search[c].values[v]) for c, v in conditions]
        one = measured(info, rows.part(halves[1][other]), shown, margin=0.0, seed=seed)
        search_value = seen if np.isfinite(seen) else None
        found.append(msgspec.structs.replace(one, named=False, search=search_value))
    return _adjusted(found), looked


def _adjusted(found: list[evidence.Slice]) -> list[evidence.Slice]:
    adjusted = iter(holm([it.p for it in found if it.p is not None]))
    return [it if it.p is None else msgspec.structs.replace(it, p=next(adjusted)) for it in found]


def losses(info: MetricInfo, rows: Rows) -> NDArray[np.float64]:
    """By how much each row is worse with the challenger than with the champion, if there is one."""

    def loss(said: Array) -> NDArray[np.float64]:
        if info.uses == "label":
            return np.asarray(said != rows.y, dtype=float)
        if info.uses == "probabilities":
            return np.asarray(1 - said[np.arange(len(said)), rows.y.astype(int)], dtype=float) ** 2
        return np.asarray(said - rows.y, dtype=float) ** 2

    after = loss(rows.challenger)
    return after if rows.champion is None else after - loss(rows.champion)


Conditions = tuple[tuple[int, int], ...]


def _mask(columns: list[Coded], conditions: Conditions) -> Array:
    return np.asarray(np.all([columns[c].codes == v for c, v in conditions], axis=0))


def _candidates(
    columns: list[Coded], loss: NDArray[np.float64], few: int
) -> tuple[list[Conditions], int]:
    """Conditions by how far the slice's mean loss is surely above that of all, worst first.

    All pairs at once: with a row's slices as a vector of zeros and ones M, counts, sums and sums
    of squares of every pair are products MᵀM, MᵀDM.
    """
    columns = columns[:SEARCHED_COLUMNS]
    owner = np.array([c for c, it in enumerate(columns) for _ in it.values])
    value = np.array([v for it in columns for v in range(len(it.values))])
    count, total, squares = _sums(columns, loss)
    allowed = (count >= few) & (count <= len(loss) - few)
    same = owner[:, None] == owner[None, :]
    np.fill_diagonal(same, val=False)
    allowed &= np.triu(~same)
    n = np.maximum(count, 1)
    mean = total / n
    spread = np.sqrt(np.maximum(squares / n - mean**2, 0) / n)
    surely = np.where(allowed, mean - _ONE_SIDED * spread, -np.inf)
    alone = np.diag(surely)
    both = surely > np.maximum(alone[:, None], alone[None, :])  # two conditions have to tell more
    np.fill_diagonal(both, val=True)
    surely = np.where(both & (surely > 0), surely, -np.inf)
    order = np.argsort(-surely, axis=None)[: 20 * SHOWN]
    pairs = [np.unravel_index(int(it), surely.shape) for it in order if surely.flat[it] > 0]
    return [
        tuple((int(owner[k]), int(value[k])) for k in dict.fromkeys((int(i), int(j))))
        for i, j in pairs
    ], int(allowed.sum())


def _sums(columns: list[Coded], loss: NDArray[np.float64]) -> tuple[Array, Array, Array]:
    """Of each pair of values: rows, and the sums of their standardised loss and of its square."""
    starts = np.cumsum([0, *(len(it.values) for it in columns)])
    centred = (loss - loss.mean()) / max(float(loss.std()), 1e-300)
    count, total, squares = (np.zeros((starts[-1], starts[-1])) for _ in range(3))
    for begin in range(0, len(loss), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        x = centred[part].astype(np.float32)[:, None]
        marks = np.zeros((len(x), starts[-1]), dtype=np.float32)
        for start, it in zip(starts[:-1], columns, strict=True):
            codes = it.codes[part]
            inside = np.flatnonzero(codes >= 0)
            marks[inside, start + codes[inside]] = 1
        count += marks.T @ marks
        total += marks.T @ (marks * x)
        squares += marks.T @ (marks * x**2)
    return count, total, squares
