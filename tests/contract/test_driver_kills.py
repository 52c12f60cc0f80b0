"""Releases that are killed, interrupted or overtaken, and a world that got out of step."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from driver_world import AT_ONCE, PLACE, DriverWorld, Killed, kill, server, serving_v1, untapped
from support import wait_until

from andon.adapters.driver import ABANDONED_SECONDS
from andon.errors import GatewayError, LineError, Overtaken
from andon.ports import ServerSpec
from andon.rollout import Phase

V1, V2, V3 = server("1"), server("2"), server("3")


@pytest.fixture
def world(tmp_path_factory) -> Iterator[DriverWorld]:
    with closing(serving_v1(tmp_path_factory)) as made:
        yield made


SCENARIOS = {
    "promoted": (lambda world: None, lambda world: world.release("2")),
    "crashing": (lambda world: world.target.crashing.add(V2), lambda world: world.release("2")),
    "failing": (lambda world: world.gateway.dead.add(V2), lambda world: world.release("2")),
    "rollback": (
        lambda world: world.release("2"),
        lambda world: world.release("1", kind="rollback", steps=AT_ONCE, run_id="back"),
    ),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_any_call_and_run_again_it_comes_to_the_same_end(tmp_path_factory, scenario):
    prepare, run = SCENARIOS[scenario]

    def attempt(n: int) -> tuple[DriverWorld, bool]:
        world = serving_v1(tmp_path_factory)
        prepare(world)
        world.tap = world.at(n, kill)
        try:
            run(world)
        except Killed:
            return world, True
        return world, False

    undisturbed, _ = attempt(0)
    n, killed = 0, True
    while killed:
        n += 1
        world, killed = attempt(n)
        world.tap = untapped
        world.clock.now += 3_600  # nobody noticed for an hour
        run(world)
        assert world.end() == undisturbed.end(), f"killed before call {n}"
        world.check()
        assert len(world.ledger.releases("churn")) == len(undisturbed.ledger.releases("churn"))
        if scenario == "crashing":
            assert world.gateway.counters.get(V2) is None, f"killed before call {n}"
        world.close()
    assert n > 20, "the tap taps nothing"
    undisturbed.close()


def test_a_run_killed_again_and_again_gets_there_in_the_end(world):
    for n in range(5, 100):
        world.tap = world.at(n, kill)
        try:
            world.release("2")
            break
        except Killed:
            continue
    assert world.end() == ("2", ["1", "2"], None, [V2], ({V2: 100}, V2, [V2]))


def test_a_rollback_interrupts_a_release_whose_driver_then_stops(world):
    world.release("2")
    threads, failures = [], []

    def roll_back() -> None:
        try:
            world.release("1", kind="rollback", steps=AT_ONCE, run_id="back")
        except BaseException as error:
            failures.append(error)

    def ask(name: str) -> None:
        unfinished = world.ledger.unfinished(*PLACE)
        if name == "sleep" and not threads and unfinished and unfinished.rollout.step == 1:
            threads.append(threading.Thread(target=roll_back))
            threads[0].start()
            wait_until(lambda: world.ledger.unfinished(*PLACE) is None, 30, "the release ends")

    world.tap = ask
    release, _ = world.release("3")
    assert release.rollout.phase is Phase.ROLLED_BACK
    assert release.rollout.reason == "a rollback was asked for"
    threads[0].join(60)
    assert failures == []
    assert world.end() == ("1", ["1", "1", "2"], None, [V1], ({V1: 100}, V1, [V1]))


def test_a_rollback_wins_though_the_release_takes_a_step_at_the_same_moment(world):
    """Between the rollback's look at the ledger and its word in it."""
    killed_while_stepping(world, "2")
    stepped = []

    def step(name: str) -> None:
        if name == "save_release" and not stepped:
            found = world.ledger.unfinished(*PLACE)
            stepped.append(world.ledger.save_release(found, found.rollout))

    world.tap = step
    release, _ = world.release("1", kind="rollback", steps=AT_ONCE, run_id="back")
    assert stepped
    assert release.version == "1"
    assert world.end() == ("1", ["1"], None, [V1], ({V1: 100}, V1, [V1]))


def killed_while_stepping(world: DriverWorld, version: str) -> None:
    def tap(name: str) -> None:
        found = world.ledger.unfinished(*PLACE)
        if name == "sleep" and found and found.rollout.phase is Phase.STEPPING:
            raise Killed

    world.tap = tap
    with pytest.raises(Killed):
        world.release(version)
    world.tap = untapped


def test_a_newer_candidate_ends_what_a_killed_run_left_behind(world):
    killed_while_stepping(world, "2")
    release, _ = world.release("3")
    assert release.rollout.phase is Phase.PROMOTED
    assert world.end() == ("3", ["1", "3"], None, [V3], ({V3: 100}, V3, [V3]))
    left = world.ledger.releases("churn")[1]
    assert (left.version, left.rollout.reason) == ("2", "superseded by version 3")


def test_a_second_driver_of_one_release_has_to_stop(world):
    """Its lock got lost with its connection; who took over has written so."""
    taken = []

    def take_over(name: str) -> None:
        found = world.ledger.unfinished(*PLACE)
        if name == "sleep" and found and found.rollout.step == 1 and not taken:
            taken.append(world.ledger.save_release(found, found.rollout))
            world.gateway.traffic = unreadable  # nothing to write to the ledger for a while
            taken.append(world.clock.now)

    world.tap = take_over
    with pytest.raises(Overtaken, match="changed by another run"):
        world.release("2", inconclusive_seconds=60.0)
    assert world.ledger.unfinished(*PLACE).revision == taken[0].revision
    assert world.clock.now < taken[1] + 1.0, "it went on for a while"
    world.check()


def unreadable() -> None:
    raise GatewayError("no counters")


def test_restore_brings_back_a_route_and_a_server_that_got_lost(world, tmp_path):
    end = world.end()
    world.target.stop(V1)
    world.target.start(ServerSpec(*PLACE, "7", tmp_path, "of a stray"))
    world.gateway.remove(*PLACE)
    world.gateway.applied.clear()
    assert world.driver().restore(*PLACE) == "v1: promoted; mended: production-churn-v1 was absent"
    assert world.end() == end


def test_restore_in_the_middle_of_a_release_keeps_its_split(world):
    killed_while_stepping(world, "2")
    route = world.gateway.route(*PLACE)
    world.target.stop(V1)
    world.gateway.remove(*PLACE)
    world.gateway.applied.clear()
    mended = "mended: production-churn-v1 was absent"
    assert world.driver().restore(*PLACE) == f"v2: step 1/3 at 10 %; {mended}"
    assert world.gateway.route(*PLACE) == route
    assert world.target.names() == {V1, V2}


def test_restore_serves_the_champion_though_the_candidate_cannot_be_started(world):
    world.tap = world.at(8, kill)
    with pytest.raises(Killed):
        world.release("2")
    assert world.ledger.unfinished(*PLACE).rollout.phase is Phase.STARTING
    world.tap = untapped
    world.target.stop(V1)
    world.gateway.remove(*PLACE)
    world.gateway.applied.clear()
    world.target.refused.add(V2)
    with pytest.raises(LineError):
        world.driver().restore(*PLACE)
    assert world.gateway.route(*PLACE).weights == {V1: 100}


def test_restore_where_nothing_was_released_says_so(world):
    assert world.driver().restore("staging", "churn") == "nothing released"


def test_a_release_that_nobody_drives_is_rolled_back(world):
    killed_while_stepping(world, "2")
    world.clock.now += ABANDONED_SECONDS + 1
    assert world.driver().restore(*PLACE) == "v1: promoted"
    assert world.gateway.route(*PLACE).weights == {V1: 100}
    assert "abandoned" in world.ledger.releases("churn")[0].rollout.reason
