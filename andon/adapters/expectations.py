"""Great Expectations: does the data keep its promises? Every answer is a verdict.

A suite is GX's own JSON (`name`, `expectations: [{type, kwargs, severity, meta}]`). An
expectation of severity "critical" (GX's default) stops the line; "warning" and "info" are told.
What the delivery spec itself promises is always checked, with or without a suite.
"""

from __future__ import annotations

import json
import logging
import math
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from polars import selectors

from andon.errors import DataError
from andon.promises import STOPS, Json, promised
from andon.spec import ModelSpec
from andon.verdict import Outcome, Verdict

_SAMPLES = 5
_PLACE = "andon_place"
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
        table = pl.read_parquet(parquet, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{parquet}: not a readable Parquet file: {error}") from None
    configs = [*promised(spec, table.columns), *own]
    with _ONE_AT_A_TIME:
        result = _run(table, _built(configs, suite), spec.name)
    told = [_verdict(it, table.columns) for it in result["results"]]
    return ValidationReport([*_plain(table, spec), *told], result)


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
    unknown = sorted(set(config) - {"type", "kwargs", "severity", "meta", "id", "description"})
    return f"{config['type']}: unknown keys {unknown}" if unknown else ""


def _plain(table: pl.DataFrame, spec: ModelSpec) -> list[Verdict]:
    """What GX has no expectation for: some feature is left, and no number is infinite."""
    features = [name for name in table.columns if name not in spec.not_features]
    infinite = table.select(selectors.float().is_infinite().sum()).to_dicts()
    bad = {name: n for row in infinite for name, n in row.items() if n}
    listed = ", ".join(f"{name} ({n} rows)" for name, n in bad.items())
    return [
        Verdict(
            check="features",
            outcome=Outcome.PASS if features else Outcome.FAIL,
            value=len(features),
            limit=1,
            n=table.height,
            detail=f"{len(features)} columns are left as features"
            + ("" if features else "; take some out of `drop` in model.yaml"),
        ),
        Verdict(
            check="finite numbers",
            outcome=Outcome.FAIL if bad else Outcome.PASS,
            value=sum(bad.values()),
            limit=0,
            n=table.height,
            detail=f"infinite values in {listed}; make them null" if bad else "",
        ),
    ]


def _built(configs: list[Json], suite: Path | None) -> list[Any]:
    """GX's expectations; raises DataError with each that GX does not know or take."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")
    from great_expectations.exceptions import GreatExpectationsError
    from great_expectations.expectations.expectation_configuration import (
        ExpectationConfiguration,
    )

    built, problems = [], []
    for place, config in enumerate(configs):
        meta = {**(config.get("meta") or {}), _PLACE: place}
        known = {name: config[name] for name in ("type", "severity") if name in config}
        try:
            made = ExpectationConfiguration(**known, kwargs=config.get("kwargs", {}), meta=meta)
            built.append(made.to_domain_obj())
        # pydantic v1's errors, which GX raises for bad kwargs, are ValueErrors.
        except (GreatExpectationsError, ValueError, TypeError) as error:
            text = "; ".join(line.strip() for line in str(error).splitlines()[:5])
            problems.append(f"{config['type']}: {text}")
    if problems:
        raise DataError(f"{suite}: {len(problems)} problem(s)\n  " + "\n  ".join(problems))
    return built


def _run(table: pl.DataFrame, expectations: list[Any], name: str) -> Json:
    import great_expectations
    from great_expectations.core.expectation_suite import ExpectationSuite

    # What cannot be computed comes back in the result; GX would log its traceback as well.
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    context = great_expectations.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("snapshots").add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch(
        {"dataframe": table.to_pandas()}
    )
    suite = ExpectationSuite(name=name, expectations=expectations)
    result: Json = _plain_json(batch.validate(suite, result_format="SUMMARY").to_json_dict())
    # GX groups the results as it computes them.
    result["results"].sort(key=lambda it: it["expectation_config"]["meta"].pop(_PLACE))
    for one in result["results"]:
        one["exception_info"] = {"exception_message": _exception(one)}
    return result


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


def _exception(it: Json) -> str | None:
    """GX nests exceptions by metric; only their messages are kept."""
    info = it.get("exception_info") or {}
    found = [info, *(part for part in info.values() if isinstance(part, dict))]
    messages = {part.get("exception_message") for part in found} - {None, ""}
    return "; ".join(sorted(str(m).splitlines()[0] for m in messages)) or None


def _plain_json(value: Any) -> Any:
    """GX leaves NumPy's, pandas' and non-finite values in what it calls a JSON dict."""
    if isinstance(value, dict):
        return {str(key): _plain_json(it) for key, it in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain_json(it) for it in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    if value is None or isinstance(value, str | int):
        return value
    return _plain_json(value.tolist()) if hasattr(value, "tolist") else str(value)


def _number(observed: Any) -> float | None:
    usable = isinstance(observed, int | float) and math.isfinite(observed)
    return float(observed) if usable else None
