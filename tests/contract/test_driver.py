"""The driver of rollouts, on fakes of the world and a real ledger: how a release goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from driver_world import PLACE, STEPS, DriverWorld, server, serving_v1

from andon.adapters.step_watch import FIRST_PROBES, SILENT_SECONDS
from andon.errors import GatewayError
from andon.rollout import Phase
from andon.spec import Step
from andon.verdict import Outcome

V1, V2 = server("1"), server("2")


@pytest.fixture
def world(tmp_path_factory) -> Iterator[DriverWorld]:
    with closing(serving_v1(tmp_path_factory)) as made:
        yield made


def outcomes(verdicts) -> dict[str, Outcome]:
    return {it.check: it.outcome for it in verdicts}


def test_the_first_version_gets_all_traffic_in_one_step_and_is_champion(tmp_path):
    world = DriverWorld(tmp_path)
    release, verdicts = world.release("1")
    assert release.rollout.phase is Phase.PROMOTED
    assert world.weights() == [{V1: 100}]
    assert world.champion() == "1"
    assert {"ready", "smoke", "error rate", "latency p95"} <= set(outcomes(verdicts))
    assert set(outcomes(verdicts).values()) == {Outcome.PASS}
    world.close()


def test_a_good_candidate_gets_more_and_more_traffic_then_all_and_the_old_one_stops(world):
    release, _ = world.release("2")
    assert release.rollout.phase is Phase.PROMOTED
    assert world.weights() == [{V1: 100}, {V1: 90, V2: 10}, {V1: 50, V2: 50}, {V2: 100}]
    assert world.end() == ("2", ["1", "2"], None, [V2], ({V2: 100}, V2, [V2]))
    kept = [it.weights for it in world.ledger.transitions(release.seq)]
    assert kept[1:] == [{V1: 90, V2: 10}, {V1: 50, V2: 50}, {V1: 0, V2: 100}, {V2: 100}]


def test_without_live_traffic_probes_make_up_the_requests(world):
    world.busy = False
    release, verdicts = world.release("2")
    assert release.rollout.phase is Phase.PROMOTED
    seen = {it.check: it.n for it in verdicts}
    assert seen["error rate"] >= STEPS[-1].min_requests
    assert seen["smoke"] >= FIRST_PROBES


def test_a_candidate_that_crashes_on_start_never_gets_traffic(world):
    world.target.crashing.add(V2)
    release, _ = world.release("2")
    assert release.rollout.phase is Phase.ROLLED_BACK
    assert "boom" in release.rollout.reason
    assert world.weights() == [{V1: 100}]
    assert world.gateway.counters.get(V2) is None
    assert world.champion() == "1"
    assert world.target.names() == {V1}


@pytest.mark.parametrize("knob", ["refused", "stuck"])
def test_a_candidate_that_does_not_start_is_given_up_after_a_while(world, knob):
    getattr(world.target, knob).add(V2)
    release, _ = world.release("2")
    assert release.rollout.phase is Phase.ROLLED_BACK
    assert "not ready for" in release.rollout.reason
    assert world.weights() == [{V1: 100}]
    assert world.target.names() == {V1}


def test_a_canary_that_fails_is_rolled_back_at_its_first_share(world):
    world.gateway.dead.add(V2)
    release, verdicts = world.release("2")
    assert release.rollout.phase is Phase.ROLLED_BACK
    assert outcomes(verdicts)["error rate"] is Outcome.FAIL
    assert world.weights() == [{V1: 100}, {V1: 90, V2: 10}, {V1: 100}]
    assert world.end() == ("1", ["1"], None, [V1], ({V1: 100}, V1, [V1]))


@pytest.mark.parametrize("seen", ["error rate", "ready"])
def test_a_canary_that_hangs_is_rolled_back_long_before_its_step_ends(world, seen):
    """By its clients' errors; where those are none, by its silence."""
    hung = []

    def hang(name: str) -> None:
        found = world.ledger.unfinished(*PLACE)
        if name == "sleep" and found and found.rollout.phase is Phase.STEPPING and not hung:
            world.target.stuck.add(V2)
            world.target.kill(V2)
            if seen == "error rate":
                world.gateway.dead.add(V2)
            hung.append(world.clock.now)

    world.tap = hang
    release, verdicts = world.release("2", steps=[Step(weight=10, seconds=3_600), STEPS[-1]])
    assert release.rollout.phase is Phase.ROLLED_BACK
    failed = [it.check for it in verdicts if it.outcome is Outcome.FAIL]
    assert failed == [seen]
    assert world.clock.now - hung[0] < 2 * SILENT_SECONDS
    assert world.end() == ("1", ["1"], None, [V1], ({V1: 100}, V1, [V1]))


def test_a_canary_that_is_slow_is_rolled_back(world):
    world.gateway.seconds[V2] = 1.0
    release, verdicts = world.release("2")
    assert release.rollout.phase is Phase.ROLLED_BACK
    assert outcomes(verdicts)["latency p95"] is Outcome.FAIL
    assert {V1: 50, V2: 50} not in world.weights()


def test_a_gateway_that_cannot_be_read_is_inconclusive_and_rolled_back_after_the_deadline(world):
    def unreadable():
        raise GatewayError("no counters")

    world.gateway.traffic = unreadable
    began = world.clock.now
    release, verdicts = world.release("2", inconclusive_seconds=10.0)
    assert release.rollout.phase is Phase.ROLLED_BACK
    assert "inconclusive for" in release.rollout.reason
    assert outcomes(verdicts)["error rate"] is Outcome.INCONCLUSIVE
    assert world.clock.now - began >= 10.0
    assert world.weights()[-1] == {V1: 100}
    assert world.target.names() == {V1}


def test_a_gateway_that_is_away_for_a_moment_stops_nothing(world):
    world.tap = world.at(40, lambda: setattr(world.gateway, "down", True))
    back = world.at(60, world.gateway.restart)
    away, world.tap = world.tap, lambda name: (away(name), back(name))
    release, _ = world.release("2")
    assert release.rollout.phase is Phase.PROMOTED


def test_counters_that_begin_at_0_again_are_counted_from_0(world):
    """A restarted gateway: what it forgot must not look like too few requests for ever."""
    world.gateway.counters[V2] = world.gateway.counters[V1]
    for _ in range(5_000):
        world.gateway.send(*PLACE)
    world.gateway.counters[V2] = world.gateway.counters[V1]
    forgotten = []

    def restart(name: str) -> None:
        if name == "probe" and not forgotten:
            forgotten.append(name)
            world.gateway.restart()

    world.tap, world.busy = restart, False
    release, _ = world.release("2")
    assert forgotten
    assert release.rollout.phase is Phase.PROMOTED


def test_a_champion_that_is_released_again_stays_as_it_is(world):
    before = len(world.ledger.releases("churn"))
    world.driver().restore(*PLACE)
    release, verdicts = world.release("1", run_id="another run")
    assert (release.version, verdicts) == ("1", [])
    assert len(world.ledger.releases("churn")) == before


def test_another_run_may_try_a_version_again_that_was_rolled_back(world):
    world.gateway.dead.add(V2)
    world.release("2")
    world.gateway.dead.clear()
    again, _ = world.release("2")
    assert again.rollout.phase is Phase.ROLLED_BACK, "the same run only says how it ended"
    another, _ = world.release("2", run_id="another run")
    assert another.rollout.phase is Phase.PROMOTED
