"""What a table looks like, from two streaming passes over it: the ground of a proposed suite."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import polars as pl

from andon.adapters.scan import conditions
from andon.adapters.scan.check import NUMBERS, Column
from andon.adapters.scan.unique import repeated
from andon.inferring import FEW, ColumnSummary, TableSummary, shape
from andon.spec import ModelSpec

# A plan over thousands of columns at once costs more than reading the file again.
_TOGETHER = 200


def summarised(data: pl.LazyFrame, spec: ModelSpec) -> TableSummary:
    """Figures of every column; no column is held in memory but the key's hashes."""
    schema = data.collect_schema()
    columns = [Column(name, dtype) for name, dtype in schema.items()]
    first = _figures(data, {c.name: _first(c, spec) for c in columns})
    second = _figures(data, {c.name: _second(c, first[c.name]) for c in columns})
    rows = data.select(pl.len()).collect(engine="streaming").item()
    found = (_summary(c, rows, first[c.name], second[c.name]) for c in columns)
    return TableSummary(rows, tuple(_with_key(it, data, schema, spec) for it in found))


def _first(column: Column, spec: ModelSpec) -> dict[str, pl.Expr]:
    found = {"nulls": column.missing.sum()}
    if column.dtype in (*NUMBERS, pl.Float32, pl.UInt64):
        found |= {"low": column.present.min(), "high": column.present.max()}
    if column.dtype == pl.String:
        sizes = column.expr.str.len_chars()
        found |= {"low": column.expr.min(), "high": column.expr.max()}
        found |= {"short": sizes.min(), "long": sizes.max()}
        found["kinds"] = column.expr.approx_n_unique()
    if column.name == spec.time:
        check = conditions.increasing(column, {})
        if check is not None and check.unexpected is not None:
            found["falls"] = check.unexpected.fill_null(value=False).sum()
    return found


def _second(column: Column, seen: dict[str, Any]) -> dict[str, pl.Expr]:
    """What is worth asking, once it is known how many different texts there are."""
    found: dict[str, pl.Expr] = {}
    if column.dtype != pl.String or seen["low"] is None:
        return found
    if seen["kinds"] <= 2 * FEW:  # it is an estimate
        found["values"] = column.present.unique().implode()
    elif (built := shape(seen["low"], seen["high"])) is not None:
        found["others"] = (~column.present.str.contains(built[1])).sum()
    return found


def _figures(
    data: pl.LazyFrame, wanted: dict[str, dict[str, pl.Expr]]
) -> dict[str, dict[str, Any]]:
    """Each column's figures by the names that were given, a number of columns at a time."""
    found: dict[str, dict[str, Any]] = {}
    for part in _parts(list(wanted)):
        exprs = {f"{what} {name}": it for name in part for what, it in wanted[name].items()}
        values = iter(data.select(**exprs).collect(engine="streaming").row(0) if exprs else ())
        found |= {name: {what: next(values) for what in wanted[name]} for name in part}
    return found


def _parts(names: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), _TOGETHER):
        yield names[start : start + _TOGETHER]


def _summary(
    column: Column, rows: int, seen: dict[str, Any], more: dict[str, Any]
) -> ColumnSummary:
    text = column.dtype == pl.String
    low, high = (None, None) if text else (seen.get("low"), seen.get("high"))
    finite = low is not None and math.isfinite(low) and math.isfinite(high or 0)
    values = more.get("values")
    built = shape(seen["low"], seen["high"]) if more.get("others") == 0 else None
    return ColumnSummary(
        name=column.name,
        type=_type(column, nulls=bool(seen["nulls"])),
        nulls=seen["nulls"],
        low=low if finite else None,
        high=high if finite else None,
        values=tuple(values) if values is not None and len(values) <= FEW else None,
        lengths=(seen["short"], seen["long"]) if text and seen["short"] is not None else None,
        regex=built[1] if built else None,
        increasing=seen.get("falls") == 0 and seen["nulls"] == 0 and rows > FEW,
    )


def _with_key(
    found: ColumnSummary, data: pl.LazyFrame, schema: pl.Schema, spec: ModelSpec
) -> ColumnSummary:
    column = Column(found.name, schema[found.name])
    if found.name != spec.key or conditions.unique(column, {}) is None:
        return found
    again = repeated(data, column)["column_values.unique.unexpected_count"]
    return replace(found, unique=again == 0)


def _type(column: Column, *, nulls: bool) -> str | None:
    """As pandas calls it, where one name holds for every value."""
    if column.dtype in (pl.Int128, pl.UInt128):
        return None
    if column.dtype.is_integer():
        return str(column.dtype).lower()
    dtype = pl.Series([None] if nulls else [], dtype=column.dtype).to_pandas().dtype
    if dtype.kind == "M":
        return "datetime64"
    return None if str(dtype) == "object" else str(dtype)
