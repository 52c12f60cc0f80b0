"""What a retraining learns from, by the spec's window, on real logs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from watch_kit import PLACE, Server, WatchWorld

from andon.adapters import learning
from andon.adapters.inference_log import count_labelled, read_labelled, read_window
from andon.adapters.learning import Gathered, TooFewLabels, gather_rows
from andon.reading import parse_spec
from andon.recency import chosen

T0 = 1_000_000.0
FROM = {it: [(0.0, float("inf"))] for it in ("1", "2", "3")}
OWN = pl.DataFrame(
    {
        "id": [10, 11, 12], "since": [None] * 3, "age": [1, 2, 3], "city": ["Bern"] * 3,
        "y": ["no", "yes", "no"],
    },
    schema={"id": pl.Int64, "since": pl.Date, "age": pl.Int64, "city": pl.String, "y": pl.String},
)  # fmt: skip


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WatchWorld]:
    OWN.write_parquet(tmp_path / "own.parquet")
    monkeypatch.setattr(learning.dvc, "fetch", lambda *_: tmp_path / "own.parquet")
    made = WatchWorld(tmp_path)
    yield made
    made.close()


def answer(world: WatchWorld, server: Server, times: list[float], *, labelled: bool = True) -> None:
    ids = [server.answers((int(at - T0), "Rome", None), 0.7, at=at) for at in times]
    server.close()
    if labelled:
        world.labels(*((it, "yes") for it in ids), file=f"{ids[0]}.jsonl")


def gathered(
    world: WatchWorld, since: float, *, without: Sequence[tuple[float, float]] = (), **rules: object
) -> Gathered:
    said = {
        "data": "own.parquet", "target": "y", "task": "binary", "key": "id",
        "retraining": {"min_rows": 1, **rules},
    }  # fmt: skip
    spec = parse_spec(yaml.safe_dump(said), name="churn", file="model.yaml")
    return gather_rows(world.settings, spec, PLACE[0], since=since, live=FROM, without=without)


def test_windows_take_what_their_names_say(world):
    answer(world, world.server("1"), [T0 + i for i in range(10)])
    answer(world, world.server("2"), [T0 + 100 + i for i in range(5)])
    answer(world, world.server("3"), [T0 + 200], labelled=False)
    ages = {
        window: gathered(world, T0 + 8, window=window, sliding_rows=7).table["age"].to_list()
        for window in ("since_drift", "sliding", "all")
    }
    assert ages["since_drift"] == [8, 9, 100, 101, 102, 103, 104]
    assert ages["sliding"] == [8, 9, 100, 101, 102, 103, 104]
    assert ages["all"] == [1, 2, 3, *range(10), 100, 101, 102, 103, 104]
    found = gathered(world, T0 + 8, window="all")
    assert found.table["id"].to_list()[:4] == ["10", "11", "12", "live-v1-1"]
    assert found.table["y"].to_list()[2:4] == ["no", "yes"]
    assert found.told == (
        "window all: 15 labelled live rows, 7 of them since 1000008, and 3 of the project's own"
    )


def test_weighted_takes_older_rows_less_often_and_each_once(world):
    answer(world, world.server("1"), [T0 + i for i in range(2_000)])
    found = gathered(world, T0, window="weighted", sliding_rows=200)
    ages = found.table["age"].to_list()
    assert ages[-1] == 1_999, "the newest always"
    assert len(set(found.table["id"])) == found.table.height
    # 200 / ln 2 = 289 in the mean, with a standard deviation of about 12.
    assert 230 < found.table.height < 350
    newer = sum(it >= 1_800 for it in ages)
    assert newer > 0.4 * len(ages)
    assert "half as often if 200 rows older" in found.told


def test_weights_halve_with_age():
    taken = np.mean([chosen(1_000, 100, seed) for seed in range(400)], axis=0)
    # Shares of 400 draws: a standard deviation of at most 0.025.
    assert taken[999] == 1
    assert taken[899] == pytest.approx(0.5, abs=0.11)
    assert taken[799] == pytest.approx(0.25, abs=0.1)
    assert (chosen(50, 10, 3) == chosen(50, 10, 3)).all()


def test_enough_new_labelled_rows_are_wanted_whatever_the_window(world):
    answer(world, world.server("1"), [T0 + i for i in range(10)])
    for window in ("since_drift", "sliding", "all", "weighted"):
        with pytest.raises(TooFewLabels, match=r"2 labelled live rows .* wants 3"):
            gathered(world, T0 + 8, window=window, min_rows=3)


def test_labelled_rows_are_counted_as_they_are_read(world):
    answer(world, world.server("1"), [T0 + i for i in range(10)])
    answer(world, world.server("2"), [T0 + 100, T0 + 101], labelled=False)
    given = world.settings, *PLACE
    for since, many in ((0.0, 10), (T0 + 4, 6), (T0 + 50, 0)):
        assert count_labelled(*given, since=since, live=FROM) == many
        assert len(read_labelled(*given, since=since, live=FROM).rows) == many
        assert len(read_window(*given, since=since, live=FROM).labelled) == many


def test_rows_of_a_time_in_which_data_were_broken_are_left_out_of_every_window(world):
    answer(world, world.server("1"), [T0 + i for i in range(10)])
    for window in ("since_drift", "sliding", "all"):
        found = gathered(world, T0, window=window, without=[(T0 + 2, T0 + 5), (T0 + 8, T0 + 8)])
        assert found.table["age"].to_list()[-5:] == [0, 1, 6, 7, 9]
