"""What people say to a release in progress, and what is kept for them after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any

import pytest
from driver_world import AT_ONCE, PLACE, STEPS, DriverWorld, server, serving_v1, untapped

from andon.adapters.ledger import Release, lock
from andon.errors import Overtaken
from andon.rollout import Phase, Rollout, abort, answer, pause, proceed
from andon.spec import Approval, Mirror, Step

V1, V2, V3 = server("1"), server("2"), server("3")
APPROVAL = Approval(approve="managers", within=600)
ASKS = (STEPS[0], APPROVAL, STEPS[-1])


@pytest.fixture
def world(tmp_path_factory) -> Iterator[DriverWorld]:
    with closing(serving_v1(tmp_path_factory)) as made:
        yield made


def say(
    world: DriverWorld, when: str, change: Callable[[Rollout, float], Rollout]
) -> list[Release]:
    """From now on: the first time that a driver sleeps in this state, somebody says this."""
    said: list[Release] = []

    def tap(name: str) -> None:
        found = world.ledger.unfinished(*PLACE)
        if name == "sleep" and not said and found and f"{found.rollout}" == when:
            done = world.plain_driver().command(*PLACE, change)
            assert done is not None
            said.append(done)

    world.tap = tap
    return said


def reasons(world: DriverWorld, release: Release) -> list[str]:
    return [it.what for it in world.ledger.transitions(release.seq)]


def test_an_abort_brings_the_champion_back_and_says_who(world):
    said = say(world, "step 2/3 at 50 %", partial(abort, reason="aborted by ada"))
    release, _ = world.release("2")
    assert said
    assert (release.rollout.phase, release.rollout.reason) == (Phase.ROLLED_BACK, "aborted by ada")
    assert world.end() == ("1", ["1"], None, [V1], ({V1: 100}, V1, [V1]))


def test_a_pause_holds_the_split_until_somebody_says_to_go_on(world):
    began: list[float] = []

    def tap(name: str) -> None:
        found = world.ledger.unfinished(*PLACE)
        if name != "sleep" or found is None:
            return
        driver = world.plain_driver()
        if f"{found.rollout}" == "step 1/3 at 10 %" and not began:
            driver.command(*PLACE, partial(pause, reason="paused by ada"))
            began.append(world.clock.now)
        elif found.rollout.phase is Phase.PAUSED and world.clock.now > began[0] + 100:
            assert world.gateway.route(*PLACE).weights == {V1: 90, V2: 10}
            driver.command(*PLACE, partial(proceed, reason="resumed by bob"))

    world.tap = tap
    release, _ = world.release("2")
    assert release.rollout.phase is Phase.PROMOTED
    assert world.clock.now > began[0] + 100
    told = reasons(world, release)
    assert "step 1/3 at 10 %, paused: paused by ada" in told
    assert "step 1/3 at 10 %: resumed by bob" in told


@pytest.mark.parametrize("state", ["step 1/3 at 10 %, paused", "step 2/3 waits for managers"])
def test_a_candidate_that_fails_while_a_person_is_waited_for_is_rolled_back(world, state):
    def tap(name: str) -> None:
        found = world.ledger.unfinished(*PLACE)
        if name != "sleep" or found is None:
            return
        if "paused" in state and f"{found.rollout}" == "step 1/3 at 10 %":
            world.plain_driver().command(*PLACE, partial(pause, reason="paused by ada"))
        if f"{found.rollout}" == state:
            world.target.dead.add(V2)

    world.tap = tap
    release, _ = world.release("2", steps=ASKS)
    assert release.rollout.phase is Phase.ROLLED_BACK
    assert "signal 9" in release.rollout.reason
    assert world.end() == ("1", ["1"], None, [V1], ({V1: 100}, V1, [V1]))


def waiting(world: DriverWorld, **changes: Any) -> Release:
    """A release whose run has gone away to wait for a person."""
    order = world.order("2", steps=ASKS, **changes)
    release, _ = world.driver().release(world.candidate("2"), order, leave_at_approval=True)
    assert release.rollout.approval == APPROVAL
    return release


def test_who_asks_a_person_goes_away_and_another_watches_and_carries_on(world):
    left = waiting(world)
    assert world.gateway.route(*PLACE).weights == {V1: 90, V2: 10}
    said = say(world, "step 2/3 waits for managers", partial(answer, approved=True, by="ada"))
    release, _ = world.driver().carry_on(*PLACE)
    assert said
    assert (release.seq, release.run_id) == (left.seq, left.run_id)
    assert release.rollout.phase is Phase.PROMOTED
    (given,) = release.rollout.answers
    assert (given.by, given.approved, given.step) == ("ada", True, 1)
    assert "step 3/3 at 100 %: approved by ada" in reasons(world, release)
    world.tap = untapped
    again, _ = world.release("2", steps=ASKS)
    assert again == release, "its own run comes back, and is told how it ended"


def test_nobody_carries_on_what_somebody_is_at_or_what_is_not_there(world):
    assert world.driver().carry_on(*PLACE) is None
    waiting(world)
    with lock(world.ledger, "release/production/churn"):
        assert world.driver().carry_on(*PLACE) is None
        assert world.driver().restore(*PLACE) == "a release is at work"


def test_a_release_that_waits_for_a_person_is_not_abandoned(world):
    waiting(world)
    world.clock.now += 86_400
    assert world.driver().restore(*PLACE) == "v2: step 2/3 waits for managers"
    release, _ = world.driver().carry_on(*PLACE)
    assert release.rollout.reason == "no answer of managers within 600 s"


def test_a_newer_version_waits_until_the_person_has_answered(world):
    waiting(world)
    say(world, "step 2/3 waits for managers", partial(answer, approved=True, by="ada"))
    release, _ = world.release("3")
    assert release.rollout.phase is Phase.PROMOTED
    assert world.end()[:2] == ("3", ["1", "2", "3"])


def test_a_newer_version_that_supersedes_ends_it(world):
    left = waiting(world)
    release, _ = world.release("3", newer="supersede")
    assert release.rollout.phase is Phase.PROMOTED
    ended = world.ledger.release(left.seq)
    assert ended.rollout.reason == "superseded by version 3"
    assert world.end()[:2] == ("3", ["1", "3"])


def test_a_run_that_was_superseded_and_comes_back_ends_nobody(world):
    waiting(world, newer="supersede")
    newest = world.order("3", steps=ASKS, newer="supersede")
    left, _ = world.driver().release(world.candidate("3"), newest, leave_at_approval=True)
    ended, _ = world.ledger.releases("churn", limit=2)[::-1]
    assert (ended.version, ended.rollout.reason) == ("2", "superseded by version 3")
    with lock(world.ledger, "release/production/churn"), pytest.raises(Waits):
        world.driver().release(
            world.candidate("2"), world.order("2", newer="supersede"), waiting=wait
        )
    assert world.ledger.unfinished(*PLACE).revision == left.revision


def test_an_older_version_that_comes_late_supersedes_nothing(world):
    newest = world.order("3", steps=ASKS)
    left, _ = world.driver().release(world.candidate("3"), newest, leave_at_approval=True)
    with lock(world.ledger, "release/production/churn"), pytest.raises(Waits):
        world.driver().release(
            world.candidate("2"), world.order("2", newer="supersede"), waiting=wait
        )
    assert world.ledger.unfinished(*PLACE).revision == left.revision


class Waits(Exception):
    pass


def wait() -> None:
    raise Waits


def test_of_a_first_version_that_is_aborted_nothing_is_left(tmp_path):
    with closing(DriverWorld(tmp_path)) as world:
        order = world.order("1", steps=(STEPS[-1], APPROVAL, STEPS[-1]))
        world.driver().release(world.candidate("1"), order, leave_at_approval=True)
        world.driver().command(*PLACE, partial(abort, reason="no"))
        world.driver().restore(*PLACE)
        assert world.target.names() == set()
        assert world.gateway.route(*PLACE) is None


def test_a_word_that_does_not_apply_changes_nothing(world):
    driver = world.plain_driver()
    assert driver.command(*PLACE, partial(abort, reason="x")) is None
    left = waiting(world)
    assert driver.command(*PLACE, partial(proceed, reason="x")) is None
    assert driver.command(*PLACE, partial(pause, reason="x")) is None
    assert world.ledger.release(left.seq) == left


def test_who_was_compared_with_another_champion_has_to_be_compared_anew(world):
    with pytest.raises(Overtaken, match="compared with champion none, and it is v1 now"):
        world.release("2", against="")
    assert world.ledger.unfinished(*PLACE) is None
    release, _ = world.release("2", against="1")
    assert release.rollout.phase is Phase.PROMOTED


def test_a_shadow_gets_copies_and_the_champion_stays(world):
    release, _ = world.release("2", strategy="shadow_only", steps=(Mirror(mirror=100, seconds=1),))
    assert release.rollout.phase is Phase.SHADOWED
    assert [it.mirrors for it in world.gateway.applied if it.mirrors] == [{V2: 100}]
    assert world.end() == ("1", ["1"], None, [V1], ({V1: 100}, V1, [V1]))


def test_a_first_version_has_nobody_to_shadow(tmp_path):
    with closing(DriverWorld(tmp_path)) as world:
        plan = {"strategy": "shadow_only", "steps": (Mirror(mirror=100), APPROVAL)}
        said = say(world, "step 1/2 waits for managers", partial(answer, approved=True, by="ada"))
        release, _ = world.release("1", **plan)
        assert said
        assert release.rollout.phase is Phase.PROMOTED
        assert world.weights() == [{V1: 100}]


def test_the_one_before_stays_warm_and_returns_without_a_start(world):
    world.release("2", keep_warm=60)
    assert world.target.names() == {V1, V2}
    assert world.gateway.route(*PLACE).weights == {V2: 100, V1: 0}
    world.target.calls.clear()
    world.release("1", kind="rollback", steps=AT_ONCE, run_id="back")
    assert world.champion() == "1"
    assert ("stop", V1) not in world.target.calls
    assert world.end() == ("1", ["1", "1", "2"], None, [V1], ({V1: 100}, V1, [V1]))


def test_the_one_before_is_let_go_in_time(world):
    release, _ = world.release("2", keep_warm=60)
    ended = world.ledger.release(release.seq).ended_at
    world.clock.now += 61
    assert world.driver().restore(*PLACE) == "v2: promoted"
    assert world.target.names() == {V2}
    assert world.ledger.release(release.seq).ended_at == ended
    assert world.champion() == "2"


def test_a_warm_one_that_cannot_be_started_keeps_nobody_waiting(world):
    world.release("2", keep_warm=60)
    world.target.stop(V1)
    world.target.refused.add(V1)
    told = world.plain_driver().restore(*PLACE)
    assert told == f"v2: promoted; mended: {V1} was absent"
    assert world.gateway.route(*PLACE).weights == {V2: 100}


def test_a_version_that_served_a_moment_ago_repeats_no_steps(world):
    world.release("2")
    world.release("1", kind="rollback", steps=AT_ONCE, run_id="back")
    world.gateway.applied.clear()
    again, _ = world.release("2", rollback_window=60, run_id="again")
    assert len(again.rollout.steps) == 1
    world.release("1", kind="rollback", steps=AT_ONCE, run_id="back again")
    world.clock.now += 61
    late, _ = world.release("2", rollback_window=60, run_id="late")
    assert late.rollout.steps == STEPS


def test_a_route_that_somebody_edited_is_mended_and_told(world):
    world.gateway.edited["production--churn"] = ["dyn/production--churn.yml: edited by hand"]
    told = world.driver().restore(*PLACE)
    assert told == "v1: promoted; mended: dyn/production--churn.yml: edited by hand"
    assert world.driver().restore(*PLACE) == "v1: promoted"


def test_weights_of_a_bake_go_back_at_once_if_it_fails(world):
    steps = (Step(weight=100, seconds=60, min_requests=20),)
    say_dead = [False]

    def tap(name: str) -> None:
        found = world.ledger.unfinished(*PLACE)
        if name == "sleep" and found and found.rollout.step == 0 and found.rollout.current:
            say_dead[0] = True
            world.target.dead.add(V2)

    world.tap = tap
    release, _ = world.release("2", steps=steps)
    assert say_dead[0]
    assert release.rollout.phase is Phase.ROLLED_BACK
    assert world.weights() == [{V1: 100}, {V2: 100}, {V1: 100}]
    assert ("stop", V1) not in world.target.calls, "the old colour was kept warm"
