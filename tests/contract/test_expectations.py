"""Great Expectations for real: bad data gives verdicts that a person can act on."""

import json
from pathlib import Path

import polars as pl
import pytest

from andon.adapters.expectations import ValidationReport, validate
from andon.errors import DataError
from andon.spec import ModelSpec
from andon.verdict import Outcome, Verdict, gate

SPEC = ModelSpec(
    name="toy", data="toy.parquet", target="bought", task="binary", positive="yes", key="id"
)
N = 60
TABLE = pl.DataFrame(
    {
        "id": [f"R{i}" for i in range(N)],
        "age": [None if i % 10 == 0 else 20 + i for i in range(N)],
        "plan": [["basic", "plus"][i % 2] for i in range(N)],
        "bought": [["yes", "no"][i % 3 == 0] for i in range(N)],
    }
)
AGES = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "age", "max_value": 70}}


class Bench:
    """Validates tables in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def suite(self, *expectations: object) -> Path:
        path = self.folder / "expectations.json"
        path.write_text(json.dumps({"name": "toy", "expectations": expectations}))
        return path

    def run(
        self, table: pl.DataFrame, *expectations: object, spec: ModelSpec = SPEC
    ) -> ValidationReport:
        table.write_parquet(self.folder / "data.parquet")
        suite = self.suite(*expectations) if expectations else None
        return validate(self.folder / "data.parquet", suite, spec)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def failures(report: ValidationReport) -> dict[str, str]:
    return {v.check: v.detail for v in report.verdicts if v.outcome is Outcome.FAIL}


def test_good_data_passes_and_says_so_of_every_promise(bench: Bench) -> None:
    report = bench.run(TABLE)
    assert gate(report.verdicts) is Outcome.PASS
    checks = {v.check for v in report.verdicts}
    assert {"expect_column_to_exist(bought)", "expect_column_to_exist(id)"} <= checks
    assert report.result["success"] is True


@pytest.mark.parametrize(
    ("table", "check", "words"),
    [
        (
            TABLE.drop("bought"),
            "expect_column_to_exist(bought)",
            ["'bought' is missing", "id, age, plan", "correct `target`"],
        ),
        (
            TABLE.drop("id"),
            "expect_column_to_exist(id)",
            ["'id' is missing", "correct `key`"],
        ),
        (
            TABLE.with_columns(bought=pl.lit(None, dtype=pl.String)),
            "expect_column_values_to_not_be_null(bought)",
            ["60 of 60 values are null", "leave such rows out"],
        ),
        (
            TABLE.with_columns(bought=pl.lit("yes")),
            "expect_column_unique_value_count_to_be_between(bought)",
            ["found 1", "min_value=2", "exactly 2 classes"],
        ),
        (
            TABLE.with_columns(bought=pl.col("id")),
            "expect_column_unique_value_count_to_be_between(bought)",
            ["found 60", "max_value=2"],
        ),
        (
            TABLE.with_columns(bought=pl.col("plan")),
            "expect_column_distinct_values_to_contain_set(bought)",
            ["lacks ['yes']", "`positive` in model.yaml"],
        ),
        (TABLE.head(0), "expect_table_row_count_to_be_between", ["found 0", "exported completely"]),
        (TABLE.select("id", "bought"), "features", ["0 columns are left", "`drop`"]),
        (
            TABLE.with_columns(age=pl.lit(float("inf"))),
            "finite numbers",
            ["infinite values in age (60 rows)"],
        ),
    ],
)
def test_broken_promises_of_the_spec(
    bench: Bench, table: pl.DataFrame, check: str, words: list[str]
) -> None:
    report = bench.run(table)
    said = failures(report)[check]
    assert all(word in said for word in words), said
    assert "Traceback" not in said + json.dumps(report.result)


def test_a_regression_needs_numbers(bench: Bench) -> None:
    spec = ModelSpec(name="toy", data="toy.parquet", target="age", task="regression", key="id")
    assert failures(bench.run(TABLE.drop_nulls("age"), spec=spec)) == {}
    text = TABLE.drop_nulls("age").with_columns(pl.col("age").cast(pl.String))
    said = failures(bench.run(text, spec=spec))
    assert "found str" in said["expect_column_values_to_be_in_type_list(age)"]


def test_more_than_two_classes_are_fine_for_many(bench: Bench) -> None:
    spec = SPEC.model_copy(update={"task": "multiclass", "positive": None})
    assert failures(bench.run(TABLE.with_columns(bought=pl.col("id")), spec=spec)) == {}


def test_a_failed_expectation_tells_how_many_and_which(bench: Bench) -> None:
    report = bench.run(TABLE, AGES)
    verdict = one(report, "expect_column_values_to_be_between(age)")
    bad = TABLE.filter(pl.col("age") > 70)["age"].to_list()
    present = TABLE["age"].count()
    assert verdict.outcome is Outcome.FAIL
    assert (verdict.value, verdict.limit, verdict.n) == (pytest.approx(len(bad) / present), 0, N)
    assert verdict.evidence["unexpected_count"] == len(bad)
    assert verdict.evidence["samples"] == bad[:5]
    assert f"{len(bad)} of {N} values are not as expected" in verdict.detail
    assert "max_value=70" in verdict.detail


@pytest.mark.parametrize("severity", ["warning", "info"])
def test_a_warning_is_told_and_does_not_stop(bench: Bench, severity: str) -> None:
    report = bench.run(TABLE, {**AGES, "severity": severity})
    verdict = one(report, "expect_column_values_to_be_between(age)")
    assert verdict.outcome is Outcome.PASS
    assert verdict.detail.startswith("warning: ")
    assert verdict.evidence["severity"] == severity
    assert report.warnings == [verdict]
    assert gate(report.verdicts) is Outcome.PASS


def test_meta_says_whether_an_expectation_warns_or_stops(bench: Bench) -> None:
    warned = bench.run(TABLE, {**AGES, "meta": {"severity": "warn"}})
    verdict = one(warned, "expect_column_values_to_be_between(age)")
    assert warned.warnings == [verdict]
    assert verdict.detail.startswith("warning: 9 of 60 values are not as expected")
    assert gate(warned.verdicts) is Outcome.PASS
    stopped = bench.run(TABLE, {**AGES, "meta": {"severity": "stop"}})
    assert gate(stopped.verdicts) is Outcome.FAIL


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"meta": {"severity": "loud"}}, "found 'loud', wanted 'warn' or 'stop'"),
        ({"meta": {"severity": "warn"}, "severity": "critical"}, "wanted one of them"),
    ],
)
def test_a_severity_that_is_none_is_named(
    bench: Bench, extra: dict[str, object], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        bench.run(TABLE, {**AGES, **extra})


def test_what_the_scan_leaves_stands_in_its_place_among_the_rest(bench: Bench) -> None:
    pair = {
        "type": "expect_compound_columns_to_be_unique",
        "kwargs": {"column_list": ["plan", "bought"]},
    }
    report = bench.run(TABLE, AGES, pair, AGES)
    kinds = [v.check.partition("(")[0] for v in report.verdicts[-3:]]
    assert kinds == [AGES["type"], pair["type"], AGES["type"]]
    assert report.verdicts[-2].evidence["unexpected_count"] == N
    assert report.result["statistics"]["unsuccessful_expectations"] == 3


def test_gx_reads_and_renders_the_result(bench: Bench) -> None:
    from great_expectations.core.expectation_validation_result import (
        expectationSuiteValidationResultSchema,
    )
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    result = bench.run(TABLE, AGES).result
    read = expectationSuiteValidationResultSchema.load(result)
    read.meta = {**read.meta, "run_id": {"run_name": "r", "run_time": "2024-01-01T00:00:00+00:00"}}
    page = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(read))
    assert "max_value" in json.dumps(result)
    assert "age" in page
    assert "70" in page


def test_an_expectation_that_cannot_be_computed_fails_without_a_traceback(bench: Bench) -> None:
    mean = {"type": "expect_column_mean_to_be_between", "kwargs": {}}
    report = bench.run(
        TABLE,
        {**mean, "kwargs": {"min_value": 1, "column": "plan"}},
        {**mean, "kwargs": {"min_value": 1, "column": "gone"}},
    )
    said = failures(report)
    assert "cannot be computed" in said["expect_column_mean_to_be_between(plan)"]
    assert "'gone' is missing" in said["expect_column_mean_to_be_between(gone)"]
    assert "Traceback" not in json.dumps(report.result)


def test_verdicts_stand_in_the_order_of_the_suite(bench: Bench) -> None:
    names = ["plan", "age", "id"]
    kind = "expect_column_values_to_not_be_null"
    report = bench.run(TABLE, *({"type": kind, "kwargs": {"column": n}} for n in names))
    assert [v.check for v in report.verdicts[-3:]] == [f"{kind}({n})" for n in names]


def test_a_malformed_suite_names_file_and_place(bench: Bench) -> None:
    path = bench.folder / "expectations.json"
    TABLE.write_parquet(bench.folder / "data.parquet")
    for text, wanted in [
        ("{", "not JSON"),
        ("[]", "found no list `expectations`"),
        ('{"expectations": ["x", {"type": "expect_a", "kwarg": {}}]}', r"(?s)\[0\].*\[1\].*kwarg"),
    ]:
        path.write_text(text)
        with pytest.raises(DataError, match=wanted) as caught:
            validate(bench.folder / "data.parquet", path, SPEC)
        assert "expectations.json" in str(caught.value)


def test_every_expectation_that_gx_does_not_take_is_named(bench: Bench) -> None:
    with pytest.raises(DataError) as caught:
        bench.run(
            TABLE,
            {"type": "expect_the_spanish_inquisition", "kwargs": {}},
            {**AGES, "kwargs": {"column": "age", "biggest": 3}},
            {**AGES, "severity": "awful"},
        )
    said = str(caught.value)
    assert "expectations.json: 3 problem(s)" in said
    assert "expect_the_spanish_inquisition not found" in said
    assert "biggest" in said
    assert "awful" in said


def test_a_snapshot_that_is_no_parquet_is_named(bench: Bench) -> None:
    (bench.folder / "data.parquet").write_text("a,b")
    with pytest.raises(DataError, match=r"data\.parquet: not a readable Parquet"):
        validate(bench.folder / "data.parquet", None, SPEC)


def one(report: ValidationReport, check: str) -> Verdict:
    (found,) = [v for v in report.verdicts if v.check == check]
    return found
