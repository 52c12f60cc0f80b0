"""Odd tables and odd suites: each ends in verdicts, or in an error that says what is wrong."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from andon.adapters import proposing, tables
from andon.adapters.expectations import ValidationReport, validate
from andon.errors import DataError
from andon.spec import ModelSpec
from andon.validation_page import Validation, markdown, page
from andon.verdict import Outcome

SPEC = ModelSpec(name="toy", data="d.parquet", target="y", task="regression", key="id")
N = 50
BASE = {
    "id": [f"R{i}" for i in range(N)],
    "x": [float(i) for i in range(N)],
    "y": [i * 0.5 for i in range(N)],
}
TABLE = pl.DataFrame(BASE)
BETWEEN = "expect_column_values_to_be_between"


def between(**kwargs: Any) -> dict[str, Any]:
    return {"type": BETWEEN, "kwargs": {"column": "x", **kwargs}}


def run(folder: Path, text: str, table: pl.DataFrame = TABLE) -> ValidationReport:
    table.write_parquet(folder / "data.parquet")
    (folder / "expectations.json").write_text(text)
    return validate(folder / "data.parquet", folder / "expectations.json", SPEC)


def failed(report: ValidationReport) -> dict[str, str]:
    return {v.check: v.detail for v in report.verdicts if v.outcome is Outcome.FAIL}


@pytest.mark.parametrize(
    "table",
    [
        TABLE.head(1),
        TABLE.select("y"),
        TABLE.with_columns(
            a=None, b=pl.lit(None, pl.Int64), c=1, d=pl.lit("k"), e=pl.lit(0.0), f=pl.lit(True)
        ),
        TABLE.with_columns(
            pl.lit(1).alias("größe | x"),
            pl.lit("é").alias("日本"),
            pl.lit(1.5).alias('a b\n"c"'),
            pl.lit(1).alias("nulls id"),
        ),
        TABLE.with_columns(
            u=pl.lit(2**63 - 1, pl.UInt64),
            i=pl.int_range(N) - 2**62,
            h=pl.lit(7, pl.Int128),
            m=pl.when(pl.col("x") > 1).then(pl.lit(2**63 - 1)),
        ),
        TABLE.with_columns(pl.lit(i % 7).alias(f"c{i}") for i in range(200)),
    ],
    ids=["one row", "one column", "nulls, constants", "names", "huge", "wide"],
)  # fmt: skip
def test_odd_tables_are_judged(tmp_path: Path, table: pl.DataFrame) -> None:
    """Proposed from, validated, shown; the suite holds where it was made."""
    table.write_parquet(tmp_path / "source.parquet")
    tables.write_snapshot(tmp_path / "source.parquet", tmp_path)
    snapshot = tmp_path / tables.SNAPSHOT
    found = proposing.propose(tables.read(snapshot), SPEC, "d.parquet")
    (tmp_path / "expectations.json").write_text(found.text)
    report = validate(snapshot, tmp_path / "expectations.json", SPEC)
    count = len(found.expectations)
    assert [v.detail for v in report.verdicts[-count:]] == [""] * count
    told = Validation("toy", "abc", table.height, report.verdicts, report.result["results"], "id")
    for name in table.columns:
        assert name.replace('"', "&quot;") in page(told)
    assert markdown(told, "page")


def test_no_rows_fail_and_no_columns_too(tmp_path: Path) -> None:
    text = json.dumps({"expectations": [between(max_value=3)]})
    assert (
        "found 0"
        in failed(run(tmp_path, text, TABLE.head(0)))["expect_table_row_count_to_be_between"]
    )
    said = failed(run(tmp_path, text, pl.DataFrame()))
    assert "'x' is missing; the data has none" in said[f"{BETWEEN}(x)"]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pa.table([[1], [2], ["a"]], names=["x", "x", "id"]), "columns stand twice: 'x'"),
        (TABLE.with_columns(l=pl.lit([1]), t=timedelta(1)).to_arrow(), r"l is List.*t is Duration"),
    ],
    ids=["twice", "types"],
)
def test_tables_that_no_model_can_take_are_told(tmp_path: Path, table: Any, words: str) -> None:
    pq.write_table(table, tmp_path / "odd.parquet")
    with pytest.raises(DataError, match=words):
        proposing.propose(tables.read(tmp_path / "odd.parquet"), SPEC, "odd")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    TABLE.write_parquet(tmp_path / "whole.parquet")
    raw = (tmp_path / "whole.parquet").read_bytes()
    for name, content in [("cut", raw[: len(raw) // 2]), ("empty", b""), ("text", b"a,b\n" * 9)]:
        (tmp_path / f"{name}.parquet").write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}\.parquet: not a readable Parquet file"):
            validate(tmp_path / f"{name}.parquet", None, SPEC)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("\ufeff{}", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("null", "no list `expectations`"),
        ('{"expectations": [], "expectations": []}', "stand twice in one object: expectations"),
        (
            f'{{"expectations": [{{"type": "{BETWEEN}", "kwargs": {{"x": NaN}}}}]}}',
            "NaN is no number",
        ),
    ],
)
def test_a_suite_that_is_no_json_is_told(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        run(tmp_path, text)
    assert "expectations.json" in str(caught.value)


@pytest.mark.parametrize(
    ("it", "words"),
    [
        ({"type": BETWEEN}, "column; field required"),
        (between(minimum=0), "minimum; extra fields"),
        (between(min_value="abc"), "not a valid float"),
        (between(max_value=10**400), "too large"),
        (between(min_value={"$PARAMETER": "x"}), r"\$PARAMETER: there are none here"),
        (between(min_value=0, mostly=2), "less than or equal to 1"),
        ({"type": BETWEEN, "kwargs": {"column": 5, "min_value": 0}}, "str type expected"),
        ({"type": "expect_nothing", "kwargs": {}}, "expect_nothing not found"),
        ({**between(min_value=0), "severity": ["x"]}, "Severity must be"),
        ({**between(min_value=0), "meta": {"severity": ["x"]}}, "wanted 'warn' or 'stop'"),
        ({**between(min_value=0), "meta": ["x"]}, "meta: found .*wanted an object"),
    ],
)  # fmt: skip
def test_an_expectation_that_is_none_is_told(tmp_path: Path, it: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        run(tmp_path, json.dumps({"expectations": [it]}))


def expect(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{kind}", "kwargs": kwargs}


CANNOT = "cannot be computed"
BEYOND = {"quantiles": [5], "value_ranges": [[0, 1]]}


@pytest.mark.parametrize(
    ("it", "words"),
    [
        (expect("column_values_to_be_between", column="gone", min_value=0), "has id, x, y"),
        (expect("compound_columns_to_be_unique", column_list=["x", "gone"]), "'gone' is missing"),
        (between(min_value=5, max_value=1), CANNOT),
        (expect("column_values_to_be_between", column="id", min_value=0), CANNOT),
        (expect("column_values_to_match_regex", column="id", regex="("), CANNOT),
        (
            expect("column_quantile_values_to_be_between", column="x", quantile_ranges=BEYOND),
            CANNOT,
        ),
        (between(min_value=0, row_condition="gone > 1", condition_parser="pandas"), CANNOT),
    ],
)
def test_what_cannot_be_computed_fails_and_stops_nothing_else(
    tmp_path: Path, it: Any, words: str
) -> None:
    report = run(tmp_path, json.dumps({"expectations": [it, between(max_value=3)]}))
    odd, after = report.verdicts[-2:]
    assert odd.outcome is Outcome.FAIL
    assert words in odd.detail
    assert "Traceback" not in odd.detail
    assert "46 of 50 values are not as expected, such as 4.0 (id R4)" in after.detail
