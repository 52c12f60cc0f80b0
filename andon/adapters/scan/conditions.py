"""Map expectations: which rows are not as expected."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import polars as pl

from andon.adapters.scan.check import MOMENTS, NUMBERS, Check, Column, is_bound, is_number
from andon.adapters.scan.patterns import translated
from andon.adapters.scan.unique import repeated

Kwargs = dict[str, Any]


def null(column: Column, kwargs: Kwargs) -> Check | None:
    return None if column.dtype.is_nested() else Check(unexpected=~column.missing)


def not_null(column: Column, kwargs: Kwargs) -> Check | None:
    return None if column.dtype.is_nested() else Check(unexpected=column.missing)


def between(column: Column, kwargs: Kwargs) -> Check | None:
    return _within(column.expr, kwargs) if column.dtype in NUMBERS else None


def lengths(column: Column, kwargs: Kwargs) -> Check | None:
    return _within(column.expr.str.len_chars(), kwargs) if column.dtype == pl.String else None


def length(column: Column, kwargs: Kwargs) -> Check | None:
    value = kwargs.get("value")
    if column.dtype != pl.String or not is_number(value):
        return None
    return Check(unexpected=column.expr.str.len_chars() != value)


def in_set(column: Column, kwargs: Kwargs) -> Check | None:
    found = member(column, kwargs.get("value_set"))
    return None if found is None else Check(unexpected=~found)


def not_in_set(column: Column, kwargs: Kwargs) -> Check | None:
    found = member(column, kwargs.get("value_set"))
    return None if found is None else Check(unexpected=found)


def matches(column: Column, kwargs: Kwargs) -> Check | None:
    found = _contains(column, kwargs)
    return None if found is None else Check(unexpected=~found)


def matches_not(column: Column, kwargs: Kwargs) -> Check | None:
    found = _contains(column, kwargs)
    return None if found is None else Check(unexpected=found)


def increasing(column: Column, kwargs: Kwargs) -> Check | None:
    return _ordered(column, operator.le if kwargs.get("strictly") else operator.lt)


def decreasing(column: Column, kwargs: Kwargs) -> Check | None:
    return _ordered(column, operator.ge if kwargs.get("strictly") else operator.gt)


def unique(column: Column, kwargs: Kwargs) -> Check | None:
    if column.dtype not in (*NUMBERS, *MOMENTS, pl.String):
        return None
    return Check(look=lambda data: repeated(data, column))


def member(column: Column, values: Any) -> pl.Expr | None:
    """Whether a value is in the set, if the set is of the column's own kind."""
    if not isinstance(values, list | set | tuple):
        return None
    listed, kind = list(values), column.dtype
    if kind == pl.String and all(isinstance(it, str) for it in listed):
        return column.expr.is_in(pl.lit(listed, dtype=pl.List(pl.String)))
    if kind not in NUMBERS or not all(map(is_number, listed)):
        return None
    whole = kind.is_integer() and all(isinstance(it, int) for it in listed)
    to = pl.Int64() if whole else pl.Float64()
    numbers = [it if whole else float(it) for it in listed]
    return column.equal.cast(to).is_in(pl.lit(numbers, dtype=pl.List(to)))


def _contains(column: Column, kwargs: Kwargs) -> pl.Expr | None:
    regex = kwargs.get("regex")
    if column.dtype != pl.String or not isinstance(regex, str):
        return None
    pattern = translated(regex)
    return None if pattern is None else column.expr.str.contains(pattern)


def _within(values: pl.Expr, kwargs: Kwargs) -> Check | None:
    low, high = kwargs.get("min_value"), kwargs.get("max_value")
    if not is_bound(low) or not is_bound(high) or (low is None and high is None):
        return None
    if low is not None and high is not None and low > high:
        return None
    bad = pl.lit(value=False)
    if low is not None:
        bad = bad | (
            values <= _literal(low) if kwargs.get("strict_min") else values < _literal(low)
        )
    if high is not None:
        bad = bad | (
            values >= _literal(high) if kwargs.get("strict_max") else values > _literal(high)
        )
    return Check(unexpected=bad)


def _literal(value: Any) -> pl.Expr:
    return pl.lit(value, dtype=pl.Int64 if isinstance(value, int) else pl.Float64)


def _ordered(column: Column, wrong: Callable[[pl.Expr, pl.Expr], Any]) -> Check | None:
    """Each value against the one before it; missing ones are left out."""
    if column.dtype not in (*NUMBERS, *MOMENTS):
        return None
    value = pl.when(~column.missing).then(column.expr)
    before = value.forward_fill().shift(1)
    bad: pl.Expr = wrong(value, before)
    if column.dtype.is_float():
        # pandas takes the difference of an infinity to itself for missing.
        bad = bad & (value - before).is_not_nan()
    return Check(unexpected=bad)
