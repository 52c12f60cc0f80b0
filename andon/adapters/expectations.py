"""Great Expectations: does the data keep its promises? Every answer is a verdict.

A suite is GX's own JSON (`name`, `expectations: [{type, kwargs, severity, meta}]`). An
expectation of severity "critical" (GX's default) stops the line; "warning" and "info" are told.
`meta: {"severity": "warn"}` or "stop" says the same. One streaming scan answers most
expectations; GX computes the others on pandas, with the columns that they speak of.
What the delivery spec itself promises is always checked, with or without a suite.
"""

from __future__ import annotations

import json
import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from andon.adapters.scan import gx
from andon.adapters.scan.compiled import compiled
from andon.errors import DataError
from andon.promises import STOPS, Json, promised
from andon.spec import ModelSpec
from andon.verdict import Outcome, Verdict

_SAMPLES = 5
_ROWS = "andon_rows"
# GX keeps its current project in a global.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class ValidationReport:
    """One verdict an expectation, in the order they stand in, and GX's own result."""

    verdicts: list[Verdict]
    result: Json

    @property
    def warnings(self) -> list[Verdict]:
        """Expectations that do not hold, but do not stop the line."""
        return [v for v in self.verdicts if v.detail.startswith("warning: ")]


def validate(parquet: Path, suite: Path | None, spec: ModelSpec) -> ValidationReport:
    """Check a snapshot against the spec's own expectations and, if there is one, the suite.

    Raises DataError if the suite is not one, or the snapshot cannot be read.
    """
    own = read_suite(suite) if suite is not None and suite.is_file() else []
    try:
        data = pl.scan_parquet(parquet, glob=False)
        schema = data.collect_schema()
        columns = schema.names()
        configs = [*promised(spec, columns), *own]
        expectations = gx.built(configs, suite)
        infinite = {name: pl.col(name).is_infinite().sum() for name in _floats(schema)}
        found, counts = compiled(data, expectations, {**infinite, _ROWS: pl.len()})
        with _ONE_AT_A_TIME:
            result = _completed(data, expectations, found, spec.name)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{parquet}: not a readable Parquet file: {error}") from None
    told = [_verdict(it, columns) for it in result["results"]]
    return ValidationReport([*_plain(columns, counts, spec), *told], result)


def _completed(
    data: pl.LazyFrame, expectations: list[Any], found: dict[int, Json], name: str
) -> Json:
    """GX's result of the whole suite: what the scan found, and the rest from GX itself."""
    rest = [it for place, it in enumerate(expectations) if place not in found]
    result: Json = {"suite_name": name, "suite_parameters": {}, "meta": {}, "id": None}
    if rest:
        columns = gx.needed(rest, data.collect_schema().names())
        result = gx.run(data.select(columns).collect(engine="streaming"), rest, name)
    results = [*gx.plain_json(list(found.values())), *result.get("results", [])]
    # GX groups the results as it computes them.
    results.sort(key=lambda it: it["expectation_config"]["meta"].pop(gx.PLACE))
    for one in results:
        said = gx.message(one)
        one["exception_info"] = {
            "raised_exception": said is not None,
            "exception_message": said,
            "exception_traceback": None,
        }
    good = sum(bool(it["success"]) for it in results)
    statistics = {
        "evaluated_expectations": len(results),
        "successful_expectations": good,
        "unsuccessful_expectations": len(results) - good,
        "success_percent": 100 * good / len(results) if results else None,
    }
    success = good == len(results)
    return {**result, "success": success, "results": results, "statistics": statistics}


def _floats(schema: pl.Schema) -> list[str]:
    return [name for name, dtype in schema.items() if dtype.is_float()]


def read_suite(path: Path) -> list[Json]:
    """The expectations of a suite file; raises DataError with every one that is malformed."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    found = raw.get("expectations") if isinstance(raw, dict) else None
    if not isinstance(found, list):
        raise DataError(f"{path}: found no list `expectations`; wanted a GX suite as JSON")
    problems = [
        f"expectations[{i}]: {problem}" for i, it in enumerate(found) if (problem := _malformed(it))
    ]
    if problems:
        raise DataError(f"{path}: {len(problems)} problem(s)\n  " + "\n  ".join(problems))
    return found


def _malformed(config: Any) -> str:
    if not isinstance(config, dict) or not isinstance(config.get("type"), str):
        return f"found {json.dumps(config)[:80]}, wanted an object with `type` and `kwargs`"
    if not isinstance(config.get("kwargs", {}), dict):
        return f"{config['type']}: kwargs: found {config['kwargs']!r}, wanted an object"
    if not isinstance(config.get("meta") or {}, dict):
        return f"{config['type']}: meta: found {config['meta']!r}, wanted an object"
    severity = (config.get("meta") or {}).get("severity", "stop")
    if severity not in ("warn", "stop"):
        return f"{config['type']}: meta.severity: found {severity!r}, wanted 'warn' or 'stop'"
    if "severity" in (config.get("meta") or {}) and "severity" in config:
        return f"{config['type']}: both `severity` and `meta.severity`; wanted one of them"
    unknown = sorted(set(config) - {"type", "kwargs", "severity", "meta", "id", "description"})
    return f"{config['type']}: unknown keys {unknown}" if unknown else ""


def _plain(columns: list[str], counts: Json, spec: ModelSpec) -> list[Verdict]:
    """What GX has no expectation for: some feature is left, and no number is infinite."""
    features = [name for name in columns if name not in spec.not_features]
    rows = counts[_ROWS]
    bad = {name: n for name, n in counts.items() if n and name != _ROWS}
    listed = ", ".join(f"{name} ({n} rows)" for name, n in bad.items())
    return [
        Verdict(
            check="features",
            outcome=Outcome.PASS if features else Outcome.FAIL,
            value=len(features),
            limit=1,
            n=rows,
            detail=f"{len(features)} columns are left as features"
            + ("" if features else "; take some out of `drop` in model.yaml"),
        ),
        Verdict(
            check="finite numbers",
            outcome=Outcome.FAIL if bad else Outcome.PASS,
            value=sum(bad.values()),
            limit=0,
            n=rows,
            detail=f"infinite values in {listed}; make them null" if bad else "",
        ),
    ]


def _verdict(it: Json, columns: list[str]) -> Verdict:
    config, result = it["expectation_config"], it.get("result") or {}
    kwargs = config["kwargs"]
    severity = config.get("severity") or STOPS
    named = [kwargs[k] for k in ("column", "column_A", "column_B") if k in kwargs]
    named += kwargs.get("column_list") or []
    detail = "" if it["success"] else _detail(it, [n for n in named if n not in columns], columns)
    if detail and severity != STOPS:
        detail = f"warning: {detail}"
    unexpected = result.get("unexpected_count")
    share, observed = result.get("unexpected_percent"), result.get("observed_value")
    evidence = {
        "severity": severity,
        "unexpected_count": unexpected,
        "samples": (result.get("partial_unexpected_list") or [])[:_SAMPLES] or None,
        "observed": observed,
    }
    return Verdict(
        check=config["type"] + (f"({', '.join(map(str, named))})" if named else ""),
        outcome=Outcome.FAIL if not it["success"] and severity == STOPS else Outcome.PASS,
        value=share / 100 if share is not None else _number(observed),
        limit=1 - kwargs.get("mostly", 1) if share is not None else None,
        n=result.get("element_count") or 0,
        detail=detail,
        evidence={name: value for name, value in evidence.items() if value is not None},
    )


def _detail(it: Json, missing: list[str], columns: list[str]) -> str:
    """What is wrong, what was expected, and what to do, in one sentence."""
    config, result = it["expectation_config"], it.get("result") or {}
    kwargs, notes = config["kwargs"], config.get("meta", {}).get("notes")
    advice = f"; {notes}" if isinstance(notes, str) else ""
    if missing:
        named = ", ".join(map(repr, missing))
        return f"column {named} is missing; the data has {', '.join(columns)}{advice}"
    if message := it["exception_info"]["exception_message"]:
        return f"cannot be computed on this data: {message}{advice}"
    hidden = ("column", "column_A", "column_B", "column_list", "batch_id")
    wanted = ", ".join(f"{k}={v}" for k, v in kwargs.items() if k not in hidden and v is not None)
    expected = f"; expected {wanted}" if wanted else ""
    mismatched = (result.get("details") or {}).get("mismatched")
    if isinstance(mismatched, dict):
        parts = [f"{what}: {', '.join(names)}" for what, names in mismatched.items()]
        return f"columns {'; '.join(parts)}{advice}"
    if result.get("unexpected_count") is None:
        lacks = result.get("partial_missing_list")
        found = f"lacks {lacks}" if lacks else f"found {result.get('observed_value')}"
        return f"{found}{expected}{advice}"
    n, bad = result.get("element_count", 0), result["unexpected_count"]
    if config["type"] == "expect_column_values_to_not_be_null":
        return f"{bad} of {n} values are null{expected}{advice}"
    samples = ", ".join(map(repr, (result.get("partial_unexpected_list") or [])[:_SAMPLES]))
    return f"{bad} of {n} values are not as expected, such as {samples}{expected}{advice}"


def _number(observed: Any) -> float | None:
    usable = isinstance(observed, int | float) and math.isfinite(observed)
    return float(observed) if usable else None
