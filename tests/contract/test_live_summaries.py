"""Summaries of the inference log: what one pass counts is what the rows say."""

from __future__ import annotations

import os

import numpy as np
import polars as pl
import pytest

from andon import profile
from andon.adapters.inference_log import read_window
from andon.adapters.live import Live, Wanted, as_matrix, newest_rows, summarised
from andon.profile import Feature, Part
from andon.settings import Settings
from andon.summary import total
from serving.bundle import Column, LogPolicy, Manifest
from serving.engines.base import Scored
from serving.segments import Segments

PLACE = ("production", "churn")
COLUMNS = [
    Column("fee", "number"), Column("age", "integer"), Column("paid", "boolean"),
    Column("since", "date"), Column("city", "category"),
]  # fmt: skip
EVERY = Wanted(None, 0.0, 10_000, 1)


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(project=tmp_path)


def draw(n: int, seed: int) -> list[tuple]:
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        fee = None if rng.random() < 0.2 else float(rng.normal())
        city = None if rng.random() < 0.1 else str(rng.choice(["rome", "oslo", "new"]))
        age, paid = int(rng.integers(0, 90)), bool(rng.random() < 0.4)
        rows.append((fee, age, paid, 20_780.0 + int(rng.integers(0, 9)) / 4, city))
    return rows


def reference() -> list[Feature]:
    rng = np.random.default_rng(1)
    n = 500
    table = pl.DataFrame({
        "fee": rng.normal(size=n), "age": rng.integers(10, 80, n), "paid": rng.random(n) < 0.5,
        "since": pl.Series(20_780 + rng.integers(0, 2, n), dtype=pl.Int32).cast(pl.Date),
        "city": rng.choice(["rome", "oslo"], n),
    })  # fmt: skip
    return [profile.feature_of(it, table[it.name]) for it in COLUMNS]


FEATURES = reference()
SCORE = profile.feature_of(Column("score", "number"), pl.Series("score", np.linspace(0, 1, 99)))


def log(
    settings: Settings, rows: list[tuple], *, start: int = 0, version: str = "1",
    mask: tuple[str, ...] = (), columns: list[Column] = COLUMNS, probe: bool = False,
) -> None:  # fmt: skip
    """Row n came at 1000 + start + n seconds; the file is as old as its last row."""
    folder = settings.inference_log.joinpath(*PLACE, version)
    before = set(folder.glob("*"))
    policy = LogPolicy(mask=list(mask))
    manifest = Manifest("churn", version, "binary", "y", "b", ["no", "yes"], log=policy)
    segments = Segments(folder, columns, manifest, environment="production")
    for n, row in enumerate(rows, start):
        put = Scored([0], [[0.9, 0.1]])
        segments.put([f"p{n}"], 1_000.0 + n, 1.0, probe, [row[: len(columns)]], put)
    segments.close()
    (path,) = set(folder.glob("*")) - before
    at = 1_000 + start + len(rows) - 1
    os.utime(path, (at, at))


def counted(live: Live, name: str) -> list[int]:
    return total(list(live.pieces.values())).features[name].counts.tolist()


def expected(rows: list[tuple], place: int) -> list[int]:
    kinds = [pl.Float64, pl.Int64, pl.Boolean, pl.Float64, pl.String]
    values = pl.Series("x", [row[place] for row in rows], kinds[place])
    return profile.window_counts(FEATURES[place], values).tolist()


def test_every_kind_is_counted_as_the_reference_was(settings):
    rows = draw(700, seed=2)
    log(settings, rows[:300])
    log(settings, rows[300:], start=300, version="2")
    live = summarised(settings, *PLACE, EVERY, FEATURES, SCORE)
    for place, feature in enumerate(FEATURES):
        assert counted(live, feature.name) == expected(rows, place), feature.name
    whole = total(list(live.pieces.values()))
    fees = [row[0] for row in rows if row[0] is not None]
    assert whole.features["fee"].mean == pytest.approx(np.mean(fees))
    assert whole.features["fee"].std == pytest.approx(np.std(fees))
    assert (whole.rows, whole.span, live.corrupt) == (700, (1_000.0, 1_699.0), 0)
    assert whole.said is not None
    assert whole.said.mean == pytest.approx(0.1)


def test_pieces_are_of_the_latest_rows_whatever_file_they_are_in(settings):
    """Two servers at once, an older file before them, and one that ended before all of it."""
    rows = draw(400, seed=3)
    log(settings, rows[:100])
    log(settings, rows[100:200], start=100)
    log(settings, rows[200:300:1], start=200)
    log(settings, rows[300:], start=250)  # at the same time as the one before
    wanted = Wanted("1", 1_050.0, 260, 50)
    live = summarised(settings, *PLACE, wanted, FEATURES)
    window = read_window(settings, *PLACE, version="1", since=1_050.0, latest=260)
    assert {number: it.rows for number, it in live.pieces.items()} == {
        0: 50, 1: 50, 2: 50, 3: 50, 4: 50, 5: 10,
    }  # fmt: skip
    assert total(list(live.pieces.values())).span == window.span
    ages = pl.Series("x", [row["inputs"]["age"] for row in window.rows])
    newest = profile.window_counts(FEATURES[1], ages[-50:]).tolist()
    assert counted(live, "age") == profile.window_counts(FEATURES[1], ages).tolist()
    assert live.pieces[0].features["age"].counts.tolist() == newest
    assert live.pieces[0].span == tuple(window.rows[it]["time"] for it in (-50, -1))


def test_probes_and_answers_that_nobody_got_are_left_out(settings):
    rows = draw(30, seed=4)
    log(settings, rows[:10], probe=True)
    log(settings, rows[10:], start=10)
    wanted = Wanted("1", 0.0, 100, 1, {"1": [(1_015.0, 1_025.0)]})
    live = summarised(settings, *PLACE, wanted, FEATURES)
    assert counted(live, "age") == expected(rows[15:25], 1)
    assert summarised(settings, *PLACE, Wanted("9", 0.0, 9, 1), FEATURES).pieces == {}


def test_masked_columns_are_told_and_missing_ones_are_null(settings):
    rows = draw(20, seed=5)
    log(settings, rows, mask=("fee",), columns=COLUMNS[:2])
    live = summarised(settings, *PLACE, EVERY, FEATURES)
    whole = total(list(live.pieces.values()))
    assert live.masked == {"fee"}
    assert "fee" not in whole.features
    assert whole.features["city"].counts.tolist() == [0] * (len(FEATURES[4].top) + 2) + [20]


def test_a_column_that_cannot_be_read_is_told_and_the_others_are_counted(settings):
    log(settings, [("dear", 5)] * 9, columns=[Column("fee", "category"), COLUMNS[1]])
    live = summarised(settings, *PLACE, EVERY, FEATURES)
    whole = total(list(live.pieces.values()))
    assert whole.unread == {"fee": "found string, expected numbers"}
    assert whole.features["age"].n == 9


@pytest.mark.parametrize("garbage", [b"", b"not arrow", b"\xff\xff\xff\xff\x10" + b"\x01" * 200])
def test_damaged_segments_are_left_out(settings, garbage):
    rows = draw(20, seed=6)
    log(settings, rows)
    settings.inference_log.joinpath(*PLACE, "1", "5-5.arrows").write_bytes(garbage)
    assert counted(summarised(settings, *PLACE, EVERY, FEATURES), "age") == expected(rows, 1)


def test_a_segment_that_was_copied_is_found(settings):
    log(settings, draw(600, seed=4))
    once = summarised(settings, *PLACE, EVERY, FEATURES, SCORE)
    assert once.repeated == (0, 600)
    (path,) = settings.inference_log.joinpath(*PLACE, "1").glob("*")
    copy = path.with_name(f"9{path.name}")
    copy.write_bytes(path.read_bytes())
    os.utime(copy, (path.stat().st_mtime, path.stat().st_mtime))
    assert summarised(settings, *PLACE, EVERY, FEATURES, SCORE).repeated == (600, 1_200)


def test_scores_of_slices_are_counted_by_their_rows(settings):
    rows = draw(600, seed=5)
    log(settings, rows)
    parts = [Part("city", "rome", SCORE), Part("paid", "true", SCORE), Part("gone", "x", SCORE)]
    wanted = Wanted(None, 0.0, 10_000, 100, parts=parts)
    live = summarised(settings, *PLACE, wanted, FEATURES, SCORE)
    assert len(live.pieces) == 6
    whole = total(list(live.pieces.values()))
    assert whole.parts.keys() == {"city=rome", "paid=true"}
    assert whole.parts["city=rome"].n == sum(row[4] == "rome" for row in rows)
    assert whole.parts["paid=true"].n == sum(row[2] for row in rows)
    assert whole.said.n == 600


def test_the_newest_rows_are_a_matrix_as_those_of_training_are(settings):
    rows = draw(500, seed=6)
    log(settings, rows[:300])
    log(settings, rows[300:], start=300)
    found = newest_rows(settings, *PLACE, Wanted("1", 0.0, 400, 1), FEATURES)
    table = pl.DataFrame(
        rows[100:], orient="row", schema=["in.fee", "in.age", "in.paid", "in.since", "in.city"]
    ).with_columns(pl.col("in.since").cast(pl.Float64))
    wanted = as_matrix(table.reverse().to_arrow(), FEATURES)
    assert found.shape == (400, 5)
    np.testing.assert_array_equal(found[:, [0, 1, 2, 4]], wanted[:, [0, 1, 2, 4]])
    assert np.isfinite(found[:, 3]).all()
    dates = pl.DataFrame({"in.since": pl.Series([20_780], dtype=pl.Int32).cast(pl.Date)})
    assert as_matrix(dates.to_arrow(), FEATURES)[0, 3] == 20_780.0
    assert np.isnan(as_matrix(dates.to_arrow(), FEATURES)[0, :3]).all(), "what is missing is null"


def test_rows_from_the_future_are_left_out_and_told(settings):
    log(settings, draw(300, seed=7))
    log(settings, draw(50, seed=8), start=100_000)
    live = summarised(settings, *PLACE, Wanted("1", 0.0, 10_000, 100, until=2_000.0), FEATURES)
    assert (total(list(live.pieces.values())).rows, live.ahead) == (300, 50)
