"""Decoded inputs: what every protocol becomes, and what every engine takes.

A request is either rows (few, as JSON records come) or a table (many, as columns come). Both hold
cells in the signature's order, already checked against it:

    number     float             null: None in a row, NaN in a table
    integer    int of 64 bits    float64 in a table
    boolean    bool              1.0, 0.0 in a table
    date       days since 1970-01-01 UTC, as float
    category   str               null: None in both
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serving.bundle import Column

Cell: TypeAlias = float | int | bool | str | None
Row: TypeAlias = tuple[Cell, ...]
Numbers: TypeAlias = NDArray[np.float64]
Texts: TypeAlias = Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Table:
    """`n` rows as columns: float64 with NaN for null, or for a category a sequence of texts."""

    n: int
    columns: list[Numbers | Texts]

    @classmethod
    def of_rows(cls, columns: Sequence[Column], rows: Sequence[Row]) -> Table:
        """The same cells, by column."""
        by_column: list[Any] = list(zip(*rows, strict=True)) if rows else [()] * len(columns)
        return cls(
            len(rows),
            [
                values if column.kind == "category" else np.array(values, dtype=np.float64)
                for column, values in zip(columns, by_column, strict=True)
            ],
        )

    @classmethod
    def concat(cls, tables: Sequence[Table]) -> Table:
        """One table after the other."""
        joined: list[Numbers | Texts] = []
        for parts in zip(*(table.columns for table in tables), strict=True):
            numbers = [it for it in parts if isinstance(it, np.ndarray)]
            joined.append(
                np.concatenate(numbers) if numbers else [text for it in parts for text in it]
            )
        return cls(sum(table.n for table in tables), joined)
