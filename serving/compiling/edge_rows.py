"""Rows that trip engines up: what no evaluation set has enough of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from serving.bundle import Column, Signature
from serving.compiling.rows import rows_of
from serving.table import Cell, Row, Table

SEED = 20_261_123
CATEGORIES = 2_000  # of each column, at most
SEEN = 12  # values of each column whose neighbours are tried; fewer where columns are many
SEEN_IN_ALL = 240
MIXED = 60
CELLS, FEWEST = 10_000_000, 1_000  # of all rows; and rows that there are in any case
TEXTS = (
    "", " ", "nan", "NaN", "None", "null", "0", "1.0", "true", "x" * 10_000, "\u00e9t\u00e9",
    "e\u0301", "\u65e5\u672c", "\U0001f9ca", "a\x00b", "never seen before",
)  # fmt: skip
SMALL = (
    0.0, -0.0, 5e-324, -5e-324, 1e-300, 1e-45, 0.1, 0.5, 1.0, -1.0, 3.0, 1e6, 1e15 + 0.3,
    2.0**24 + 1, 2.0**31, 2.0**53 - 1, 2.0**53, 2.0**53 + 2,
)  # fmt: skip
HUGE = (1e38, -1e38, 1e39, -1e39, 1e150, 1e308, -1e308, 1.7e308)
DAYS = (-719_162.0, 2_932_896.0)  # the years 1 and 9999


def edge_rows(signature: Signature, base: Table) -> Table:
    """Variations of `base`'s rows; the same each time.

    What is likely to be refused stands together, and last: refused rows are found by halving.
    """
    random = np.random.default_rng(SEED)
    known = rows_of(signature, base)
    columns = signature.columns
    if not known:
        known = [tuple(_default(column) for column in columns)]
    most = max(1, min(SEEN, SEEN_IN_ALL // max(1, len(columns))))
    pools = [
        _pool(column, [row[at] for row in known], most, random) for at, column in enumerate(columns)
    ]
    rows = list(_categories(columns, known, pools))
    for at, pool in enumerate(pools):
        cells = pool[0] if columns[at].kind != "category" else []
        rows += [_with(known, number, {at: cell}) for number, cell in enumerate(cells)]
    for at, column in enumerate(columns):
        if column.nullable:
            rows += [_with(known, number, {at: None}) for number in range(2)]
    every: dict[int, Cell] = {at: None for at, column in enumerate(columns) if column.nullable}
    rows += [_with(known, number, every) for number in range(2)]
    for number in range(MIXED):
        # Half with what is tame only.
        rows.append(_with(known, number, _mixture(columns, pools, random, wild=number % 2 == 1)))
    for at, pool in enumerate(pools):
        rows += [_with(known, number, {at: cell}) for number, cell in enumerate(pool[1])]
    return Table.of_rows(columns, _thinned(rows, max(FEWEST, CELLS // len(columns))))


def _thinned(rows: list[Row], most: int) -> list[Row]:
    """Rows evenly from all, in their order: of thousands of columns each needs some time."""
    if len(rows) <= most:
        return rows
    return [rows[at] for at in np.linspace(0, len(rows) - 1, most).astype(int)]


Pool = tuple[list[Cell], list[Cell]]  # what most models take, and the rest


def _pool(column: Column, seen: Sequence[Cell], most: int, random: np.random.Generator) -> Pool:
    there: list[Any] = sorted({cell for cell in seen if cell is not None})
    if column.kind == "category":
        known = dict.fromkeys([*(column.categories or ()), *there])
        kept = list(known)[:CATEGORIES]
        return list(kept), [text for text in TEXTS if text not in known]
    if column.kind == "boolean":
        return [False, True], []
    if len(there) > most:
        there = [there[at] for at in sorted(random.choice(len(there), most, replace=False))]
    limits = [it for it in (column.low, column.high) if it is not None]
    tame = [value for it in (*there, *limits) for value in _neighbours(float(it))]
    if column.kind == "date":
        return [it for it in tame if DAYS[0] <= it <= DAYS[1]], [*DAYS, 0.0, -0.5]
    if column.kind == "integer":
        whole = [int(it) for it in (*tame, *SMALL) if it == int(it)]
        return list(dict.fromkeys(whole)), [2**62, -(2**63)]
    # By what they look like: -0.0 is not 0.0 to everyone.
    return list({repr(it): it for it in (*tame, *SMALL)}.values()), list(HUGE)


def _neighbours(value: float) -> Iterator[float]:
    """Just beside a value, as a float64, as a float32, and halfway between two of these."""
    yield value
    yield math.nextafter(value, math.inf)
    yield math.nextafter(value, -math.inf)
    with np.errstate(over="ignore"):
        near = np.float32(value)
        above = np.nextafter(near, np.float32(math.inf))
        below = np.nextafter(near, np.float32(-math.inf))
    for it in (float(near), float(above), float(below), (float(near) + float(above)) / 2):
        if math.isfinite(it):
            yield it
    yield float(round(value))
    yield value + 1.0
    yield value - 1.0


def _default(column: Column) -> Cell:
    if column.nullable:
        return None
    if column.kind == "category":
        return (column.categories or [""])[0]
    return column.low or 0.0


def _categories(
    columns: Sequence[Column], known: Sequence[Row], pools: Sequence[Pool]
) -> Iterator[Row]:
    """Every category of every column, a row having one of each."""
    texts = [at for at, column in enumerate(columns) if column.kind in ("category", "boolean")]
    for number in range(max((len(pools[at][0]) for at in texts), default=0)):
        cells = {at: pools[at][0] for at in texts if pools[at][0]}
        yield _with(known, number, {at: it[number % len(it)] for at, it in cells.items()})


def _mixture(
    columns: Sequence[Column], pools: Sequence[Pool], random: np.random.Generator, wild: bool
) -> dict[int, Cell]:
    cells: dict[int, Cell] = {}
    for at, column in enumerate(columns):
        tame, rest = pools[at]
        if random.random() < 0.5:
            continue
        if column.nullable and random.random() < 0.2:
            cells[at] = None
        else:
            pool = rest if wild and rest and random.random() < 0.1 else tame
            if pool:
                cells[at] = pool[int(random.integers(len(pool)))]
    return cells


def _with(known: Sequence[Row], number: int, cells: dict[int, Cell]) -> Row:
    row = list(known[number % len(known)])
    for at, cell in cells.items():
        row[at] = cell
    return tuple(row)
