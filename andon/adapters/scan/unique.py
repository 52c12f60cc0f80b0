"""Which values stand more than once, without holding the column as objects.

Each value costs its hash, or of many values half of it: four bytes. Values whose bits are alone
are unique; the few others are compared as they are, so a collision changes nothing. More values
than `_HELD` are looked at in several passes, each over the hashes that leave one remainder.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from andon.adapters.scan.check import ROW, SHOWN, Column, Metrics

_COUNT = "andon_count"
_PART = 1_000_000
_HELD = 16_000_000
# Up to here all 64 bits are held: two that are equal by chance cost another pass.
_SMALL = 4_000_000
_METRIC = "column_values.unique"


def repeated(data: pl.LazyFrame, column: Column) -> Metrics:
    """How many values are not unique, and the first of them with their rows."""
    name = column.name
    present = data.with_row_index(ROW).select(ROW, column.equal).filter(~column.missing)
    rows = data.select(pl.len()).collect(engine="streaming").item()
    parts = max(1, -(-rows // _HELD))
    small = rows <= _SMALL
    found = [_suspects(present, column, (part, parts), small=small) for part in range(parts)]
    suspects = pl.concat([it for it in found if it is not None] or [present.head(0)])
    groups = suspects.group_by(name).agg(pl.len().alias(_COUNT)).filter(pl.col(_COUNT) > 1)
    counts = groups.collect(engine="streaming")
    if counts.is_empty():
        return _metrics(0, [], [])
    again = present.filter(column.expr.is_in(counts[name].implode())).head(SHOWN)
    shown = again.collect(engine="streaming")
    return _metrics(int(counts[_COUNT].sum()), shown[name], shown[ROW].to_list())


def _suspects(
    present: pl.LazyFrame, column: Column, which: tuple[int, int], *, small: bool
) -> pl.LazyFrame | None:
    """The rows of one part whose bits are not alone; none if there are none."""
    (part, parts), whole = which, column.expr.hash()
    bits = whole if small else (whole // parts % 2**32).cast(pl.UInt32)
    of_part = present if parts == 1 else present.filter(whole % parts == part)
    shared = _shared(of_part.select(bits).collect(engine="streaming").to_series())
    return None if shared.is_empty() else of_part.filter(bits.is_in(shared.implode()))


def _shared(bits: pl.Series) -> pl.Series:
    """What is there more than once."""
    ordered = bits.to_numpy(writable=True)
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
