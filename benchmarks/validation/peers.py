"""One peer checks one file in a process of its own; prints seconds, peak memory and what failed."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["GX_ANALYTICS_ENABLED"] = "False"
Failed = list[int]


def andon(path: Path, suite: list[dict[str, Any]]) -> Failed:
    import polars as pl

    from andon.adapters.scan import gx
    from andon.adapters.scan.compiled import compiled

    found, _ = compiled(pl.scan_parquet(path), gx.built(suite, None), {})
    if len(found) != len(suite):
        raise RuntimeError(f"only {len(found)} of {len(suite)} expectations are compiled")
    return [place for place, it in found.items() if not it["success"]]


def gx_pandas(path: Path, suite: list[dict[str, Any]]) -> Failed:
    import great_expectations as gx
    import pandas as pd

    context = _context(gx)
    asset = context.data_sources.add_pandas("data").add_dataframe_asset("data")
    batch = asset.add_batch_definition_whole_dataframe("all")
    return _gx(gx, batch.get_batch({"dataframe": pd.read_parquet(path)}), suite)


def gx_duckdb(path: Path, suite: list[dict[str, Any]]) -> Failed:
    """Without the regular expression: "Regex is not supported for dialect duckdb"."""
    import duckdb
    import great_expectations as gx
    from great_expectations.execution_engine import SqlAlchemyExecutionEngine

    # GX reads a result after it has let go of the connection; DuckDB's result is empty then. For
    # SQLite it keeps the connection: so it does here.
    SqlAlchemyExecutionEngine.get_connection = _kept
    # GX cannot tell the columns of a query on DuckDB; those of a view it can.
    database = path.with_name(f"{path.stem}-{os.getpid()}.duckdb")
    with duckdb.connect(str(database)) as made:
        made.execute(f"create or replace view data as select * from read_parquet('{path}')")  # noqa: S608
    source = _context(gx).data_sources.add_sql("data", connection_string=f"duckdb:///{database}")
    asset = source.add_table_asset("data", table_name="data")
    try:
        possible = [it for it in suite if "regex" not in it["type"]]
        return _gx(gx, asset.add_batch_definition_whole_table("all").get_batch(), possible)
    finally:
        database.unlink(missing_ok=True)


@contextmanager
def _kept(engine: Any) -> Iterator[Any]:
    engine._connection = engine._connection or engine.engine.connect()
    yield engine._connection


def pandera(path: Path, suite: list[dict[str, Any]]) -> Failed:
    import pandera.polars as pa
    import polars as pl

    checks: dict[str, list[Any]] = {}
    settings: dict[str, dict[str, Any]] = {}
    for it in suite:
        name, kwargs = it["kwargs"]["column"], it["kwargs"]
        checks.setdefault(name, [])
        settings.setdefault(name, {"nullable": True})
        kind = it["type"].removeprefix("expect_column_")
        if kind == "values_to_not_be_null":
            settings[name]["nullable"] = False
        elif kind == "values_to_be_unique":
            settings[name]["unique"] = True
        elif kind == "values_to_be_between":
            checks[name].append(pa.Check.in_range(kwargs["min_value"], kwargs["max_value"]))
        elif kind == "values_to_be_in_set":
            checks[name].append(pa.Check.isin(kwargs["value_set"]))
        elif kind == "values_to_match_regex":
            checks[name].append(pa.Check.str_matches(kwargs["regex"]))
        else:
            low, high = kwargs["min_value"], kwargs["max_value"]
            checks[name].append(pa.Check(_mean(low, high)))
    columns = {n: pa.Column(checks=checks[n], **settings[n]) for n in checks}
    schema = pa.DataFrameSchema(columns)
    try:
        schema.validate(pl.read_parquet(path), lazy=True)
    except pa.errors.SchemaErrors as error:
        return [-1] * len(error.failure_cases)
    return []


def _mean(low: float, high: float) -> Callable[[Any], Any]:
    import polars as pl

    return lambda data: data.lazyframe.select(pl.col(data.key).mean().is_between(low, high))


def pointblank(path: Path, suite: list[dict[str, Any]]) -> Failed:
    import pointblank as pb
    import polars as pl

    plan = pb.Validate(pl.read_parquet(path))
    for it in suite:
        name, kwargs = it["kwargs"]["column"], it["kwargs"]
        kind = it["type"].removeprefix("expect_column_")
        if kind == "values_to_not_be_null":
            plan = plan.col_vals_not_null(name)
        elif kind == "values_to_be_unique":
            plan = plan.rows_distinct(columns_subset=[name])
        elif kind == "values_to_be_between":
            low, high = kwargs["min_value"], kwargs["max_value"]
            plan = plan.col_vals_between(name, low, high, na_pass=True)
        elif kind == "values_to_be_in_set":
            plan = plan.col_vals_in_set(name, kwargs["value_set"])
        elif kind == "values_to_match_regex":
            plan = plan.col_vals_regex(name, kwargs["regex"], na_pass=True)
        else:
            low, high = kwargs["min_value"], kwargs["max_value"]
            plan = plan.specially(_mean_of(name, low, high))
    done = plan.interrogate(collect_extracts=False)
    return [] if done.all_passed() else [-1]


def _mean_of(name: str, low: float, high: float) -> Callable[[Any], bool]:
    return lambda table: bool(low <= table[name].mean() <= high)


def _context(gx: Any) -> Any:
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return context


def _gx(gx: Any, batch: Any, suite: list[dict[str, Any]]) -> Failed:
    from great_expectations.expectations.expectation_configuration import (
        ExpectationConfiguration,
    )

    made = [ExpectationConfiguration(**it, meta={"n": n}) for n, it in enumerate(suite)]
    built = gx.ExpectationSuite(name="data", expectations=[it.to_domain_obj() for it in made])
    result = batch.validate(built, result_format="SUMMARY")
    for it in result.results:
        if not it.success and not it.result:
            raise RuntimeError(str(it.exception_info)[-120:].replace("\n", " "))
    return [it.expectation_config.meta["n"] for it in result.results if not it.success]


PEERS = {
    "andon": andon,
    "gx-pandas": gx_pandas,
    "gx-duckdb": gx_duckdb,
    "pandera": pandera,
    "pointblank": pointblank,
}

LIBRARIES = {
    "andon": ["polars", "great-expectations"],
    "gx-pandas": ["great-expectations", "pandas"],
    "gx-duckdb": ["great-expectations", "duckdb"],
    "pandera": ["pandera", "polars"],
    "pointblank": ["pointblank", "polars"],
}


def main() -> None:
    peer, path, suite = sys.argv[1], Path(sys.argv[2]), json.loads(Path(sys.argv[3]).read_text())
    if peer in ("andon", "gx-pandas", "gx-duckdb"):
        import great_expectations  # noqa: F401
    started, worked = time.perf_counter(), time.process_time()
    failed = PEERS[peer](path, suite)
    seconds, cpu = time.perf_counter() - started, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    said = ", ".join(f"{it} {version(it)}" for it in LIBRARIES[peer])
    found = {"seconds": seconds, "cpu": cpu, "mb": peak, "failed": failed, "version": said}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
