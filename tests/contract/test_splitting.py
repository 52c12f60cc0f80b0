"""Tables are split as `model.yaml` says, and in the same way as they grow."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from andon.adapters import splitting
from andon.errors import DataError
from andon.spec import ModelSpec
from andon.verdict import Outcome

N = 2_000


def table(n: int = N) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    start = datetime(2026, 1, 1)
    return pl.DataFrame(
        {
            "id": [f"row {i}" for i in range(n)],
            "household": [f"house {i % 300}" for i in range(n)],
            "at": [start + timedelta(hours=i) for i in range(n)],
            "x": x,
            "y": np.where(x + rng.normal(size=n) > 0, "yes", "no"),
        }
    )


def spec(**more: Any) -> ModelSpec:
    given = {"key": "id", "time": "at", "drop": ("household",)} | more
    return ModelSpec(name="m", data="d", target="y", task="binary", **given)


def held(made: pl.DataFrame, **more: Any) -> set[str]:
    return set(splitting.split(made, spec(**more)).held_out["id"])


@pytest.mark.parametrize("split", [{"by": "key"}, {"by": "group", "column": "household"}])
def test_more_rows_move_no_row(split: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = held(table().head(1_000), split=split)
    monkeypatch.setattr(splitting, "ROWS_AT_ONCE", 7)
    after = held(table(), split=split)
    assert before == {it for it in after if int(it.split()[1]) < 1_000}


def test_rows_of_one_group_stay_together() -> None:
    parts = splitting.split(table(), spec(split={"by": "group", "column": "household"}))
    assert set(parts.learn["household"]).isdisjoint(parts.held_out["household"])
    assert 0.1 < parts.held_out.height / N < 0.3


def test_by_time_the_latest_are_held_out() -> None:
    parts = splitting.split(table(), spec(split={"by": "time", "share": 0.25}))
    assert parts.held_out.height == N // 4
    assert parts.learn["at"].max() < parts.held_out["at"].min()  # type: ignore[operator]
    assert "2026-03-04" in parts.how


@pytest.mark.parametrize("since", ["2026-02-01", "2026-02-01T00:00:00Z", "2026-02-01T01:00+01:00"])
def test_from_a_moment_on(since: str) -> None:
    parts = splitting.split(table(), spec(split={"by": "time", "since": since}))
    assert parts.held_out["at"].min() == datetime(2026, 2, 1)


def test_a_part_without_rows_fails_and_says_so() -> None:
    parts = splitting.split(table(), spec(split={"by": "time", "since": "2030-01-01"}))
    (verdict,) = parts.verdicts
    assert verdict.outcome is Outcome.FAIL
    assert "0 held out" in verdict.detail


def test_leaks_are_looked_for_in_features_only() -> None:
    copied = table().with_columns(answer=pl.col("y"), household=pl.col("y"))
    found = {it.check: it for it in splitting.split(copied, spec()).verdicts}
    assert found["no column is the target"].outcome is Outcome.FAIL
    assert "answer" in found["no column is the target"].detail
    assert "household" not in found["no column is the target"].detail
    dropped = splitting.split(copied, spec(drop=("household", "answer"))).verdicts
    assert {it.outcome for it in dropped} == {Outcome.PASS}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"split": {"by": "group", "column": "town"}}, "split.column: the data has no column"),
        ({"key": "number"}, "key: the data has no column 'number'"),
        ({"time": "when"}, "time: the data has no column 'when'"),
        ({"time": None, "drop": ("at",), "split": {"by": "time"}}, "needs `time`"),
        ({"time": "household", "drop": (), "split": {"by": "time"}}, "household is String"),
    ],
)
def test_what_is_not_there_is_named(given: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        splitting.split(table(), spec(**given))


@pytest.mark.parametrize("role", ["id", "at", "household"])
def test_rows_that_lack_what_decides_are_counted(role: str) -> None:
    lacking = table().with_columns(pl.when(pl.col("x") > 0).then(pl.col(role)).alias(role))
    by = {"id": {"by": "key"}, "at": {"by": "time"}}
    split = by.get(role, {"by": "group", "column": "household"})
    with pytest.raises(DataError, match=rf"\d+ rows have no {role}"):
        splitting.split(lacking, spec(split=split))
