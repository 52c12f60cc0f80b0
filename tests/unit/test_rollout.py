"""The rollout's state machine, for every history that Hypothesis can think of."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.rollout import (
    Phase,
    Rollout,
    abort,
    advance,
    answer,
    cool,
    pause,
    proceed,
    resume,
    wanted,
    without_champion,
)
from andon.spec import Approval, Mirror, Step
from andon.verdict import Outcome

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
LONG = 100.0  # longer than any step, patience or deadline of the strategies


class Seen(NamedTuple):
    """Some seconds after the last event: a look and what it said, or what a person did."""

    seconds: float
    outcome: Outcome
    did: str = "nothing"
    crashed: bool = False


held = st.sampled_from([0.0, 1.0, 5.0])
a_step = st.one_of(
    st.builds(lambda weight, hold: Step(weight=weight, seconds=hold), st.integers(0, 100), held),
    st.builds(lambda share, hold: Mirror(mirror=share, seconds=hold), st.integers(1, 100), held),
    st.builds(
        lambda within: Approval(approve="managers", within=within), st.sampled_from([2.0, 40.0])
    ),
)


def a_rollout(steps, champion, patience, choice, promotes) -> Rollout:
    return Rollout(
        candidate="new", champion=champion, steps=tuple(steps), since=0.0,
        start_seconds=patience, inconclusive_seconds=patience, pause_seconds=patience * 3,
        on_inconclusive=choice, promotes=promotes, warm_seconds=50.0,
    )  # fmt: skip


rollouts = st.builds(
    a_rollout,
    st.lists(a_step, min_size=1, max_size=5),
    st.sampled_from(["old", None]),
    st.sampled_from([0.0, 2.0, 10.0]),
    st.sampled_from(["pause", "continue", "abort"]),
    st.booleans(),
)
deeds = st.sampled_from(["nothing"] * 8 + ["pause", "proceed", "approve", "reject", "abort"])
histories = st.lists(
    st.builds(
        Seen, st.sampled_from([0.0, 0.5, 3.0, 30.0]), st.sampled_from(list(Outcome)), deeds,
        st.booleans(),
    ),
    max_size=30,
)  # fmt: skip
looks = st.lists(
    st.builds(Seen, st.sampled_from([0.0, 0.5, 3.0, 30.0]), st.sampled_from(list(Outcome))),
    max_size=30,
)


def follow(state: Rollout, seen: Seen, now: float) -> Rollout:
    """The next state after one event."""
    deed = {
        "nothing": lambda: advance(state, seen.outcome, now),
        "pause": lambda: pause(state, now, "paused by ada"),
        "proceed": lambda: proceed(state, now, "resumed by ada"),
        "approve": lambda: answer(state, now, approved=True, by="ada"),
        "reject": lambda: answer(state, now, approved=False, by="ada", note="not today"),
        "abort": lambda: abort(state, now, "aborted by ada"),
    }
    return deed[seen.did]()


def live(rollout: Rollout, history: list[Seen], now: float = 0.0) -> list[Rollout]:
    """Every state of a history, the first one included."""
    states = [rollout]
    for seen in history:
        now += seen.seconds
        states.append(follow(states[-1], seen, now))
    return states


@given(rollouts, histories)
def test_weights_are_shares_that_sum_to_100_or_there_are_none(rollout, history):
    for state in live(rollout, history):
        world = wanted(state)
        assert sum(world.weights.values()) == (100 if world.weights else 0)
        assert all(0 <= weight <= 100 for weight in world.weights.values())
        assert set(world.weights) <= world.servers
        assert (world.stable in world.weights) if world.weights else world.stable is None
        assert set(world.mirrors) <= {"new"}
        assert not world.mirrors or world.weights["new"] == 0, "a shadow answers nobody"


@given(rollouts, histories)
def test_the_champion_serves_until_the_candidate_is_promoted(rollout, history):
    for state in live(rollout, history):
        world = wanted(state)
        if state.phase is Phase.PROMOTED:
            assert world.weights["new"] == 100
            assert ("old" in world.servers) is bool(rollout.champion), "it is kept warm"
        elif rollout.champion:
            assert "old" in world.servers
            assert world.stable == "old", "who answers when the candidate does not"


@given(rollouts, histories)
def test_a_candidate_gets_traffic_only_after_it_was_ready(rollout, history):
    states = live(rollout, history)
    for i, state in enumerate(states):
        if "new" in wanted(state).weights:
            assert PASS in [seen.outcome for seen in history[:i] if seen.did == "nothing"]


@given(rollouts, histories)
def test_without_a_promotion_no_client_is_ever_answered_by_a_shadow(rollout, history):
    shadow = rollout.model_copy(update={"promotes": False})
    assert Phase.PROMOTED not in {it.phase for it in live(shadow, history)}


@given(rollouts, histories)
def test_each_step_comes_in_its_order_and_is_held_as_long_as_it_says(rollout, history):
    states = live(rollout, history)
    for before, after in pairwise(states):
        if before.phase is not Phase.STEPPING or after.ended or after.step == before.step:
            continue
        assert after.step == before.step + 1
        if not isinstance(before.current, Approval):
            assert after.since - before.since >= before.current.seconds
    for before, after in pairwise(states):
        if after.phase in (Phase.PROMOTED, Phase.SHADOWED) and before != after:
            assert before.step == len(rollout.steps) - 1


@given(rollouts, histories)
def test_only_a_pass_or_a_person_leads_on_and_a_failure_ends_it_everywhere(rollout, history):
    """Pauses, approvals and bakes are watched too."""
    states = live(rollout, history)
    for before, after, seen in zip(states, states[1:], history, strict=False):
        further = after != before and after.phase is not Phase.ROLLED_BACK
        if seen.did == "nothing" and not before.ended and seen.outcome is FAIL:
            assert after.phase is Phase.ROLLED_BACK
        elif seen.did == "nothing" and further and after.phase is not Phase.PAUSED:
            assert seen.outcome is PASS or rollout.on_inconclusive == "continue"
        elif further and before.approval is not None:
            assert seen.did == "approve"


@given(rollouts, histories, histories)
def test_an_ended_rollout_never_changes(rollout, history, more):
    end = live(rollout, [*history, Seen(0.0, FAIL)])[-1]
    assert end.ended
    assert set(live(end, more)) == {end}
    assert resume(end, 1e9) == end


@pytest.mark.parametrize("outcome", list(Outcome))
@given(rollout=rollouts, history=histories)
def test_every_path_ends_if_nobody_does_anything_any_more(outcome, rollout, history):
    """Approvals, pauses and what stays inconclusive have deadlines."""
    state, now = live(rollout, history)[-1], sum(seen.seconds for seen in history)
    last = live(state, [Seen(LONG, outcome)] * (2 * len(rollout.steps) + 2), now)[-1]
    assert last.ended
    approvals = [it for it in rollout.steps[state.step :] if isinstance(it, Approval)]
    if outcome is FAIL or (outcome is PASS and approvals):
        assert last.phase is Phase.ROLLED_BACK or state.ended


@given(rollouts, histories)
def test_a_state_that_was_written_and_read_goes_on_as_if_nothing_had_happened(rollout, history):
    state, now = rollout, 0.0
    for seen in history:
        now += seen.seconds
        if seen.crashed:
            state = Rollout.model_validate_json(state.model_dump_json())
        state = follow(state, seen, now)
    assert state == live(rollout, history)[-1]


@given(rollouts, histories, st.sampled_from(list(Outcome)))
def test_killed_for_an_hour_and_resumed_it_comes_to_the_same_end(rollout, history, outcome):
    """Nobody watched for an hour, and that alone decides nothing; but a person's time goes on."""
    state, now = live(rollout, history)[-1], sum(it.seconds for it in history)
    waited_for = state.phase is Phase.PAUSED or state.approval is not None
    goes_on = [Seen(LONG, outcome)] * (2 * len(rollout.steps) + 2)
    undisturbed = live(state, goes_on, now)[-1]
    found = resume(Rollout.model_validate_json(state.model_dump_json()), now + 3_600)
    assert (found.phase, found.step) == (state.phase, state.step)
    if not (waited_for or found.ended):
        later = advance(found, INCONCLUSIVE, now + 3_600.1)
        assert later == found or 0.0 in (rollout.start_seconds, rollout.inconclusive_seconds)
    last = live(found, goes_on, now + 3_600)[-1]
    assert last.phase is undisturbed.phase


@given(rollouts, histories)
def test_a_rollout_can_be_aborted_in_every_state_that_has_not_ended(rollout, history):
    for state in live(rollout, history):
        aborted = abort(state, 1e6, "by hand")
        assert aborted.phase is (state.phase if state.ended else Phase.ROLLED_BACK)
        if not state.ended:
            assert aborted.reason == "by hand"
            champion = {rollout.champion} if rollout.champion else set()
            assert wanted(aborted).servers == champion


@given(rollouts, histories)
def test_what_a_person_did_is_counted_so_that_the_driver_sees_it(rollout, history):
    states = live(rollout, history)
    for before, after, seen in zip(states, states[1:], history, strict=False):
        by_hand = seen.did != "nothing" and after != before
        assert after.orders == before.orders + by_hand
        given_before = {it.step for it in before.answers}
        assert {it.step for it in after.answers} - given_before <= {before.step}


@given(rollouts)
def test_a_first_release_takes_one_step_with_everything_and_its_approvals(rollout):
    steps = without_champion(rollout.steps)
    (share,) = [it for it in steps if not isinstance(it, Approval)]
    assert isinstance(share, Step)
    approvals = [it for it in rollout.steps if isinstance(it, Approval)]
    assert [it for it in steps if isinstance(it, Approval)] == approvals


def canary(*steps, **changes) -> Rollout:
    return Rollout(candidate="new", champion="old", steps=steps, since=0.0, **changes)


def test_a_canary_from_start_to_promotion():
    rollout = canary(Step(weight=10, seconds=3), Step(weight=100, seconds=3))
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
    rollout = canary(Step(weight=0, seconds=0), Step(weight=100, seconds=0))
    splits = [wanted(state).weights for state in live(rollout, [Seen(1, PASS)] * 3)]
    assert splits[1:] == [{"old": 100, "new": 0}, {"old": 0, "new": 100}, {"new": 100}]


def test_a_mirror_then_an_approval_then_everything():
    """While a person is waited for, the traffic stays as it was."""
    rollout = canary(Mirror(mirror=50, seconds=0), Approval(approve="ada"), Step(weight=100))
    mirrored, waiting = live(rollout, [Seen(1, PASS)] * 2)[1:]
    assert (f"{mirrored}", f"{waiting}") == ("step 1/3 mirrors 50 %", "step 2/3 waits for ada")
    for state in (mirrored, waiting):
        assert wanted(state).mirrors == {"new": 50}
        assert wanted(state).weights == {"old": 100, "new": 0}
        assert "agreement" in state.gate
    assert advance(waiting, PASS, 1_000.0) == waiting, "a gate cannot say yes for a person"
    approved = answer(waiting, 1_000.0, approved=True, by="ada", note="looks good")
    assert f"{approved}" == "step 3/3 at 100 %"
    assert approved.reason == "approved by ada: looks good"
    assert [(it.step, it.by, it.at) for it in approved.answers] == [(1, "ada", 1_000.0)]
    assert wanted(approved).mirrors == {}


def test_nobody_answers_and_somebody_says_no():
    waiting = live(canary(Approval(approve="ada", within=60)), [Seen(1, PASS)])[-1]
    late = advance(waiting, PASS, 61.0)
    assert (late.phase, late.reason) == (Phase.ROLLED_BACK, "no answer of ada within 60 s")
    rejected = answer(waiting, 2.0, approved=False, by="bob")
    assert (rejected.phase, rejected.reason) == (Phase.ROLLED_BACK, "rejected by bob")


@pytest.mark.parametrize(
    ("choice", "then"),
    [
        ("pause", "step 1/2 at 10 %, paused"),
        ("continue", "step 2/2 at 100 %"),
        ("abort", "rolled back"),
    ],
)
def test_an_inconclusive_step_has_a_limit_and_a_consequence_of_its_own(choice, then):
    rollout = canary(Step(weight=10), Step(weight=100), on_inconclusive=choice)
    step = advance(rollout, PASS, 0.0)
    assert advance(step, INCONCLUSIVE, 62.9) == step
    after = advance(step, INCONCLUSIVE, 63.0, "12 of 50 requests")
    assert f"{after}" == then
    assert "inconclusive for 63 s: 12 of 50 requests" in after.reason


def test_the_line_s_own_pause_ends_by_itself_and_a_person_s_does_not():
    step = advance(canary(Step(weight=10), on_inconclusive="pause"), PASS, 0.0)
    own = advance(step, INCONCLUSIVE, 100.0)
    assert own.phase is Phase.PAUSED
    assert advance(own, PASS, 101.0).phase is Phase.STEPPING
    assert advance(own, INCONCLUSIVE, 100.0 + own.pause_seconds).phase is Phase.ROLLED_BACK
    by_hand = pause(step, 1.0, "paused by ada")
    assert advance(by_hand, PASS, 101.0) == by_hand
    assert f"{proceed(by_hand, 102.0, 'ada')}" == "step 1/1 at 10 %"
    assert advance(by_hand, PASS, 1.0 + by_hand.pause_seconds).phase is Phase.ROLLED_BACK


def test_the_one_before_is_kept_warm_for_as_long_as_the_plan_says():
    promoted = live(canary(Step(weight=100), warm_seconds=60), [Seen(1, PASS), Seen(3, PASS)])[-1]
    assert wanted(promoted).weights == {"new": 100, "old": 0}
    assert cool(promoted, 63.9) == promoted
    cooled = cool(promoted, 64.0)
    assert wanted(cooled).servers == {"new"}
    assert (cooled.phase, cooled.since) == (Phase.PROMOTED, promoted.since)
    assert cool(cooled, 1e9) == cooled


@pytest.mark.parametrize(
    ("phase", "says"), [("starting", "not ready for 60 s"), ("stepping", "inconclusive for 63 s")]
)
def test_who_waits_too_long_says_for_what_and_why(phase, says):
    rollout = canary(Step(weight=10), phase=phase)
    waited = 63.0 if phase == "stepping" else 60.0
    assert advance(rollout, INCONCLUSIVE, waited - 0.1) == rollout
    given_up = advance(rollout, INCONCLUSIVE, waited, "12 of 50 requests")
    assert given_up.phase is Phase.ROLLED_BACK
    assert given_up.reason == f"{says}: 12 of 50 requests"
