"""Tables, cut and joined, and their rows as a request's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.bundle import Signature
from serving.frame import days_to_date
from serving.table import Row, Table


def taken(table: Table, rows: Sequence[int] | slice) -> Table:
    """Those rows."""
    numbers = range(table.n)[rows] if isinstance(rows, slice) else rows
    columns: list[Any] = [
        it[rows if isinstance(rows, slice) else list(numbers)]
        if isinstance(it, np.ndarray)
        else [it[number] for number in numbers]
        for it in table.columns
    ]
    return Table(len(numbers), columns)


def joined(first: Table, second: Table) -> Table:
    """One below the other."""
    columns: list[Any] = [
        np.concatenate([above, below]) if isinstance(above, np.ndarray) else [*above, *below]
        for above, below in zip(first.columns, second.columns, strict=True)
    ]
    return Table(first.n + second.n, columns)


def rows_of(signature: Signature, table: Table) -> list[Row]:
    """The rows with the cells that a decoder gives."""
    columns = [
        list(values)
        if not isinstance(values, np.ndarray)
        else [_cell(column.kind, value) for value in values.tolist()]
        for column, values in zip(signature.columns, table.columns, strict=True)
    ]
    return list(zip(*columns, strict=True)) if columns else [()] * table.n


def _cell(kind: str, value: float) -> float | int | bool | None:
    if math.isnan(value):
        return None
    if kind == "boolean":
        return bool(value)
    return int(value) if kind == "integer" else value


def record_of(signature: Signature, row: Row) -> dict[str, Any]:
    """A row as a client sends it."""
    record: dict[str, Any] = {}
    for column, cell in zip(signature.columns, row, strict=True):
        is_date = column.kind == "date" and cell is not None
        record[column.name] = days_to_date(float(cell)) if is_date else cell  # type: ignore[arg-type]
    return record
