"""Labels as they come: late, twice, contradictory, for nobody, and at times that cannot be."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from andon.adapters.labelled import Wanted, labelled
from andon.settings import Settings
from serving.bundle import Column, Manifest
from serving.engines.base import Scored
from serving.segments import Segments

PLACE = ("production", "churn")
NOW = 10_000.0
WANTED = Wanted("1", 0.0, NOW, "score", live={"1": [(0.0, np.inf)]})


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(project=tmp_path)


def id_of(n: int) -> str:
    """As a server makes it: it begins with the milliseconds."""
    return f"{(1_000 + n) * 1000:012x}{n:020x}"


def asked(settings: Settings, *numbers: int, version: str = "1", probe: bool = False) -> None:
    """Prediction n came at 1000 + n seconds, with the score n / 1000."""
    manifest = Manifest("churn", version, "binary", "y", "b", ["no", "yes"])
    folder = settings.inference_log.joinpath(*PLACE, version)
    segments = Segments(folder, [Column("fee", "number")], manifest, environment="production")
    for n in numbers:
        said = Scored([0], [[1 - n / 1000, n / 1000]])
        segments.put([id_of(n)], 1_000.0 + n, 1.0, probe, [(0.5,)], said)
    segments.close()


def label(
    settings: Settings, n: int | str, value: Any, at: float = 5_000.0, more: str = ""
) -> None:
    folder = settings.feedback_log.joinpath(*PLACE)
    folder.mkdir(parents=True, exist_ok=True)
    id_ = n if isinstance(n, str) else id_of(n)
    with (folder / "0.jsonl").open("a") as file:
        file.write(more or json.dumps({"id": id_, "time": at, "label": value}) + "\n")


def read(settings: Settings, **changes: Any):
    return labelled(settings, *PLACE, Wanted(**{**WANTED.__dict__, **changes}))


def test_rows_come_in_the_order_of_their_labels(settings):
    asked(settings, *range(5))
    for n, at in ((3, 2_000.0), (1, 2_500.0), (4, 3_000.0)):
        label(settings, n, "yes", at)
    found = read(settings)
    assert found.asked.tolist() == [1_003.0, 1_001.0, 1_004.0]
    assert found.said == pytest.approx([0.003, 0.001, 0.004])
    assert found.label == ["yes"] * 3
    assert (found.arrived.mature, found.arrived.labelled) == (5, 3)
    assert found.arrived.delay(0.5) == pytest.approx(1_499.0)
    assert found.span == (1_000.0, 1_004.0)


def test_young_predictions_wait_and_change_nothing_that_was_judged(settings):
    asked(settings, *range(100))
    for n in range(0, 100, 2):
        label(settings, n, "no", 1_200.0 - n)
    early = read(settings, now=1_250.0, maturity=200.0)
    late = read(settings, now=1_290.0, maturity=200.0)
    assert len(early.label) == 26
    assert early.arrived.waiting == 24
    assert late.asked[:26].tolist() == early.asked.tolist()
    assert len(late.label) == 46


def test_the_same_label_twice_counts_once_and_of_two_the_later_one_counts(settings):
    asked(settings, 1, 2, 3)
    for n, value, at in (
        (1, "no", 2_000.0),
        (1, "no", 2_100.0),
        (2, "no", 3_000.0),
        (2, "yes", 2_900.0),
    ):
        label(settings, n, value, at)
    label(settings, 3, True, 2_000.0)
    label(settings, 3, 1, 2_500.0)
    found = read(settings)
    assert found.label == ["no", 1, "no"]
    assert (found.arrived.twice, found.arrived.changed, found.arrived.labelled) == (1, 2, 3)


def test_labels_for_nobody_are_told_where_it_is_sure(settings):
    asked(settings, 1)
    asked(settings, 2, probe=True)
    label(settings, 1, "no")
    label(settings, 50, "no")
    label(settings, "not one of ours", "no")
    assert read(settings).arrived.unknown == 1
    both = {"1": [(0.0, np.inf)], "2": [(0.0, 2_000.0)]}
    assert read(settings, live=both).arrived.unknown == 0, "it may be that of version 2"
    later = {"1": [(0.0, 1_010.0)], "2": [(1_010.0, np.inf)]}
    assert read(settings, live=later).arrived.unknown == 0, "it was not asked then"


def test_times_that_cannot_be_are_told_and_the_labels_count(settings):
    asked(settings, 1, 2)
    label(settings, 1, "no", 10.0)
    label(settings, 2, "yes", NOW + 500)
    found = read(settings)
    assert (found.label, found.arrived.skewed) == (["no", "yes"], 2)
    assert 0 <= found.arrived.delay(0) <= found.arrived.delay(1) <= NOW


@pytest.mark.parametrize(
    "line",
    ["{\n", "[]\n", '{"id": 1, "time": 2, "label": 3}\n', '{"id": "a", "time": 2}\n', "\xff\n"],
)
def test_broken_lines_are_counted(settings, line):
    asked(settings, 1)
    label(settings, 1, "no")
    label(settings, 1, "", more=line)
    found = read(settings)
    assert (found.label, found.arrived.corrupt) == (["no"], 1)


def test_without_predictions_or_labels_there_is_nothing(settings):
    assert read(settings).label == []
    label(settings, 1, "no")
    assert read(settings).label == []
    asked(settings, 7)
    found = read(settings, key="label")
    assert (found.label, found.arrived.mature, found.arrived.coverage) == ([], 1, 0.0)


def test_what_was_answered_to_copies_does_not_count(settings):
    asked(settings, 1, 2, 3)
    for n in (1, 2, 3):
        label(settings, n, "no")
    assert read(settings, live={"1": [(1_002.0, 1_003.0)]}).asked.tolist() == [1_002.0]
