"""A proposed suite holds on what it was made from, is answered by the scan, and is never forced."""

from __future__ import annotations

import json
import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from andon.adapters import proposing, tables
from andon.adapters.expectations import validate
from andon.adapters.summarising import summarised
from andon.errors import DataError, LineError
from andon.inferring import proposed
from andon.settings import Settings
from andon.spec import ModelSpec, Reports
from andon.verdict import Outcome

SPEC = ModelSpec(name="toy", data="d.parquet", target="y", task="regression", key="id", time="at")
START = datetime(2024, 1, 1)
N = 200
TABLE = pl.DataFrame(
    {
        "id": [f"R{i:04}" for i in range(N)],
        "at": [START + timedelta(hours=i) for i in range(N)],
        "age": [None if i % 10 == 0 else 20 + i % 50 for i in range(N)],
        "price": [0.25 * (i % 40) for i in range(N)],
        "plan": [["basic", "plus", "é"][i % 3] for i in range(N)],
        "note": [f"{'x' * (i % 7)} and {i}" for i in range(N)],
        "paid": [i % 2 == 0 for i in range(N)],
        "y": [float(i % 9) for i in range(N)],
    }
)
FLOATS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-5, 5),
    st.sampled_from([0.0, -0.0, 1e308, -1e308, 5e-324, float("inf"), float("nan")]),
)
CELLS = {
    "id": (pl.String, st.text(max_size=4)),
    "at": (pl.Datetime("us"), st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1))),
    "whole": (pl.Int64, st.one_of(st.integers(-9, 9), st.integers(-(2**63), 2**63 - 1))),
    "small": (pl.Int8, st.integers(-128, 127)),
    "huge": (pl.UInt64, st.integers(0, 2**63 - 1)),
    "n": (pl.Float64, FLOATS),
    "f": (pl.Float32, st.floats(width=32, allow_nan=False)),
    "żółć": (pl.String, st.sampled_from(["", "a", "b\n", "É", "C1", "C23"])),
    "bool": (pl.Boolean, st.booleans()),
    "day": (pl.Date, st.dates(datetime(1700, 1, 1).date())),
    "y": (pl.Float64, st.floats(-1e6, 1e6)),
}


@st.composite
def any_tables(draw: st.DrawFn) -> pl.DataFrame:
    """Columns of every type: without nulls, with some, with nothing else, constant, sorted."""
    rows = draw(st.sampled_from([1, 2, 7, 30]))
    data = {}
    for name, (dtype, cells) in CELLS.items():
        how = draw(st.sampled_from(["any", "any", "nulls", "empty", "constant", "sorted"]))
        cell = {"nulls": st.one_of(st.none(), cells), "empty": st.none()}.get(how, cells)
        values = draw(st.lists(cell, min_size=rows, max_size=rows))
        if how == "constant":
            values = values[:1] * rows
        column = pl.Series(name, values, dtype=dtype)
        data[name] = column.sort() if how == "sorted" else column
    return pl.DataFrame(data)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(table=any_tables())
@example(table=TABLE)
@example(table=TABLE.head(1))
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_what_is_proposed_holds_on_the_same_rows(table: pl.DataFrame) -> None:
    """All of it, before what does not hold is left out; as GX and the scan judge a snapshot."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table.write_parquet(folder / "source.parquet")
        tables.write_snapshot(folder / "source.parquet", folder)
        spec = SPEC.model_copy(update={"time": "at" if "at" in table.columns else None})
        suite = proposed(summarised(tables.read(folder / tables.SNAPSHOT), spec), spec)
        (folder / "expectations.json").write_text(json.dumps({"expectations": suite}))
        report = validate(folder / tables.SNAPSHOT, folder / "expectations.json", spec)
    verdicts = report.verdicts[-len(suite) :]
    bad = [f"{v.check}: {v.detail}" for v in verdicts if v.outcome is not Outcome.PASS or v.detail]
    assert bad == []


def test_every_kind_of_column_is_spoken_of_and_the_scan_answers_all() -> None:
    found = proposing.propose(TABLE.lazy(), SPEC, "d.parquet")
    assert found.scanned == len(found.expectations)
    said = {
        (it["kwargs"].get("column"), it["type"].removeprefix("expect_column_values_to_")): it
        for it in found.expectations
    }
    assert said["id", "be_unique"]["meta"]["severity"] == "stop"
    assert said["id", "match_regex"]["kwargs"]["regex"] == "^R[0-9]+$"
    assert said["at", "be_increasing"]["meta"]["severity"] == "warn"
    assert said["age", "not_be_null"]["kwargs"]["mostly"] == 0.85
    assert said["age", "be_between"]["kwargs"] == {
        "column": "age", "min_value": 16, "max_value": 74,
    }  # fmt: skip
    assert said["price", "be_between"]["kwargs"]["min_value"] == 0.0
    assert said["plan", "be_in_set"]["kwargs"]["value_set"] == ["basic", "plus", "é"]
    assert ("note", "expect_column_value_lengths_to_be_between") in said
    assert said["paid", "be_of_type"]["kwargs"]["type_"] == "bool"
    assert all(it["meta"]["notes"] for it in found.expectations)
    assert json.loads(found.text)["expectations"] == found.expectations


def test_what_is_proposed_sees_what_changed(tmp_path: Path) -> None:
    """Structure stops the line; a range that was only seen warns."""
    (tmp_path / "expectations.json").write_text(
        proposing.propose(TABLE.lazy(), SPEC, "d.parquet").text
    )
    wrong = TABLE.with_columns(
        price=pl.when(pl.col("id") == "R0007").then(99.0).otherwise("price"),
        paid=pl.col("paid").cast(pl.String),
        id=pl.when(pl.col("id") == "R0008").then(pl.lit("R0009")).otherwise("id"),
    )
    wrong.write_parquet(tmp_path / "data.parquet")
    report = validate(tmp_path / "data.parquet", tmp_path / "expectations.json", SPEC)
    stopped = {v.check for v in report.verdicts if v.outcome is Outcome.FAIL}
    assert stopped == {
        "expect_column_values_to_be_of_type(paid)", "expect_column_values_to_be_unique(id)",
    }  # fmt: skip
    assert [v.check for v in report.warnings] == ["expect_column_values_to_be_between(price)"]


def test_a_masked_column_s_values_are_not_in_the_proposal() -> None:
    spec = SPEC.model_copy(update={"reports": Reports(mask=("plan", "price"))})
    text = proposing.propose(TABLE.lazy(), spec, "d.parquet").text
    assert "basic" not in text
    assert "9.75" not in text
    assert '"column": "price"' in text, "its type and its nulls are no secret"


def test_a_key_that_repeats_and_rows_out_of_order_are_not_proposed() -> None:
    mixed = TABLE.reverse().with_columns(id=pl.lit("R1"))
    kinds = {it["type"] for it in proposing.propose(mixed.lazy(), SPEC, "d").expectations}
    assert "expect_column_values_to_be_unique" not in kinds
    assert "expect_column_values_to_be_increasing" not in kinds


def test_nothing_is_proposed_from_nothing() -> None:
    with pytest.raises(DataError, match="0 rows"):
        proposing.propose(TABLE.head(0).lazy(), SPEC, "d.parquet")


def test_a_suite_that_is_there_is_not_replaced_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "expectations.json"
    proposing.write(path, "new\n", force=False)
    proposing.write(path, "new\n", force=False)
    with pytest.raises(LineError, match="--force"):
        proposing.write(path, "newer\n", force=False)
    assert path.read_text() == "new\n"
    assert proposing.difference(path, "newer\n").splitlines()[-2:] == ["-new", "+newer"]
    proposing.write(path, "newer\n", force=True)
    assert path.read_text() == "newer\n"


def test_a_snapshot_is_found_by_the_beginning_of_its_hash(tmp_path: Path) -> None:
    world = Settings(project=tmp_path)
    for hash_ in ("abc1", "abd2"):
        folder = world.store / "snapshots" / "toy" / hash_
        folder.mkdir(parents=True)
        tables.write(TABLE.head(3), folder / tables.SNAPSHOT)
    data, source = proposing.snapshot(world, SPEC, "abc")
    assert source == "snapshot abc1"
    assert data.collect().height == 3
    with pytest.raises(DataError, match="2 snapshots 'ab'; there are: abc1, abd2"):
        proposing.snapshot(world, SPEC, "ab")
    with pytest.raises(DataError, match="no snapshot"):
        proposing.snapshot(world, SPEC, "")


def test_the_command_shows_writes_and_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rich.console import Console
    from typer.testing import CliRunner

    from deployments import expectations_cli
    from deployments.cli import app

    monkeypatch.setenv("ANDON_PROJECT", str(tmp_path))
    monkeypatch.setattr(expectations_cli, "out", Console(width=200, highlight=False))
    model = tmp_path / "models" / "toy"
    model.mkdir(parents=True)
    (tmp_path / "andon.yaml").write_text("{}")
    (model / "model.yaml").write_text("data: d.parquet\ntarget: y\ntask: regression\nkey: id\n")
    folder = Settings(project=tmp_path).store / "snapshots" / "toy" / "abc1"
    folder.mkdir(parents=True)
    tables.write(TABLE, folder / tables.SNAPSHOT)
    asked = ["expectations", "infer", "toy", "--from-snapshot", "abc1"]

    shown = CliRunner().invoke(app, asked)
    assert shown.exit_code == 0, shown.output
    assert "values to be in set: basic, plus, é" in shown.output
    assert "expectations; they hold on the 200 rows of snapshot abc1" in shown.output
    assert not (model / "expectations.json").exists()

    written = CliRunner().invoke(app, [*asked, "--write"])
    assert written.exit_code == 0, written.output
    suite = model / "expectations.json"
    suite.write_text(suite.read_text().replace('"basic"', '"cheap"'))
    refused = CliRunner().invoke(app, [*asked, "--write"])
    assert isinstance(refused.exception, LineError)
    assert '"value_set": ["cheap", "plus", "é"]' in refused.output, "the difference is shown"
    assert "cheap" in suite.read_text()
    assert CliRunner().invoke(app, [*asked, "--write", "--force"]).exit_code == 0
    assert "cheap" not in suite.read_text()
