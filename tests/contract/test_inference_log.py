"""The inference log as it is found: written by servers that may die, and by several at once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from andon.adapters.inference_log import Window, read_window
from andon.settings import Settings
from serving.log import Log

PLACE = ("production", "churn")


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(project=tmp_path)


def prediction(n: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": f"p{n}", "time": 1_000.0 + n, "model": "churn", "version": "1",
        "environment": "production", "inputs": {"age": n}, "outputs": {"value": 0.5},
        "latency_ms": 1.0, "probe": False, **changes,
    }  # fmt: skip


def lines(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def log(settings: Settings, content: bytes, version: str = "1", file: str = "1-1.jsonl") -> Path:
    path = settings.inference_log.joinpath(*PLACE, version, file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


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
    first, second = (
        Log(settings.inference_log.joinpath(*PLACE, version)) for version in ("1", "2")
    )
    for n in (0, 2):
        first.put([lines(prediction(n))])
        second.put([lines(prediction(n + 1, version="2"))])
    first.close()
    second.close()
    found = read_window(settings, *PLACE)
    assert ids(found) == ["p0", "p1", "p2", "p3"]
    assert found.span == (1_000.0, 1_003.0)
    assert ids(read_window(settings, *PLACE, version="2")) == ["p1", "p3"]
    assert ids(read_window(settings, "staging", "churn")) == []


@pytest.mark.parametrize(
    "broken",
    [
        b"not json\n", b"\n", b'{"id": "x"\n', b"[1]\n", b"{}\n", b'{"id": "\xff\xfe"}\n',
        b"\x00" * 512 + b"\n", b'{"id": "x", "time": 1e999}\n', lines(prediction(9, time="now")),
        lines(prediction(9, id=9)), lines(prediction(9, inputs=None)),
        lines({"id": "p9", "time": 1_009.0, "inputs": {}}),
    ],
)  # fmt: skip
def test_a_corrupt_line_is_counted_and_the_others_are_read(settings, broken):
    log(settings, lines(prediction(1)) + broken + lines(prediction(2)))
    found = read_window(settings, *PLACE)
    assert ids(found) == ["p1", "p2"]
    assert found.corrupt == 1


@pytest.mark.parametrize("length", [1, 20, -1])
def test_a_half_written_last_line_is_left_for_later(settings, length):
    """Its server is still at it, or was killed: neither is damage."""
    half = lines(prediction(2))[:length]
    path = log(settings, lines(prediction(1)) + half)
    found = read_window(settings, *PLACE)
    assert (ids(found), found.corrupt) == (["p1"], 0)
    with path.open("ab") as file:
        file.write(lines(prediction(2))[length:])
    assert ids(read_window(settings, *PLACE)) == ["p1", "p2"]


def test_probes_are_left_out(settings):
    log(settings, lines(prediction(1, probe=True), prediction(2), prediction(3, probe=True)))
    found = read_window(settings, *PLACE)
    assert (ids(found), found.corrupt) == (["p2"], 0)


def test_the_latest_rows_and_the_rows_since_a_time(settings):
    log(settings, lines(*(prediction(n) for n in (4, 1, 3, 0, 2))))
    assert ids(read_window(settings, *PLACE, latest=2)) == ["p3", "p4"]
    assert ids(read_window(settings, *PLACE, latest=9)) == ["p0", "p1", "p2", "p3", "p4"]
    assert ids(read_window(settings, *PLACE, latest=0)) == []
    assert ids(read_window(settings, *PLACE, since=1_002.0)) == ["p2", "p3", "p4"]
    assert ids(read_window(settings, *PLACE, since=1_002.0, latest=1)) == ["p4"]


def test_a_file_that_ended_before_the_window_is_not_even_opened(settings):
    old = log(settings, b"not json\n", file="1-1.jsonl")
    os.utime(old, (1_000, 1_000))
    log(settings, lines(prediction(5)), file="2-1.jsonl")
    found = read_window(settings, *PLACE, since=1_001.0)
    assert (ids(found), found.corrupt) == (["p5"], 0)


def test_labels_join_their_predictions_and_unknown_ids_are_left_alone(settings):
    log(settings, lines(prediction(1), prediction(2), prediction(3)))
    feedback(settings, label(1, "yes"), label(3, 0.0), {"id": "?", "time": 1.0, "label": "no"})
    found = read_window(settings, *PLACE)
    assert found.labels == {"p1": "yes", "p3": 0.0}
    assert [(row["id"], row["label"]) for row in found.labelled] == [("p1", "yes"), ("p3", 0.0)]
    assert found.labelled[0]["inputs"] == {"age": 1}
    assert found.corrupt == 0


def test_labels_of_probes_and_of_rows_outside_the_window_do_not_count(settings):
    log(settings, lines(prediction(1, probe=True), prediction(2), prediction(3)))
    feedback(settings, *(label(n, "yes") for n in (1, 2, 3)))
    assert read_window(settings, *PLACE, latest=1).labels == {"p3": "yes"}


def test_of_two_labels_for_a_prediction_the_later_one_counts(settings):
    """Whichever server took it: each has a file of its own, named after the server's start."""
    log(settings, lines(prediction(1), prediction(2), prediction(3)))
    feedback(settings, label(1, "no", 10.0), label(1, "yes", 20.0), label(2, "yes", 40.0))
    feedback(settings, label(2, "no", 30.0), label(3, "no", 30.0), file="2-1.jsonl")
    feedback(settings, label(3, "yes", 30.0), file="3-1.jsonl")
    assert read_window(settings, *PLACE).labels == {"p1": "yes", "p2": "yes", "p3": "yes"}


def test_a_corrupt_label_is_counted(settings):
    log(settings, lines(prediction(1)))
    feedback(settings, {"id": "p1"}, {"label": "yes"}, {"id": ["p1"], "time": 1, "label": "yes"})
    found = read_window(settings, *PLACE)
    assert (found.labels, found.corrupt) == ({}, 3)
