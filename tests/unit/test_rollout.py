"""The rollout's state machine, for every history that Hypothesis can think of."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.rollout import Phase, Rollout, abort, advance, resume, wanted
from andon.spec import Step
from andon.verdict import Outcome

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE


class Seen(NamedTuple):
    """One look: some seconds after the last one, what the check said, and whether we had died."""

    seconds: float
    outcome: Outcome
    crashed: bool = False


steps = st.lists(
    st.builds(Step, weight=st.integers(0, 100), seconds=st.sampled_from([0.0, 1.0, 5.0])),
    min_size=1,
    max_size=5,
)
rollouts = st.builds(
    lambda steps, champion, patience: Rollout(
        candidate="new", champion=champion, steps=tuple(steps), since=0.0,
        start_seconds=patience, inconclusive_seconds=patience,
    ),
    steps,
    st.sampled_from(["old", None]),
    st.sampled_from([0.0, 2.0, 10.0]),
)  # fmt: skip
histories = st.lists(
    st.builds(
        Seen, st.sampled_from([0.0, 0.5, 3.0, 30.0]), st.sampled_from(list(Outcome)), st.booleans()
    ),
    max_size=30,
)


def live(rollout: Rollout, history: list[Seen]) -> list[Rollout]:
    """Every state of a history, the first one included."""
    states, now = [rollout], 0.0
    for seen in history:
        now += seen.seconds
        states.append(advance(states[-1], seen.outcome, now))
    return states


@given(rollouts, histories)
def test_weights_are_shares_that_sum_to_100_or_there_are_none(rollout, history):
    for state in live(rollout, history):
        world = wanted(state)
        assert sum(world.weights.values()) == (100 if world.weights else 0)
        assert all(0 <= weight <= 100 for weight in world.weights.values())
        assert set(world.weights) <= world.servers
        assert (world.stable in world.weights) if world.weights else world.stable is None


@given(rollouts, histories)
def test_the_champion_serves_until_the_candidate_is_promoted(rollout, history):
    for state in live(rollout, history):
        world = wanted(state)
        if state.phase is Phase.PROMOTED:
            assert world.weights == {"new": 100}
        elif rollout.champion:
            assert "old" in world.servers
            assert world.stable == "old", "who answers when the candidate does not"


@given(rollouts, histories)
def test_a_candidate_gets_traffic_only_after_it_was_ready(rollout, history):
    states = live(rollout, history)
    for i, state in enumerate(states):
        if "new" in wanted(state).weights:
            assert PASS in [seen.outcome for seen in history[:i]]


@given(rollouts, histories)
def test_each_step_comes_in_its_order_and_is_held_as_long_as_it_says(rollout, history):
    now, began, states = 0.0, 0.0, live(rollout, history)
    for before, after, seen in zip(states, states[1:], history, strict=False):
        now += seen.seconds
        if after == before:
            continue
        held, began = now - began, now
        if before.phase is not Phase.STEPPING:
            continue
        if after.phase is not Phase.ROLLED_BACK:
            assert held >= rollout.steps[before.step].seconds
        if after.phase is Phase.STEPPING:
            assert after.step == before.step + 1
        if after.phase is Phase.PROMOTED:
            assert before.step == len(rollout.steps) - 1


@given(rollouts, histories)
def test_only_a_pass_leads_on(rollout, history):
    states = live(rollout, history)
    for before, after, seen in zip(states, states[1:], history, strict=False):
        if after != before and after.phase is not Phase.ROLLED_BACK:
            assert seen.outcome is PASS
    for before, after, seen in zip(states, states[1:], history, strict=False):
        if not before.ended and seen.outcome is FAIL:
            assert after.phase is Phase.ROLLED_BACK


@given(rollouts, histories, histories)
def test_an_ended_rollout_never_changes(rollout, history, more):
    end = live(rollout, [*history, Seen(0.0, FAIL)])[-1]
    assert end.ended
    assert set(live(end, more)) == {end}
    assert abort(end, 1e9, "by hand") == end
    assert resume(end, 1e9) == end


@pytest.mark.parametrize(
    ("outcome", "end"),
    [(PASS, Phase.PROMOTED), (FAIL, Phase.ROLLED_BACK), (INCONCLUSIVE, Phase.ROLLED_BACK)],
)
@given(rollout=rollouts, history=histories)
def test_every_path_ends_if_the_outcome_stays_the_same(outcome, end, rollout, history):
    states = live(rollout, history)
    so_far = sum(seen.seconds for seen in history)
    long_enough = [Seen(so_far, outcome), *[Seen(30.0, outcome)] * (len(rollout.steps) + 1)]
    last = live(states[-1], long_enough)[-1]
    assert last.ended
    assert last.phase is end or states[-1].ended


@given(rollouts, histories)
def test_a_state_that_was_written_and_read_goes_on_as_if_nothing_had_happened(rollout, history):
    state, now = rollout, 0.0
    for seen in history:
        now += seen.seconds
        if seen.crashed:
            state = Rollout.model_validate_json(state.model_dump_json())
        state = advance(state, seen.outcome, now)
    assert state == live(rollout, history)[-1]


@given(rollouts, histories, st.sampled_from(list(Outcome)))
def test_killed_for_an_hour_and_resumed_it_comes_to_the_same_end(rollout, history, outcome):
    """Wherever it was: nobody watched for an hour, and that alone decides nothing."""
    state = live(rollout, history)[-1]
    goes_on = [Seen(30.0, outcome)] * (len(rollout.steps) + 2)
    undisturbed = live(state, [Seen(sum(it.seconds for it in history), outcome), *goes_on])[-1]
    now = sum(it.seconds for it in history) + 3_600
    found = resume(Rollout.model_validate_json(state.model_dump_json()), now)
    assert (found.phase, found.step) == (state.phase, state.step)
    if not found.ended:
        assert advance(found, INCONCLUSIVE, now + 0.1) == found or rollout.start_seconds == 0
    for seen in goes_on:
        now += seen.seconds
        found = advance(found, seen.outcome, now)
    assert found.phase is undisturbed.phase


@given(rollouts, histories)
def test_a_rollout_can_be_aborted_in_every_state_that_has_not_ended(rollout, history):
    for state in live(rollout, history):
        aborted = abort(state, 1e6, "by hand")
        assert aborted.phase is (state.phase if state.ended else Phase.ROLLED_BACK)
        if not state.ended:
            assert aborted.reason == "by hand"
            champion = {rollout.champion} if rollout.champion else set()
            assert wanted(aborted).servers == champion


def test_a_canary_from_start_to_promotion():
    plan = (Step(weight=10, seconds=3), Step(weight=100, seconds=3))
    rollout = Rollout(candidate="new", champion="old", steps=plan, since=0.0)
    history = [
        Seen(1, INCONCLUSIVE), Seen(1, PASS), Seen(1, INCONCLUSIVE), Seen(1, PASS), Seen(2, PASS),
        Seen(3, PASS),
    ]  # fmt: skip
    assert [f"{state}" for state in live(rollout, history)] == [
        "starting", "starting", "step 1/2 at 10 %", "step 1/2 at 10 %", "step 1/2 at 10 %",
        "step 2/2 at 100 %", "promoted",
    ]  # fmt: skip
    splits = [wanted(state).weights for state in live(rollout, history)]
    assert splits[1] == {"old": 100}
    assert splits[2] == {"old": 90, "new": 10}
    assert splits[5] == {"old": 0, "new": 100}
    assert splits[6] == {"new": 100}


def test_blue_green_is_checked_without_live_traffic_and_then_switched():
    plan = (Step(weight=0, seconds=0), Step(weight=100, seconds=0))
    rollout = Rollout(candidate="new", champion="old", steps=plan, since=0.0)
    splits = [wanted(state).weights for state in live(rollout, [Seen(1, PASS)] * 3)]
    assert splits[1:] == [{"old": 100, "new": 0}, {"old": 0, "new": 100}, {"new": 100}]


@pytest.mark.parametrize(
    ("phase", "says"), [("starting", "not ready for 60 s"), ("stepping", "inconclusive for 63 s")]
)
def test_who_waits_too_long_says_for_what_and_why(phase, says):
    rollout = Rollout(
        candidate="new", champion="old", steps=(Step(weight=10),), since=0.0, phase=phase
    )
    waited = 63.0 if phase == "stepping" else 60.0
    assert advance(rollout, INCONCLUSIVE, waited - 0.1) == rollout
    given_up = advance(rollout, INCONCLUSIVE, waited, "12 of 50 requests")
    assert given_up.phase is Phase.ROLLED_BACK
    assert given_up.reason == f"{says}: 12 of 50 requests"
