"""Which rows are not as expected: by key, with their value, counted right, masked where asked."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from andon.adapters.expectations import ValidationReport, validate
from andon.findings import MASKED
from andon.spec import Logging, ModelSpec, Reports
from andon.validation_page import Validation, markdown, page
from andon.verdict import Verdict

SPEC = ModelSpec(name="toy", data="toy.parquet", target="y", task="regression", key="id")
N = 100
SECRET = 987_654
BAD = range(0, N, 4)  # 25 rows: more than are listed
TABLE = pl.DataFrame(
    {
        "id": [f"R{i:03}" for i in range(N)],
        "age": [SECRET + i if i in BAD else 30 for i in range(N)],
        "plan": ["a" if i % 2 else f"word-{i}" for i in range(N)],
        "y": [0.5] * N,
    }
)
BETWEEN = {
    "type": "expect_column_values_to_be_between",
    "kwargs": {"column": "age", "max_value": 70},
}
# The same, but left to GX's pandas engine.
BY_GX = {
    "type": "expect_column_values_to_be_between",
    "kwargs": {
        "column": "age", "max_value": 70, "row_condition": "y < 1", "condition_parser": "pandas",
    },
}  # fmt: skip


def run(
    folder: Path, *suite: Any, table: pl.DataFrame = TABLE, spec: ModelSpec = SPEC
) -> ValidationReport:
    table.write_parquet(folder / "data.parquet", row_group_size=16)
    (folder / "expectations.json").write_text(json.dumps({"expectations": suite}))
    return validate(folder / "data.parquet", folder / "expectations.json", spec)


def last(report: ValidationReport) -> tuple[Verdict, dict[str, Any]]:
    return report.verdicts[-1], report.result["results"][-1]["result"]


@pytest.mark.parametrize("it", [BETWEEN, BY_GX], ids=["scan", "GX"])
def test_failing_rows_have_their_key_and_value_and_are_counted(tmp_path: Path, it: Any) -> None:
    verdict, result = last(run(tmp_path, it))
    assert verdict.evidence["unexpected_count"] == len(BAD)
    assert verdict.evidence["rows"] == [
        {"row": i, "key": f"R{i:03}", "value": SECRET + i} for i in list(BAD)[:20]
    ]
    assert f"{len(BAD)} of {N} values are not as expected" in verdict.detail
    assert f"{SECRET} (id R000)" in verdict.detail
    assert result["partial_unexpected_index_list"][1] == {"age": SECRET + 4, "id": "R004"}
    assert result["unexpected_index_column_names"] == ["id"]


@pytest.mark.parametrize(
    "mask", [{"reports": Reports(mask=("age",))}, {"logging": Logging(mask=("age",))}]
)
@pytest.mark.parametrize("it", [BETWEEN, BY_GX], ids=["scan", "GX"])
def test_a_masked_column_is_shown_nowhere(tmp_path: Path, it: Any, mask: dict[str, Any]) -> None:
    figures = [
        {"type": f"expect_column_{what}_to_be_between", "kwargs": {"column": "age", "max_value": 1}}
        for what in ("max", "median", "mean")
    ]
    kinds = {
        "type": "expect_column_distinct_values_to_be_in_set",
        "kwargs": {"column": "age", "value_set": [1]},
    }
    mean = {
        "type": "expect_column_mean_to_be_between",
        "kwargs": {"column": "plan", "max_value": 1},
    }
    spec = SPEC.model_copy(update=mask)
    report = run(tmp_path, *figures, kinds, mean, it, spec=spec)
    verdict, result = last(report)
    told = Validation("toy", "abc", N, report.verdicts, report.result["results"], "id")
    everything = [json.dumps(report.result), repr(report.verdicts), page(told), markdown(told, "p")]
    leaked = [
        text for text in everything if re.search(r"98[,]?7[,]?6[,]?5|98[,]?7[,]?7|247[,]?0", text)
    ]
    assert leaked == []
    assert verdict.evidence["unexpected_count"] == len(BAD)
    assert verdict.evidence["rows"][1] == {"row": 4, "key": "R004", "value": MASKED}
    assert result["partial_unexpected_list"] == [MASKED] * 20
    assert verdict.detail.count(MASKED) == 5


def test_a_masked_key_leaves_the_row_s_place(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"reports": Reports(mask=("id",))})
    verdict, result = last(run(tmp_path, BETWEEN, spec=spec))
    assert verdict.evidence["rows"][1] == {"row": 4, "key": MASKED, "value": SECRET + 4}
    assert "R004" not in json.dumps(result) + verdict.detail


def test_without_a_key_the_row_s_place_is_told(tmp_path: Path) -> None:
    spec = SPEC.model_copy(update={"key": None})
    verdict, result = last(run(tmp_path, BETWEEN, spec=spec))
    assert verdict.evidence["rows"][1] == {"row": 4, "value": SECRET + 4}
    assert result["partial_unexpected_index_list"][:2] == [0, 4]


def without(column: str, value: Any) -> pl.DataFrame:
    """The table with another value in row 7."""
    return TABLE.with_columns(
        pl.when(pl.col("id") == "R007").then(value).otherwise(column).alias(column)
    )


def column(kind: str, name: str) -> dict[str, Any]:
    return {"type": f"expect_column_values_to_{kind}", "kwargs": {"column": name}}


PAIR = {
    "type": "expect_compound_columns_to_be_unique",
    "kwargs": {"column_list": ["plan", "y"]},
}


@pytest.mark.parametrize(
    ("table", "kind", "rows"),
    [
        (without("y", None), column("not_be_null", "y"), [(7, "R007", None)]),
        (
            without("id", pl.lit("R003")),
            column("be_unique", "id"),
            [(3, "R003", "R003"), (7, "R003", "R003")],
        ),
        (
            TABLE.head(4),
            PAIR,
            [(i, f"R00{i}", {"plan": "a", "y": 0.5}) for i in (1, 3)],
        ),
    ],
    ids=["nulls", "unique", "compound"],
)
def test_other_kinds_tell_their_rows_as_well(
    tmp_path: Path, table: pl.DataFrame, kind: Any, rows: Any
) -> None:
    verdict, _ = last(run(tmp_path, kind, table=table))
    found = [(it["row"], it["key"], it["value"]) for it in verdict.evidence["rows"]]
    assert found == rows
    assert verdict.evidence["unexpected_count"] == len(rows)


def test_the_page_tells_it_and_needs_no_network(tmp_path: Path) -> None:
    nasty = TABLE.with_columns(
        plan=pl.when(pl.col("id") == "R003").then(pl.lit("<script>|`x")).otherwise("plan")
    )
    one_of = {
        "type": "expect_column_values_to_be_in_set",
        "kwargs": {"column": "plan", "value_set": ["a"]},
        "meta": {"severity": "warn", "notes": "ask <sales>"},
    }
    report = run(tmp_path, BETWEEN, one_of, table=nasty)
    told = Validation("toy", "abc", N, report.verdicts, report.result["results"], "id")
    html = page(told)
    assert not re.search(r"https?://|<script|@import|url\(|<link|<img", html)
    assert "The line stops here" in html
    assert html.count("<section") == 2
    assert "… and 5 more." in html
    assert "&lt;script&gt;|`x" in html
    assert "51 of 100 values are not as expected; ask &lt;sales&gt;" in html
    assert "<td>R004</td><td>987658</td>" in html
    text = markdown(told, "file:///there/validation.html")
    assert "| 4 | R004 | 987658 |" in text
    assert "<script>\\|`x" in text
    assert "file:///there/validation.html" in text
    assert "## warning: `plan`: values to be in set: a" in text


def test_a_page_of_good_data_says_so(tmp_path: Path) -> None:
    report = run(tmp_path, {**BETWEEN, "kwargs": {"column": "age", "min_value": 0}})
    told = Validation("toy", "abc", N, report.verdicts, report.result["results"], "id")
    assert "The data is as expected" in page(told)
    assert "What is not as expected" not in page(told)
