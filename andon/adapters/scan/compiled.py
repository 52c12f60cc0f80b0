"""Compiles a suite, scans the snapshot once, and lets GX's own expectations judge the figures.

GX computes metrics and then judges them; only the first half is replaced here. What is
not covered is left out of the answer, for GX to compute as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from andon.adapters.scan import conditions, figures
from andon.adapters.scan.check import NULLS, ROW, SHOWN, Check, Column, Metrics

Json = dict[str, Any]
Compiler = Callable[[Column, dict[str, Any]], Check | None]
_ROWS = "table.row_count"
_TABLE = {
    "expect_table_row_count_to_be_between": {"min_value", "max_value", "strict_min", "strict_max"},
    "expect_table_row_count_to_equal": {"value"},
    "expect_table_column_count_to_be_between": {"min_value", "max_value"},
    "expect_table_column_count_to_equal": {"value"},
    "expect_table_columns_to_match_set": {"column_set", "exact_match"},
    "expect_table_columns_to_match_ordered_list": {"column_list"},
    "expect_column_to_exist": {"column", "column_index"},
}
_TYPES = {
    "expect_column_values_to_be_of_type": "type_",
    "expect_column_values_to_be_in_type_list": "type_list",
}
_BOUNDS = {"min_value", "max_value", "strict_min", "strict_max"}
_MAPS: dict[str, tuple[Compiler, set[str]]] = {
    "values_to_be_null": (conditions.null, set()),
    "values_to_not_be_null": (conditions.not_null, set()),
    "values_to_be_between": (conditions.between, _BOUNDS),
    "value_lengths_to_be_between": (conditions.lengths, _BOUNDS),
    "value_lengths_to_equal": (conditions.length, {"value"}),
    "values_to_be_in_set": (conditions.in_set, {"value_set"}),
    "values_to_not_be_in_set": (conditions.not_in_set, {"value_set"}),
    "values_to_match_regex": (conditions.matches, {"regex"}),
    "values_to_not_match_regex": (conditions.matches_not, {"regex"}),
    "values_to_be_increasing": (conditions.increasing, {"strictly"}),
    "values_to_be_decreasing": (conditions.decreasing, {"strictly"}),
    "values_to_be_unique": (conditions.unique, set()),
}
_FIGURES: dict[str, tuple[Compiler, set[str]]] = {
    "min_to_be_between": (figures.aggregate("column.min", pl.Expr.min), _BOUNDS),
    "max_to_be_between": (figures.aggregate("column.max", pl.Expr.max), _BOUNDS),
    "mean_to_be_between": (figures.aggregate("column.mean", pl.Expr.mean), _BOUNDS),
    "sum_to_be_between": (figures.aggregate("column.sum", pl.Expr.sum), _BOUNDS),
    "stdev_to_be_between": (figures.aggregate("column.standard_deviation", pl.Expr.std), _BOUNDS),
    "median_to_be_between": (figures.median, _BOUNDS),
    "quantile_values_to_be_between": (
        figures.quantiles,
        {"quantile_ranges", "allow_relative_error"},
    ),
    "unique_value_count_to_be_between": (figures.distinct_count, _BOUNDS),
    "proportion_of_unique_values_to_be_between": (figures.distinct_share, _BOUNDS),
    "proportion_of_non_null_values_to_be_between": (figures.present_share, _BOUNDS),
    "distinct_values_to_be_in_set": (figures.distinct_set, {"value_set"}),
    "distinct_values_to_contain_set": (figures.distinct_set, {"value_set"}),
    "distinct_values_to_equal_set": (figures.distinct_set, {"value_set"}),
}
_COLUMNS: dict[str, tuple[Compiler, set[str]]] = {
    f"expect_column_{name}": entry for name, entry in {**_MAPS, **_FIGURES}.items()
}


@dataclass(frozen=True)
class _Planned:
    """An expectation that the scan can answer; `check` is None if it is of the table."""

    expectation: Any
    column: Column | None = None
    check: Check | None = None


def compiled(
    data: pl.LazyFrame, expectations: list[Any], also: dict[str, pl.Expr]
) -> tuple[dict[int, Json], Json]:
    """GX's result of each expectation that is covered, by its place, and the figures `also`.

    The scan streams, so that memory does not grow with rows; uniqueness, medians and quantiles
    look at their one column again, at eight bytes a row.
    """
    schema = data.collect_schema()
    plan = {
        place: planned
        for place, it in enumerate(expectations)
        if (planned := _planned(it, schema)) is not None
    }
    wanted = {f"also {name}": expr for name, expr in also.items()} | {_ROWS: pl.len()}
    for place, it in plan.items():
        wanted |= _figures(place, it)
    row = data.select(**wanted).collect(engine="streaming").row(0, named=True)
    results = {}
    for place, it in plan.items():
        try:
            judged = _judged(data, it, _own(place, it, row), list(schema))
        # What arguments we did not foresee do to it is for GX to say, which says it as a result.
        except (ValueError, TypeError, LookupError, ArithmeticError):
            judged = None
        if judged is not None:
            results[place] = judged
    return results, {name: row[f"also {name}"] for name in also}


def _planned(expectation: Any, schema: pl.Schema) -> _Planned | None:
    kind = expectation.configuration.type
    kwargs = expectation.configuration.kwargs
    # By identity: a bound of 0 equals False, and is a bound.
    given = {k: v for k, v in kwargs.items() if v is not None and v is not False}
    if kind in _TABLE:
        plain = not any(isinstance(value, dict) for value in given.values())
        return _Planned(expectation) if plain and set(given) <= _TABLE[kind] else None
    name = given.get("column")
    if not isinstance(name, str) or name not in schema:
        return None
    column = Column(name, schema[name])
    if kind in _TYPES:
        plain = set(given) <= {"column", "mostly", _TYPES[kind]}
        return _Planned(expectation, column, Check()) if plain else None
    compiler, known = _COLUMNS.get(kind, (None, set()))
    if compiler is None or not set(given) <= known | {"column", "mostly"}:
        return None
    check = compiler(column, given)
    return None if check is None else _Planned(expectation, column, check)


def _figures(place: int, it: _Planned) -> dict[str, pl.Expr]:
    if it.column is None or it.check is None:
        return {}
    found = {f"{place} {name}": expr for name, expr in it.check.figures.items()}
    found[f"nulls {it.column.name}"] = it.column.missing.sum()
    if it.check.unexpected is not None:
        found[f"{place} unexpected"] = _bad_rows(it.column, it.expectation, it.check).sum()
    return found


def _own(place: int, it: _Planned, row: Json) -> Metrics:
    """The figures of one expectation, by the names that it gave them."""
    mark = f"{place} "
    found = {k.removeprefix(mark): v for k, v in row.items() if k.startswith(mark)}
    found[_ROWS] = row[_ROWS]
    if it.column is not None:
        found[NULLS] = row[f"nulls {it.column.name}"]
    return found


def _judged(data: pl.LazyFrame, it: _Planned, own: Metrics, columns: list[str]) -> Json | None:
    metrics = {**own, "table.columns": columns, "table.column_count": len(columns)}
    column, check = it.column, it.check
    if column is not None and check is not None:
        if it.expectation.configuration.type in _TYPES:
            return _typed(it.expectation, column, own)
        if check.needs_values and own[_ROWS] == own[NULLS]:
            return None
        if check.look is not None:
            metrics |= check.look(data)
        if check.metrics is not None:
            metrics |= check.metrics(own)
        if check.unexpected is not None:
            metrics |= _unexpected(data, it.expectation, column, check, own)
        _list_values(it.expectation, column, metrics)
    return _result(it.expectation, metrics)


def _bad_rows(column: Column, expectation: Any, check: Check) -> pl.Expr:
    """Missing values are no map expectation's business, but of those about nulls."""
    bad = pl.lit(value=False) if check.unexpected is None else check.unexpected
    if expectation.map_metric in ("column_values.nonnull", "column_values.null"):
        return bad
    return bad.fill_null(value=False) & ~column.missing


def _unexpected(
    data: pl.LazyFrame, expectation: Any, column: Column, check: Check, own: Metrics
) -> Metrics:
    """The count from the scan; the first such rows, if there are any, from a look that stops."""
    metric, count = expectation.map_metric, own["unexpected"]
    metrics = {f"{metric}.unexpected_count": count}
    values, rows = pl.Series(column.name, [], column.dtype), []
    if count:
        marked = data.select(column.expr, bad=_bad_rows(column, expectation, check))
        first = marked.with_row_index(ROW).filter(pl.col("bad")).head(SHOWN)
        shown = first.collect(engine="streaming")
        values, rows = shown[column.name], shown[ROW].to_list()
    metrics[f"{metric}.unexpected_values"] = values
    metrics[f"{metric}.unexpected_index_list"] = rows
    return metrics


def _list_values(expectation: Any, column: Column, metrics: Metrics) -> None:
    name = f"{getattr(expectation, 'map_metric', None)}.unexpected_values"
    if name in metrics:
        values = metrics[name]
        if isinstance(values, pl.Series):
            metrics[name] = column.listed(values, nulls=bool(metrics[NULLS]))


def _typed(expectation: Any, column: Column, own: Metrics) -> Json | None:
    """GX judges the type that pandas has for the column; of objects it looks at each."""
    sample = pl.Series(column.name, [None] if own[NULLS] else [], column.dtype)
    dtype = sample.to_pandas().dtype
    if dtype.kind == "O" and str(dtype) == "object":
        return None
    kwargs = expectation.configuration.kwargs
    wanted = kwargs.get(_TYPES[expectation.configuration.type])
    return _evr(expectation, expectation._validate_pandas(dtype, wanted))


def _result(expectation: Any, metrics: Metrics) -> Json:
    from great_expectations.expectations.expectation_configuration import parse_result_format

    asked = {"result_format": parse_result_format("SUMMARY")}
    return _evr(expectation, expectation._validate(metrics, asked, None))


def _evr(expectation: Any, response: Json) -> Json:
    """What GX's own object of a result is as JSON; its serialisation takes milliseconds."""
    from great_expectations.util import convert_to_json_serializable

    config = expectation.configuration
    told = {name: getattr(config, name, None) for name in ("id", "description", "notes")}
    severity = getattr(config.severity, "value", config.severity)
    return {
        "success": bool(response["success"]),
        "expectation_config": {
            "type": config.type,
            "kwargs": convert_to_json_serializable(dict(config.kwargs)),
            "meta": dict(config.meta or {}),
            "severity": severity,
            **{name: value for name, value in told.items() if value is not None},
        },
        "result": convert_to_json_serializable(response.get("result") or {}),
        "meta": {},
        "exception_info": {},
    }
