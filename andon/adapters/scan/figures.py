"""Expectations of the table and of a column as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from andon.adapters.scan.check import NULLS, NUMBERS, SHOWN, Check, Column, Metrics, is_bound
from andon.adapters.scan.conditions import Kwargs, member

_ROWS = "table.row_count"
_DISTINCT = "column.distinct_values"


def aggregate(metric: str, of: Callable[[pl.Expr], pl.Expr]) -> Callable[..., Check | None]:
    """A figure of a column of numbers."""

    def compiled(column: Column, kwargs: Kwargs) -> Check | None:
        if column.dtype not in NUMBERS or not _bounded(kwargs):
            return None
        return Check(figures={metric: of(column.known)}, needs_values=True)

    return compiled


def median(column: Column, kwargs: Kwargs) -> Check | None:
    if column.dtype not in NUMBERS or not _bounded(kwargs):
        return None
    return Check(
        look=lambda data: {"column.median": float(np.median(_array(data, column)))},
        needs_values=True,
    )


def quantiles(column: Column, kwargs: Kwargs) -> Check | None:
    wanted = (kwargs.get("quantile_ranges") or {}).get("quantiles")
    how = kwargs.get("allow_relative_error") or "nearest"
    if column.dtype not in NUMBERS or not isinstance(wanted, list) or how != "nearest":
        return None

    def look(data: pl.LazyFrame) -> Metrics:
        ranks = np.asarray(wanted, dtype=float) * 100
        values = _array(data, column)
        found = np.percentile(values, ranks, method="nearest", overwrite_input=True)
        return {"column.quantile_values": found.tolist()}

    return Check(look=look, needs_values=True)


def distinct_count(column: Column, kwargs: Kwargs) -> Check | None:
    if not _countable(column) or not _bounded(kwargs):
        return None
    return Check(figures={f"{_DISTINCT}.count": _kinds(column).n_unique()})


def distinct_share(column: Column, kwargs: Kwargs) -> Check | None:
    if not _countable(column) or not _bounded(kwargs):
        return None

    def share(figures: Metrics) -> Metrics:
        n = figures[_ROWS] - figures[NULLS]
        return {"column.unique_proportion": figures["kinds"] / n if n else 0}

    return Check(figures={"kinds": _kinds(column).n_unique()}, metrics=share)


def present_share(column: Column, kwargs: Kwargs) -> Check | None:
    if column.dtype.is_nested() or not _bounded(kwargs):
        return None

    def share(figures: Metrics) -> Metrics:
        n = figures[_ROWS]
        return {"column.non_null_proportion": (n - figures[NULLS]) / n if n else 0}

    return Check(metrics=share)


def distinct_set(column: Column, kwargs: Kwargs) -> Check | None:
    """Which values of the set are there, and which others."""
    wanted = kwargs.get("value_set")
    found = member(column, wanted)
    if found is None or wanted is None or column.dtype.is_float():
        return None
    known = column.expr.filter(found & ~column.missing)
    others = column.expr.filter(~found & ~column.missing)
    figures = {
        "known": known.unique().implode(),
        "others": others.n_unique(),
        "shown": others.unique().bottom_k(SHOWN).sort().implode(),
    }

    def compared(figures: Metrics) -> Metrics:
        missing = list(set(wanted) - set(figures["known"]))
        return {
            f"{_DISTINCT}.not_in_set.count": figures["others"],
            f"{_DISTINCT}.not_in_set": figures["shown"],
            f"{_DISTINCT}.missing_from_column.count": len(missing),
            f"{_DISTINCT}.missing_from_column": missing[:SHOWN],
        }

    return Check(figures=figures, metrics=compared, needs_values=True)


def _bounded(kwargs: Kwargs) -> bool:
    return is_bound(kwargs.get("min_value")) and is_bound(kwargs.get("max_value"))


def _countable(column: Column) -> bool:
    return column.dtype in (*NUMBERS, pl.String)


def _kinds(column: Column) -> pl.Expr:
    return column.equal.filter(~column.missing)


def _array(data: pl.LazyFrame, column: Column) -> Any:
    """The numbers of one column: eight bytes each."""
    found = data.select(column.present).collect(engine="streaming").to_series()
    return found.to_numpy(writable=True)
