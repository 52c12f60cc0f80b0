"""The inference log as it is found: written by servers that may die, and by several at once."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pytest
from support import wait_until

from andon.adapters.inference_log import Window, read_window
from andon.settings import Settings
from serving.bundle import Column, LogPolicy, Manifest
from serving.engines.base import Scored
from serving.segments import Pace, Segments

PLACE = ("production", "churn")


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(project=tmp_path)


COLUMNS = [
    Column("age", "integer"), Column("fee", "number"), Column("paid", "boolean"),
    Column("since", "date"), Column("city", "category"),
]  # fmt: skip
ROW = (7, 0.5, True, 20_780.25, "Ürümqi")
INPUTS = dict(zip(("age", "fee", "paid", "city"), (7, 0.5, True, "Ürümqi"), strict=True))


def manifest(version: str = "1", mask: Sequence[str] = ()) -> Manifest:
    policy = LogPolicy(mask=list(mask))
    return Manifest("churn", version, "regression", "y", "b", log=policy)


def log(
    settings: Settings,
    *numbers: int,
    version: str = "1",
    probes: Sequence[int] = (),
    mask: Sequence[str] = (),
    columns: list[Column] = COLUMNS,
) -> Path:
    """A segment as a server of that version writes it: prediction pN came at 1000 + N seconds."""
    folder = settings.inference_log.joinpath(*PLACE, version)
    before = set(folder.glob("*"))
    segments = Segments(folder, columns, manifest(version, mask), environment="production")
    for n in numbers:
        row = ROW[: len(columns)]
        segments.put([f"p{n}"], 1_000.0 + n, 1.5, n in probes, [row], Scored([], [[0.5]]))
    segments.close()
    (path,) = set(folder.glob("*")) - before
    return path


def lines(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def feedback(settings: Settings, *rows: dict[str, Any], file: str = "1-1.jsonl") -> None:
    path = settings.feedback_log.joinpath(*PLACE, file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lines(*rows))


def label(n: int, value: Any, time: float = 2_000.0) -> dict[str, Any]:
    return {"id": f"p{n}", "time": time, "label": value}


def ids(window: Window) -> list[str]:
    return [row["id"] for row in window.rows]


def test_nothing_logged_is_an_empty_window(settings):
    found = read_window(settings, *PLACE)
    assert (found.rows, found.labels, found.corrupt, found.span) == ((), {}, 0, (0.0, 0.0))


def test_what_a_server_writes_is_read_in_the_order_of_time(settings):
    log(settings, 2, 0)
    log(settings, 1, 3, version="2", columns=COLUMNS[:2])  # another schema
    found = read_window(settings, *PLACE)
    assert ids(found) == ["p0", "p1", "p2", "p3"]
    assert found.span == (1_000.0, 1_003.0)
    assert [row["version"] for row in found.rows] == ["1", "2", "1", "2"]
    assert ids(read_window(settings, *PLACE, version="2")) == ["p1", "p3"]
    assert ids(read_window(settings, "staging", "churn")) == []


def test_a_row_is_told_as_it_came(settings):
    log(settings, 0)
    (row,) = read_window(settings, *PLACE).rows
    assert row == {
        "id": "p0", "time": 1_000.0, "model": "churn", "version": "1",
        "environment": "production", "latency_ms": 1.5, "probe": False,
        "inputs": {**INPUTS, "since": "2026-11-23T06:00:00"}, "outputs": {"value": 0.5},
    }  # fmt: skip


GARBAGE = [b"", b"not arrow", b"\x00" * 4_096, b"\xff\xff\xff\xff\x10\x00\x00\x00" + b"\x01" * 200]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_a_segment_that_is_none_is_left_out_and_the_others_are_read(settings, garbage):
    log(settings, 1)
    settings.inference_log.joinpath(*PLACE, "1", "5-5.arrows").write_bytes(garbage)
    assert ids(read_window(settings, *PLACE)) == ["p1"]


def test_a_stream_of_somebody_else_is_counted_as_corrupt(settings):
    path = log(settings, 1).with_name("5-5.arrows")
    table = pa.table({"id": ["x"], "time": [1.0]})
    with pa.ipc.new_stream(path, table.schema) as stream:
        stream.write_table(table)
        stream.write_table(table)
    found = read_window(settings, *PLACE)
    assert (ids(found), found.corrupt) == (["p1"], 1)


def batches(settings: Settings) -> tuple[Path, list[int]]:
    """A segment of three batches of a row each, and where each of them ends in the file."""
    folder = settings.inference_log.joinpath(*PLACE, "1")
    pace = Pace(interval=0.001)
    segments = Segments(folder, COLUMNS, manifest(), environment="production", pace=pace)
    ends = []
    for n in range(3):
        segments.put([f"p{n}"], 1_000.0 + n, 1.0, False, [ROW], Scored([], [[0.5]]))
        wait_until(lambda n=n: segments.rows == n + 1, 60, "the batch is written")
        ends.append(next(folder.glob("*")).stat().st_size)
    segments.close()
    return next(folder.glob("*")), ends


@pytest.mark.parametrize("beyond", [1, 7, 20, 200, -1])
def test_a_half_written_last_batch_is_left_for_later(settings, beyond):
    """Its server is still at it, or was killed: neither is damage."""
    path, ends = batches(settings)
    whole = path.read_bytes()
    path.write_bytes(whole[: ends[1] + beyond] if beyond > 0 else whole[: ends[2] - 1])
    found = read_window(settings, *PLACE)
    assert (ids(found), found.corrupt) == (["p0", "p1"], 0)
    path.write_bytes(whole)
    assert ids(read_window(settings, *PLACE)) == ["p0", "p1", "p2"]


def test_a_damaged_batch_ends_what_can_be_read_of_a_segment(settings):
    path, ends = batches(settings)
    raw = bytearray(path.read_bytes())
    raw[ends[0] : ends[0] + 16] = b"\x07" * 16
    path.write_bytes(raw)
    found = read_window(settings, *PLACE)
    assert (ids(found), found.corrupt) == (["p0"], 1)


def test_damage_of_any_kind_is_counted_and_never_raised(settings):
    path, _ = batches(settings)
    whole, draw, seen = path.read_bytes(), random.Random(3), set()  # noqa: S311
    for _ in range(400):
        raw = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(raw))
            size = draw.choice([1, 1, 4, 8])
            raw[at : at + size] = draw.choice([b"\x00", b"\xff", b"\x7f", b"\xc3"]) * size
        path.write_bytes(raw)
        found = read_window(settings, *PLACE)
        seen.add((len(found.rows), found.corrupt))
    assert {(3, 0), (0, 1), (2, 1)} <= seen


def test_probes_are_left_out(settings):
    log(settings, 1, 2, 3, probes=(1, 3))
    found = read_window(settings, *PLACE)
    assert (ids(found), found.corrupt) == (["p2"], 0)


def test_the_latest_rows_and_the_rows_since_a_time(settings):
    log(settings, 4, 1)
    log(settings, 3, 0, 2)
    assert ids(read_window(settings, *PLACE, latest=2)) == ["p3", "p4"]
    assert ids(read_window(settings, *PLACE, latest=9)) == ["p0", "p1", "p2", "p3", "p4"]
    assert ids(read_window(settings, *PLACE, latest=0)) == []
    assert ids(read_window(settings, *PLACE, since=1_002.0)) == ["p2", "p3", "p4"]
    assert ids(read_window(settings, *PLACE, since=1_002.0, latest=1)) == ["p4"]


def test_a_file_that_ended_before_the_window_is_not_even_opened(settings):
    old = log(settings, 1).with_name("1-1.arrows")
    old.write_bytes(b"not arrow, and long enough to be no tail " * 10)
    os.utime(old, (1_000, 1_000))
    log(settings, 5)
    found = read_window(settings, *PLACE, since=1_002.0)
    assert (ids(found), found.corrupt) == (["p5"], 0)


def test_segments_before_the_latest_rows_are_not_even_opened(settings):
    log(settings, 3)
    old = log(settings, 4, 5, 6).with_name("1-1.arrows")
    old.write_bytes(b"not arrow, and long enough to be no tail " * 10)
    os.utime(old, (1_000, 1_000))
    assert read_window(settings, *PLACE, latest=4).corrupt == 0
    assert ids(read_window(settings, *PLACE, latest=4)) == ["p3", "p4", "p5", "p6"]
    assert read_window(settings, *PLACE, latest=5).corrupt == 1


def test_a_mask_counts_while_rows_that_it_was_for_are_in_the_window(settings):
    log(settings, 1, mask=["city"])
    log(settings, 5, version="2")
    assert read_window(settings, *PLACE).masked == {"city"}
    assert read_window(settings, *PLACE, since=1_003.0).masked == set()


def test_masked_columns_are_named_and_not_there(settings):
    log(settings, 1, mask=["city", "age"])
    found = read_window(settings, *PLACE)
    assert found.masked == {"city", "age"}
    assert set(found.rows[0]["inputs"]) == {"fee", "paid", "since"}


def test_labels_join_their_predictions_and_unknown_ids_are_left_alone(settings):
    log(settings, 1, 2, 3)
    feedback(settings, label(1, "yes"), label(3, 0.0), {"id": "?", "time": 1.0, "label": "no"})
    found = read_window(settings, *PLACE)
    assert found.labels == {"p1": "yes", "p3": 0.0}
    assert [(row["id"], row["label"]) for row in found.labelled] == [("p1", "yes"), ("p3", 0.0)]
    assert found.labelled[0]["inputs"]["age"] == 7
    assert found.corrupt == 0


def test_labels_of_probes_and_of_rows_outside_the_window_do_not_count(settings):
    log(settings, 1, 2, 3, probes=[1])
    feedback(settings, *(label(n, "yes") for n in (1, 2, 3)))
    assert read_window(settings, *PLACE, latest=1).labels == {"p3": "yes"}


def test_of_two_labels_for_a_prediction_the_later_one_counts(settings):
    """Whichever server took it: each has a file of its own, named after the server's start."""
    log(settings, 1, 2, 3)
    feedback(settings, label(1, "no", 10.0), label(1, "yes", 20.0), label(2, "yes", 40.0))
    feedback(settings, label(2, "no", 30.0), label(3, "no", 30.0), file="2-1.jsonl")
    feedback(settings, label(3, "yes", 30.0), file="3-1.jsonl")
    assert read_window(settings, *PLACE).labels == {"p1": "yes", "p2": "yes", "p3": "yes"}


def test_a_corrupt_label_is_counted(settings):
    log(settings, 1)
    feedback(settings, {"id": "p1"}, {"label": "yes"}, {"id": ["p1"], "time": 1, "label": "yes"})
    found = read_window(settings, *PLACE)
    assert (found.labels, found.corrupt) == ({}, 3)
