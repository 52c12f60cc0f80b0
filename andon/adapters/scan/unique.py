"""Which values stand more than once, without holding the column as objects.

Each value costs eight bytes: its hash. Values whose hash is alone are unique; the few others
are compared as they are, so a collision of hashes changes nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from andon.adapters.scan.check import ROW, SHOWN, Column, Metrics

_COUNT = "andon_count"
_PART = 1_000_000
_METRIC = "column_values.unique"


def repeated(data: pl.LazyFrame, column: Column) -> Metrics:
    """How many values are not unique, and the first of them with their rows."""
    name = column.name
    present = data.with_row_index(ROW).select(ROW, column.equal).filter(~column.missing)
    hashes = present.select(column.expr.hash()).collect(engine="streaming").to_series()
    shared = _shared(hashes)
    if shared.is_empty():
        return _metrics(0, [], [])
    suspects = present.filter(column.expr.hash().is_in(shared.implode()))
    groups = suspects.group_by(name).agg(pl.len().alias(_COUNT)).filter(pl.col(_COUNT) > 1)
    counts = groups.collect(engine="streaming")
    if counts.is_empty():
        return _metrics(0, [], [])
    rows = suspects.filter(column.expr.is_in(counts[name].implode())).head(SHOWN)
    shown = rows.collect(engine="streaming")
    return _metrics(int(counts[_COUNT].sum()), shown[name], shown[ROW].to_list())


def _shared(hashes: pl.Series) -> pl.Series:
    """The hashes that are there more than once."""
    ordered = hashes.to_numpy(writable=True)
    # In place: the column is held once.
    ordered.sort()
    again = [
        part[1:][part[1:] == part[:-1]]
        for start in range(0, len(ordered), _PART)
        if len(part := ordered[start : start + _PART + 1])
    ]
    return pl.Series(np.concatenate([ordered[:0], *again])).unique()


def _metrics(count: int, values: Any, rows: list[int]) -> Metrics:
    return {
        f"{_METRIC}.unexpected_count": count,
        f"{_METRIC}.unexpected_values": values,
        f"{_METRIC}.unexpected_index_list": rows,
    }
