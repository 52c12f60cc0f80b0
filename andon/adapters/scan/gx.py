"""GX itself: builds a suite's expectations, and computes on pandas what the scan leaves."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from andon.errors import DataError

Json = dict[str, Any]
# Integers of 128 bits are floats to pandas.
_NOT_OF_PANDAS: dict[Any, Any] = {pl.Int128: pl.Float64, pl.UInt128: pl.Float64}
PLACE = "andon_place"
_SEVERITY = {"warn": "warning", "stop": "critical"}


def built(configs: list[Json], suite: Path | None) -> list[Any]:
    """GX's expectations; raises DataError with each that GX does not know or take."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")
    from great_expectations.exceptions import GreatExpectationsError
    from great_expectations.expectations.expectation_configuration import (
        ExpectationConfiguration,
    )

    made, problems = [], []
    for place, config in enumerate(configs):
        meta = {**(config.get("meta") or {}), PLACE: place}
        known = {name: config[name] for name in ("type", "severity") if name in config}
        if "severity" in meta:
            known["severity"] = _SEVERITY[meta["severity"]]
        try:
            wanted = ExpectationConfiguration(**known, kwargs=config.get("kwargs", {}), meta=meta)
            made.append(wanted.to_domain_obj())
        # pydantic v1's errors, which GX raises for bad kwargs, are ValueErrors.
        except (GreatExpectationsError, ValueError, TypeError, OverflowError) as error:
            text = "; ".join(line.strip() for line in str(error).splitlines()[:5])
            problems.append(f"{config['type']}: {text}")
    if problems:
        raise DataError(
            f"{suite or 'suite'}: {len(problems)} problem(s)\n  " + "\n  ".join(problems)
        )
    return made


def run(table: pl.DataFrame, expectations: list[Any], name: str) -> Json:
    import great_expectations
    from great_expectations.core.expectation_suite import ExpectationSuite

    # What cannot be computed comes back in the result; GX would log its traceback as well.
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
    context = great_expectations.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("snapshots").add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch(
        {"dataframe": table.cast(_NOT_OF_PANDAS).to_pandas()}
    )
    suite = ExpectationSuite(name=name, expectations=expectations)
    result: Json = plain_json(batch.validate(suite, result_format="SUMMARY").to_json_dict())
    return result


def needed(expectations: list[Any], columns: list[str]) -> list[str]:
    """The columns that these expectations speak of; all of them if that cannot be told."""
    spoken: list[str] = []
    for it in expectations:
        kwargs = it.configuration.kwargs
        if not any(name.startswith("column") for name in kwargs):
            return columns
        spoken += _texts(kwargs)
    # A condition on rows names columns inside of a longer text.
    found = [name for name in columns if any(name in text for text in spoken)]
    return found or columns[:1]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple | set):
        for it in value:
            yield from _texts(it)
    elif value is not None and not isinstance(value, bool | int | float):
        yield str(value)


def message(it: Json) -> str | None:
    """GX nests exceptions by metric; only their messages are kept."""
    info = it.get("exception_info") or {}
    found = [info, *(part for part in info.values() if isinstance(part, dict))]
    messages = {part.get("exception_message") for part in found} - {None, ""}
    return "; ".join(sorted(str(m).splitlines()[0] for m in messages)) or None


def plain_json(value: Any) -> Any:
    """GX leaves NumPy's, pandas' and non-finite values in what it calls a JSON dict."""
    if isinstance(value, dict):
        return {str(key): plain_json(it) for key, it in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain_json(it) for it in value]
    if isinstance(value, float):
        value = float(value)  # NumPy's is a float, too
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    if value is None or isinstance(value, str | int):
        return value
    return plain_json(value.tolist()) if hasattr(value, "tolist") else str(value)
