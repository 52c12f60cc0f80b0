"""Great Expectations: does the data keep its promises? Every answer is a verdict.

A suite is GX's own JSON (`name`, `expectations: [{type, kwargs, severity, meta}]`). An
expectation of severity "critical" (GX's default) stops the line; "warning" and "info" are told.
`meta: {"severity": "warn"}` or "stop" says the same. One streaming scan answers most
expectations; GX computes the others on pandas, with the columns that they speak of.
What the delivery spec itself promises is always checked, with or without a suite.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from andon import findings
from andon.adapters.scan import gx
from andon.adapters.scan.check import ROW
from andon.adapters.scan.compiled import compiled
from andon.errors import DataError
from andon.promises import Json, promised
from andon.spec import ModelSpec
from andon.verdict import Outcome, Verdict

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
        expectations = gx.built([*promised(spec, columns), *own], suite)
        infinite = {name: pl.col(name).is_infinite().sum() for name in _floats(schema)}
        result, counts, _ = judged(data, expectations, spec.name, infinite)
        verdicts = _told(data, result["results"], spec)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{parquet}: not a readable Parquet file: {error}") from None
    return ValidationReport([*_plain(columns, counts, spec), *verdicts], result)


def judged(
    data: pl.LazyFrame, expectations: list[Any], name: str, also: dict[str, pl.Expr]
) -> tuple[Json, Json, set[int]]:
    """GX's result, the figures `also`, and which expectations, by place, the scan answered."""
    found, counts = compiled(data, expectations, {**also, _ROWS: pl.len()})
    with _ONE_AT_A_TIME:
        return _completed(data, expectations, found, name), counts, set(found)


def _told(data: pl.LazyFrame, results: list[Json], spec: ModelSpec) -> list[Verdict]:
    """The verdicts, with the keys of failing rows; values of masked columns leave the results."""
    columns, hidden = data.collect_schema().names(), findings.hidden(spec)
    key = spec.key if spec.key in columns else None
    keys = _keys(data, key, {place for it in results for place in findings.failing(it)})
    if key in hidden:
        keys = dict.fromkeys(keys, findings.MASKED)
    verdicts = []
    for it in results:
        findings.masked(it, hidden)
        rows = findings.located(it, keys, key)
        verdicts.append(findings.verdict(it, columns, rows, key))
    return verdicts


def _keys(data: pl.LazyFrame, key: str | None, places: set[int]) -> dict[int, Any]:
    """The keys of some rows: one more pass over one column, if a row failed at all."""
    if key is None or not places:
        return {}
    wanted = pl.Series(sorted(places), dtype=pl.UInt32).implode()
    rows = data.select(key).with_row_index(ROW).filter(pl.col(ROW).is_in(wanted))
    table = rows.select(ROW, key).collect(engine="streaming")
    return {row: gx.plain_json(value) for row, value in table.iter_rows()}


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
        text = path.read_text(encoding="utf-8")
        raw = json.loads(text, parse_constant=_no_number, object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
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


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> Json:
    """An object; of a key that stands twice, JSON would keep the last in silence."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"keys stand twice in one object: {', '.join(twice)}")
    return found


def _malformed(config: Any) -> str:
    if not isinstance(config, dict) or not isinstance(config.get("type"), str):
        return f"found {json.dumps(config)[:80]}, wanted an object with `type` and `kwargs`"
    if not isinstance(config.get("kwargs", {}), dict):
        return f"{config['type']}: kwargs: found {config['kwargs']!r}, wanted an object"
    if "$PARAMETER" in json.dumps(config.get("kwargs", {})):
        return f"{config['type']}: kwargs: $PARAMETER: there are none here; write the value"
    if problem := _wrong_meta(config):
        return f"{config['type']}: {problem}"
    unknown = sorted(set(config) - {"type", "kwargs", "severity", "meta", "id", "description"})
    return f"{config['type']}: unknown keys {unknown}" if unknown else ""


def _wrong_meta(config: Json) -> str:
    meta = config.get("meta") or {}
    if not isinstance(meta, dict):
        return f"meta: found {meta!r}, wanted an object"
    severity = meta.get("severity", "stop")
    if severity not in ("warn", "stop"):
        return f"meta.severity: found {severity!r}, wanted 'warn' or 'stop'"
    if "severity" in meta and "severity" in config:
        return "both `severity` and `meta.severity`; wanted one of them"
    return ""


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
