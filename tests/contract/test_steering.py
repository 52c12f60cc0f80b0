"""Rollback, abort, pause, resume and approve: at once, in the caller's process."""

from __future__ import annotations

import shutil
from contextlib import closing

import pytest
from driver_world import PLACE, STEPS, DriverWorld, server
from steering_desk import Desk

from andon.adapters.driver import AT_WORK
from andon.adapters.ledger import lock
from andon.errors import LineError
from andon.rollout import Phase
from andon.spec import Approval
from deployments import steering

V1, V2, V3 = server("1"), server("2"), server("3")
FIRST, SECOND = "step 1/3 at 10 %", "step 2/3 at 50 %"
ASKS = (STEPS[0], Approval(approve="managers", within=600), STEPS[-1])
WAITS = "step 2/3 waits for managers"


def runs(desk: Desk) -> list[tuple[str, str, str | None]]:
    return [(it.flow, it.trigger, it.outcome) for it in desk.world.ledger.runs("churn")]


def test_a_rollback_returns_to_a_warm_version_and_is_a_run_on_the_ledger(desk):
    desk.deliver("2", keep_warm=600)
    starts = desk.world.target.calls.count(("start", V1))
    said = desk.rollback()
    assert "v2 → v1, which runs" in said
    assert "v1 has all the traffic, confirmed by the gateway after" in said
    assert desk.world.target.calls.count(("stop", V1)) == 0 < starts
    assert desk.world.end() == ("1", ["1", "1", "2"], None, [V1], ({V1: 100}, V1, [V1]))
    assert runs(desk) == [("rollback", "ada, andon rollback", "completed")]
    release = desk.world.ledger.releases("churn")[0]
    (run,) = desk.world.ledger.runs("churn")
    assert (release.kind, release.run_id) == ("rollback", run.id)


def test_a_silent_mlflow_is_told_and_stops_nothing(desk):
    desk.deliver("2")
    said = desk.rollback()
    assert "MLflow's aliases are not as the ledger says" in said
    assert desk.world.champion() == "1"


def test_a_second_rollback_goes_further_back_and_the_first_version_has_none_before_it(desk):
    desk.deliver("2", "3")
    assert "has to be started first" in desk.rollback()
    assert desk.world.champion() == "2"
    desk.rollback()
    assert desk.world.champion() == "1"
    with pytest.raises(LineError, match="v1 is the first champion in production"):
        desk.rollback()
    assert runs(desk)[0][2] == "failed"


@pytest.mark.parametrize("to", ["1", "v1"])
def test_a_rollback_to_a_named_version(desk, to):
    desk.deliver("2", "3")
    desk.rollback(to)
    assert desk.world.champion() == "1"


def test_a_version_that_cannot_be_had_is_refused_with_those_that_can(desk):
    desk.deliver("2", "3")
    desk.bundle("4")  # never released
    shutil.rmtree(desk.world.settings.state / desk.world.candidate("2").bundle)
    for to, why in (
        ("", "the bundle of churn v2 is gone"),
        ("2", "the bundle of churn v2 is gone"),
        ("4", "never served in production, and a rollback asks no gate: `andon release churn 4`"),
        ("9", "the ledger knows no version 9 of churn"),
    ):
        with pytest.raises(LineError, match=why) as refused:
            desk.rollback(to)
        assert "production can return to: v3, v1" in str(refused.value)
    assert desk.world.champion() == "3"


def test_a_rollback_during_a_release_that_nobody_drives_is_back_to_the_champion(desk):
    desk.leave(SECOND, "2")
    said = desk.rollback()
    assert "back to the champion, v1" in said and "confirmed by the gateway" in said
    assert desk.world.end() == ("1", ["1"], None, [V1], ({V1: 100}, V1, [V1]))
    assert desk.world.ledger.releases("churn")[0].rollout.reason == (
        "a rollback was asked for by ada"
    )


def test_a_rollback_to_an_older_version_during_a_release_ends_it_first(desk):
    desk.deliver("2")
    desk.leave(FIRST, "3")
    desk.rollback("1")
    assert desk.world.end() == ("1", ["1", "1", "2"], None, [V1], ({V1: 100}, V1, [V1]))
    assert [it.rollout.phase for it in desk.world.ledger.releases("churn", limit=2)] == [
        Phase.PROMOTED, Phase.ROLLED_BACK,
    ]  # fmt: skip


def test_a_release_that_waited_for_its_turn_does_not_come_before_a_rollback(desk):
    desk.deliver("2")
    desk.leave(FIRST, "3")
    parts = desk.parts
    restore, said = parts.driver.restore, []

    def queued(environment, model):
        """The turn of v4 comes as that of v3 ends: its driver is at work until it is aborted."""
        if len(said) == 1:
            desk.leave(FIRST, "4")
        found = parts.ledger.unfinished(environment, model)
        said.append(AT_WORK if found and found.version == "4" else restore(environment, model))
        return said[-1]

    parts.driver.restore = queued
    steering.roll_back(parts, desk.out, desk.asked(), "1", 0.0)
    assert AT_WORK in said
    ends = {it.version: it.rollout.phase for it in parts.ledger.releases("churn", limit=3)}
    assert ends == {"1": Phase.PROMOTED, "3": Phase.ROLLED_BACK, "4": Phase.ROLLED_BACK}
    assert desk.world.champion() == "1"


def test_a_release_that_is_promoted_as_a_rollback_is_asked_for_is_rolled_back(desk):
    desk.leave(SECOND, "2")
    parts = desk.parts
    command = parts.driver.command

    def too_late(environment, model, change):
        desk.world.plain_driver().carry_on(environment, model)
        return command(environment, model, change)

    parts.driver.command = too_late
    steering.roll_back(parts, desk.out, desk.asked(), "", 0.0)
    assert desk.world.end() == ("1", ["1", "1", "2"], None, [V1], ({V1: 100}, V1, [V1]))


def test_a_rollback_that_was_killed_is_taken_up_again_by_the_next(desk):
    desk.deliver("2")
    gateway, applied = desk.world.gateway, []

    def killed(route):
        applied.append(route)
        raise KeyboardInterrupt

    gateway.apply, apply = killed, gateway.apply
    with pytest.raises(KeyboardInterrupt):
        desk.rollback()
    gateway.apply = apply
    assert applied and desk.world.ledger.unfinished(*PLACE).kind == "rollback"
    assert runs(desk)[0][2] == "interrupted"
    desk.rollback()
    assert desk.world.champion() == "1"
    assert desk.world.ledger.unfinished(*PLACE) is None


def test_a_rollback_to_the_champion_only_makes_sure_that_it_serves(desk):
    desk.world.target.stop(V1)
    assert "it serves already" in desk.rollback("1")
    assert desk.world.target.names() == {V1}
    assert len(desk.world.ledger.releases("churn")) == 1


def test_a_silent_gateway_is_an_error_at_once_and_nothing_has_changed(desk):
    desk.deliver("2")
    desk.world.gateway.down = True
    with pytest.raises(LineError, match="the gateway does not answer"):
        desk.rollback()
    assert len(desk.world.ledger.releases("churn")) == 2
    assert runs(desk)[0][2] == "failed"


def test_a_version_that_does_not_come_up_is_an_error_and_the_champion_serves_on(desk):
    desk.deliver("2")
    desk.world.target.crashing.add(V1)
    with pytest.raises(LineError, match=r"v1 did not come back to production: .*boom.*; v2 serves"):
        desk.rollback()
    assert desk.world.champion() == "2"
    assert desk.world.gateway.route(*PLACE).weights == {V2: 100}


def test_a_pause_holds_and_resume_goes_on_each_with_who_and_why(desk):
    desk.leave(FIRST, "2")
    assert "paused by ada: lunch" in desk.say(steering.pause, "lunch")
    assert f"{desk.world.ledger.unfinished(*PLACE).rollout}" == f"{FIRST}, paused"
    with pytest.raises(LineError, match=r"pause: only a step .* paused \(paused by ada: lunch\)"):
        desk.say(steering.pause)
    said = desk.say(steering.resume)
    assert "resumed by ada" in said and "nobody drives it at the moment" in said
    with pytest.raises(LineError, match=r"resume: it is not paused; .* step 1/3 at 10 %"):
        desk.say(steering.resume)


def test_an_approval_is_answered_once(desk):
    desk.leave(WAITS, "2", steps=ASKS)
    with pytest.raises(LineError, match=r"pause: only a step .* waits for managers"):
        desk.say(steering.pause)
    desk.say(steering.answer, "seen the report", approved=True)
    state = desk.world.ledger.unfinished(*PLACE).rollout
    assert [(it.by, it.note, it.approved) for it in state.answers] == [
        ("ada", "seen the report", True)
    ]
    assert state.step == 2
    with pytest.raises(LineError, match="approve: nobody's approval is waited for"):
        desk.say(steering.answer, approved=True)


def test_a_rejection_brings_the_champion_back_though_nobody_drives(desk):
    desk.leave(WAITS, "2", steps=ASKS)
    desk.say(steering.answer, approved=False)
    assert desk.world.end() == ("1", ["1"], None, [V1], ({V1: 100}, V1, [V1]))
    assert desk.world.ledger.releases("churn")[0].rollout.reason == "rejected by ada"


def test_an_abort_works_though_nobody_drives(desk):
    desk.leave(SECOND, "2")
    desk.say(steering.abort, "complaints")
    assert desk.world.end() == ("1", ["1"], None, [V1], ({V1: 100}, V1, [V1]))
    assert desk.world.ledger.releases("churn")[0].rollout.reason == "aborted by ada: complaints"


def test_of_a_first_release_that_is_aborted_nothing_is_left(tmp_path):
    with closing(DriverWorld(tmp_path)) as world:
        desk = Desk(world)
        desk.leave("step 1/1 at 100 %", "1")
        with pytest.raises(LineError, match=r"no champion .* `andon abort churn`"):
            desk.rollback()
        desk.say(steering.abort)
        assert world.gateway.route(*PLACE) is None
        assert world.target.names() == set()


@pytest.mark.parametrize("word", [steering.abort, steering.pause, steering.resume])
def test_without_a_release_in_progress_a_word_is_an_error_that_says_what_serves(desk, word):
    with pytest.raises(LineError, match=r"no release of churn is in progress .*; v1 serves"):
        desk.say(word)


def test_a_driver_that_does_not_obey_is_told_of(desk, monkeypatch):
    monkeypatch.setattr(steering, "DEADLINE", 0.2)
    desk.leave(SECOND, "2")
    with (
        lock(desk.world.ledger, "release/production/churn"),
        pytest.raises(LineError, match="has not obeyed within"),
    ):
        desk.say(steering.abort)
    desk.world.plain_driver().restore(*PLACE)
    assert desk.world.target.names() == {V1}


def test_an_abort_that_the_gateway_does_not_take_is_on_the_ledger(desk):
    desk.leave(SECOND, "2")
    desk.world.gateway.down = True
    with pytest.raises(LineError, match=r"the ledger has it .rolled back., and the world does not"):
        desk.say(steering.abort)
    assert desk.world.ledger.unfinished(*PLACE) is None


def test_nobody_is_no_name():
    with pytest.raises(LineError, match="say who you are"):
        steering.Asked("churn", "production", " ")
