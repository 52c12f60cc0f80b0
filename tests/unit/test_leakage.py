"""Leaks are found, and what is no leak is none."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from andon.leakage import duplicates, target_like, time_travel
from andon.spec import Leakage
from andon.verdict import Outcome

RULE = Leakage()


def table(rows: int, seed: int) -> pl.DataFrame:
    """Features that tell something, and a target."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    return pl.DataFrame(
        {
            "x": x,
            "noise": rng.normal(size=rows),
            "city": rng.choice(["a", "b", "c", None], rows),
            "y": np.where(x + rng.normal(size=rows) > 0, "yes", "no"),
            "amount": 3 * x + rng.normal(size=rows),
        }
    )


LEARN, HELD_OUT = table(2_000, 1), table(500, 2)
FEATURES = ["x", "noise", "city"]


def with_column(name: str, of: Any) -> tuple[pl.DataFrame, pl.DataFrame]:
    return LEARN.with_columns(of.alias(name)), HELD_OUT.with_columns(of.alias(name))


def test_rows_that_differ_are_no_twins() -> None:
    found = duplicates(LEARN, HELD_OUT, [*FEATURES, "y"], RULE)
    assert (found.outcome, found.value, found.n) == (Outcome.PASS, 0.0, 500)


@pytest.mark.parametrize("twins", [10, 100])
def test_twins_are_counted_and_stop_the_line_above_the_limit(twins: int) -> None:
    held_out = pl.concat([HELD_OUT.head(500 - twins), LEARN.head(twins)])
    found = duplicates(LEARN, held_out, [*FEATURES, "y"], RULE)
    assert found.value == twins / 500
    assert (found.outcome is Outcome.FAIL) == (twins / 500 > RULE.duplicates)
    told = duplicates(LEARN, held_out, [*FEATURES, "y"], Leakage(severity="warn"))
    assert told.outcome is Outcome.PASS
    assert told.detail.startswith("warning") == (twins / 500 > RULE.duplicates)


def test_few_columns_of_few_values_repeat_by_chance() -> None:
    found = duplicates(LEARN, HELD_OUT, ["city", "y"], RULE)
    assert found.value == 1.0
    assert found.outcome is Outcome.PASS
    assert "chance alone" in found.detail


def test_useful_columns_are_no_leaks() -> None:
    for task, target in (("binary", "y"), ("regression", "amount"), ("multiclass", "city")):
        features = [it for it in FEATURES if it != target]
        found = target_like(LEARN, HELD_OUT, features, target, task, RULE)  # type: ignore[arg-type]
        assert found.outcome is Outcome.PASS, found
        assert found.value is not None
        assert found.value < 0.95


@pytest.mark.parametrize(
    "leak",
    [
        (pl.col("y") == "yes").cast(pl.Int64),
        pl.when(pl.col("y") == "yes").then(pl.lit("left")).otherwise(None),
        pl.when(pl.col("y") == "yes").then(pl.col("noise")).otherwise(None),
        pl.when(pl.col("y") == "yes").then(5 + pl.col("noise").abs()).otherwise(-pl.col("x").abs()),
    ],
    ids=["a copy", "a text that is there or not", "a null tells", "a threshold"],
)
def test_a_column_that_is_the_target_stops_the_line(leak: pl.Expr) -> None:
    learn, held_out = with_column("leak", leak)
    found = target_like(learn, held_out, [*FEATURES, "leak"], "y", "binary", RULE)
    assert found.outcome is Outcome.FAIL
    assert "leak (ROC AUC 1.0000)" in found.detail
    calm = Leakage(target_like=1)
    assert target_like(learn, held_out, ["leak"], "y", "binary", calm).outcome is Outcome.PASS


def test_a_value_that_is_the_target_in_another_unit_stops_the_line() -> None:
    learn, held_out = with_column("cents", pl.col("amount") * 100)
    found = target_like(learn, held_out, ["x", "cents"], "amount", "regression", RULE)
    assert found.outcome is Outcome.FAIL
    assert "cents" in found.detail


def test_a_key_tells_nothing_about_other_rows() -> None:
    """A text of its own on every row: in-sample it would tell everything."""
    learn = LEARN.with_columns(pl.Series("id", [f"a{i}" for i in range(2_000)]))
    held_out = HELD_OUT.with_columns(pl.Series("id", [f"b{i}" for i in range(500)]))
    found = target_like(learn, held_out, ["id"], "y", "binary", RULE)
    assert found.value == pytest.approx(0.5)


@pytest.mark.parametrize("column", ["nulls", "constant"])
def test_columns_of_nothing_tell_nothing(column: str) -> None:
    value = pl.lit(None, dtype=pl.Float64) if column == "nulls" else pl.lit(7)
    learn, held_out = with_column(column, value)
    found = target_like(learn, held_out, [column], "y", "binary", RULE)
    assert (found.outcome, found.value) == (Outcome.PASS, 0.0)


def test_too_few_rows_are_inconclusive() -> None:
    found = target_like(LEARN, HELD_OUT.head(3), FEATURES, "y", "binary", RULE)
    assert found.outcome is Outcome.INCONCLUSIVE


def test_without_a_leak_small_tables_pass_nearly_always() -> None:
    """300 tables of 60 and 20 rows with a column that tells much (AUC 0.92): 3 % may be stopped."""
    stopped = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=80)
        y = np.where(x + 0.7 * rng.normal(size=80) > 0, 1, 0)
        made = pl.DataFrame({"x": x, "y": y})
        found = target_like(made.head(60), made.tail(20), ["x"], "y", "binary", RULE)
        stopped += found.outcome is Outcome.FAIL
    assert stopped <= 9 + 9, "three standard errors above 3 %"


def test_dates_after_the_row_are_told() -> None:
    start = datetime(2026, 1, 1)
    made = pl.DataFrame(
        {
            "at": [start + timedelta(days=i) for i in range(10)],
            "paid": [start + timedelta(days=i + (i % 2) * 3) for i in range(10)],
        }
    )
    found = time_travel(made.head(6), made.tail(4), ["paid"], "at", by_time=True)
    assert found.outcome is Outcome.PASS
    assert found.detail == "in 5 rows paid is later than at"
    assert "split.by: time" in time_travel(made, made, [], "at", by_time=False).detail
