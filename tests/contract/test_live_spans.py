"""Answers to copies of requests are nobody's answers: who reads live traffic leaves them out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from math import inf

import pytest
from driver_world import PLACE, DriverWorld, serving_v1
from watch_kit import COLUMNS

from andon.adapters.inference_log import read_window
from andon.rollout import Phase
from andon.spec import Mirror, Step
from serving.bundle import Manifest
from serving.engines.base import Scored
from serving.segments import Segments


@pytest.fixture
def world(tmp_path_factory) -> Iterator[DriverWorld]:
    with closing(serving_v1(tmp_path_factory)) as made:
        yield made


def times(world: DriverWorld, seq: int) -> list[float]:
    return [it.at for it in world.ledger.transitions(seq)]


def test_a_version_is_live_while_it_has_a_share_of_the_traffic(world):
    steps = (
        Mirror(mirror=100, seconds=5, min_requests=0, gate=()),
        Step(weight=50, seconds=5, min_requests=0, gate=()),
        Step(weight=0, seconds=5, min_requests=0, gate=()),
        Step(weight=100, seconds=5, min_requests=0, gate=()),
    )
    release, _ = world.release("2", steps=steps)
    assert release.rollout.phase is Phase.PROMOTED
    _, _, half, none, whole, ended = times(world, release.seq)
    found = world.ledger.live_spans(*PLACE)
    assert found["2"] == [(half, none), (whole, inf)]
    assert [end for _, end in found["1"]] == [whole]
    assert ended > whole
    assert world.ledger.live_spans(*PLACE, since=whole) == {"2": [(whole, inf)]}
    assert world.ledger.live_spans("staging", "churn") == {}


def test_one_that_was_rolled_back_is_live_no_more_and_the_other_always_was(world):
    world.gateway.dead.add("production-churn-v2")
    release, _ = world.release("2")
    _, first, back = times(world, release.seq)
    found = world.ledger.live_spans(*PLACE)
    assert found["2"] == [(first, back)]
    ((begin, end),) = found["1"]
    assert begin < first
    assert end == inf


def test_a_window_leaves_out_what_was_logged_outside_of_the_spans(world):
    for version, n in (("1", 8), ("2", 8)):
        manifest = Manifest("churn", version, "regression", "y", "b")
        folder = world.settings.inference_log.joinpath(*PLACE, version)
        segments = Segments(folder, COLUMNS, manifest, environment="production")
        for i in range(n):
            ids, row = [f"v{version}-{i}"], (i, "Bern", None)
            segments.put(ids, 1_000.0 + i, 1.0, False, [row], Scored([], [[0.5]]))
        segments.close()
    live = {"1": [(0.0, 1_002.0), (1_007.0, inf)], "2": [(1_005.0, 1_007.0)]}

    def ids(**given) -> list[str]:
        return [it["id"] for it in read_window(world.settings, *PLACE, **given).rows]

    assert ids(live=live) == ["v1-0", "v1-1", "v2-5", "v2-6", "v1-7"]
    assert ids(live=live, latest=2) == ["v2-6", "v1-7"]
    assert ids(live=live, latest=3, version="1") == ["v1-0", "v1-1", "v1-7"]
    assert ids(live={}) == []
    assert len(ids()) == 16
