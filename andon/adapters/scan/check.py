"""What one expectation asks of the scan, in the metrics that GX judges it by."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

Metrics = dict[str, Any]
# What GX shows of the values that are not as expected.
SHOWN = 20
ROW = "andon_row"
NULLS = "column_values.nonnull.unexpected_count"
INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
NUMBERS = (*INTEGERS, pl.Float64)
MOMENTS = (pl.Date, pl.Datetime)


@dataclass(frozen=True)
class Column:
    """A column of the snapshot, as the pandas engine of GX sees it: NaN is missing."""

    name: str
    dtype: pl.DataType

    @property
    def expr(self) -> pl.Expr:
        return pl.col(self.name)

    @property
    def missing(self) -> pl.Expr:
        null = self.expr.is_null()
        return null | self.expr.is_nan() if self.dtype.is_float() else null

    @property
    def present(self) -> pl.Expr:
        """The values without the missing ones."""
        return self.expr.filter(~self.missing)

    @property
    def known(self) -> pl.Expr:
        """The values, with null for what is missing: for figures that leave nulls out.

        Unlike `present` it has a value a row. Columns of different lengths in one query are
        streams of their own, which wait for each other in memory.
        """
        return self.expr.fill_nan(None) if self.dtype.is_float() else self.expr

    @property
    def equal(self) -> pl.Expr:
        """The column such that equal values have equal bits: -0.0 is 0.0."""
        return self.expr + 0.0 if self.dtype.is_float() else self.expr

    def listed(self, values: pl.Series, nulls: bool) -> list[Any]:
        """Values as GX lists them: pandas has no integers in a column with nulls."""
        if nulls and self.dtype.is_integer():
            values = values.cast(pl.Float64)
        found: list[Any] = values.to_pandas().tolist()
        return found


@dataclass(frozen=True)
class Check:
    """Figures come from the one scan; a look reads one column again, if it has to."""

    figures: dict[str, pl.Expr] = field(default_factory=dict)
    # True on rows that break a map expectation.
    unexpected: pl.Expr | None = None
    metrics: Callable[[Metrics], Metrics] | None = None
    look: Callable[[pl.LazyFrame], Metrics] | None = None
    # GX judges a column without any value in ways of its own.
    needs_values: bool = False


def is_number(value: Any) -> bool:
    """A number that every engine takes alike: exact in 64 bits of either kind."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and (isinstance(value, float) or abs(value) < 2**53)


def is_bound(value: Any) -> bool:
    return value is None or is_number(value)
