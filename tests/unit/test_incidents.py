"""What a failed monitor does: the way of an incident, and what holds on every way."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.incidents import (
    MONTH,
    PEOPLE,
    Asks,
    Decision,
    Facts,
    Moves,
    Nothing,
    Opens,
    Policy,
    Standing,
    Waits,
    decide,
    group_of,
    worst,
)
from andon.spec import Retraining
from andon.verdict import Outcome

PASS, FAIL, UNKNOWN = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
POLICIES = {
    "data": Policy("notify", "critical"),
    "drift": Policy("retrain", "warning"),
    "quality": Policy("retrain", "critical"),
    "estimate": Policy("notify", "warning"),
}
KINDS = tuple(POLICIES)
RULES = Retraining(min_rows=100, cooldown_minutes=60, per_month=3, clear_within=7_200)


def facts(**given: object) -> Facts:
    """All passes, there are labels enough and an earlier version; `drift=FAIL` and so on."""
    outcomes = dict.fromkeys(KINDS, PASS) | {k: v for k, v in given.items() if k in KINDS}
    rest = {k: v for k, v in given.items() if k not in KINDS}
    base = Facts(1e9, outcomes, POLICIES, RULES, labelled=1_000, earlier="1", released=1e9 - 60)
    return replace(base, **rest)


def standing(state: str, *cause: str, **given: object) -> Standing:
    kinds = cause or ("drift",)
    return Standing(state, kinds, worst([POLICIES[it].severity for it in kinds]), **given)


def test_a_drift_is_retrained_comes_back_clear_and_is_closed():
    opened = decide(None, facts(drift=FAIL))
    assert opened == Opens(
        "retrain", "retraining", ("drift",), "warning", "1,000 labelled rows to learn from"
    )
    assert isinstance(decide(standing("retraining"), facts(drift=FAIL)), Nothing)
    assert isinstance(decide(standing("retraining"), facts()), Nothing), "it has not ended yet"
    assert isinstance(decide(standing("retrained"), facts(drift=UNKNOWN)), Nothing)
    closed = decide(standing("retrained"), facts())
    assert (closed.state, closed.why) == ("closed", "drift clear")


@pytest.mark.parametrize("outcome", [PASS, UNKNOWN])
def test_what_did_not_fail_opens_nothing(outcome):
    given = dict.fromkeys(KINDS, outcome)
    assert decide(None, facts(**given)) == Nothing("nothing has failed")


def test_broken_data_are_for_people_and_the_same_incident_retrains_once_they_are_sound():
    opened = decide(None, facts(data=FAIL, drift=FAIL))
    assert (opened.action, opened.state, opened.cause) == ("notify", "open", ("data", "drift"))
    assert opened.severity == "critical"
    assert "nothing is learned from data that look broken" in opened.why
    both = standing("open", "data", "drift")
    assert isinstance(decide(both, facts(data=FAIL, drift=FAIL)), Waits)
    unsure = decide(both, facts(data=UNKNOWN, drift=FAIL))
    assert isinstance(unsure, Waits), "sound again is what passes"
    asked = decide(both, facts(drift=FAIL))
    assert isinstance(asked, Asks)
    assert (asked.action, asked.state, asked.cause) == ("retrain", "retraining", both.cause)


def test_too_few_labels_are_waited_for():
    assert "waits for labels: 12 of 100" in decide(None, facts(drift=FAIL, labelled=12)).why
    waits = decide(standing("open"), facts(drift=FAIL, labelled=99))
    assert waits == Waits("waits for labels", "waits for labels: 99 of 100")
    assert decide(standing("open"), facts(drift=FAIL, labelled=100)).action == "retrain"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ([1e9 - 59 * 60], "within the cooldown: the last one was asked for 59 min ago"),
        ([1e9 - 4_000, 1e9 - 5_000, 1e9 - 6_000], "within the budget: 3 in 30 days"),
        ([1e9 - 61 * 60], ""),
        ([1e9 - MONTH - 1] * 3, ""),
    ],
)
def test_cooldown_and_budget(asked, says):
    opened = decide(None, facts(drift=FAIL, asked=asked))
    assert opened.action == ("notify" if says else "retrain")
    assert says in opened.why


@pytest.mark.parametrize("state", PEOPLE)
def test_what_waits_for_a_person_asks_for_nothing(state):
    found = standing(state)
    assert isinstance(decide(found, facts(drift=FAIL)), Nothing)
    wider = decide(found, facts(drift=FAIL, quality=FAIL))
    assert isinstance(wider, Moves)
    assert (wider.state, wider.cause, wider.severity) == (state, ("drift", "quality"), "critical")
    assert isinstance(decide(replace(found, state="open"), facts(drift=FAIL)), Asks)


def test_a_release_that_is_not_clear_reopens_and_one_that_is_worse_is_undone():
    found = standing("retrained")
    again = decide(found, facts(drift=FAIL))
    assert (type(again), again.state) == (Moves, "reopened")
    undone = decide(found, facts(fell="roc_auc 0.70, was 0.80"))
    assert (type(undone), undone.action, undone.state) == (Asks, "rollback", "halted")
    assert "back to v1" in undone.why
    alone = decide(found, facts(fell="roc_auc 0.70, was 0.80", earlier=""))
    assert (type(alone), alone.state) == (Moves, "halted")


def test_a_halted_incident_is_closed_only_after_somebody_looked():
    assert isinstance(decide(standing("halted"), facts()), Nothing)
    assert decide(standing("halted", looked=True), facts()).state == "closed"


def test_a_release_that_nobody_can_judge_in_time_is_for_people():
    unsure = {"drift": UNKNOWN, "released": 1e9 - 7_200}
    assert isinstance(decide(standing("retrained"), facts(**unsure)), Nothing)
    late = decide(standing("retrained"), facts(**{**unsure, "released": 1e9 - 7_201}))
    assert (late.state, "within 2 h" in late.why) == ("escalated", True)


def test_policy_rollback_goes_back_once_then_people():
    back = {**POLICIES, "quality": Policy("rollback", "critical")}
    failed = facts(quality=FAIL, policies=back)
    opened = decide(None, failed)
    assert (opened.action, opened.state) == ("rollback", "returning")
    after = standing("returned", "quality")
    assert decide(after, failed).state == "escalated"
    assert decide(after, facts(policies=back)).state == "closed"
    looked = replace(after, state="open", went_back=True)
    waits = decide(looked, failed)
    assert isinstance(waits, Waits)
    assert "rolled back already" in waits.why
    none = decide(None, replace(failed, earlier=""))
    assert (none.action, "no earlier version" in none.why) == ("notify", True)


def test_policy_nothing_is_a_verdict_only():
    silent = {**POLICIES, "drift": Policy("nothing", "warning")}
    assert isinstance(decide(None, facts(drift=FAIL, policies=silent)), Nothing)


def test_a_monitor_that_is_not_watched_any_more_holds_nothing_open():
    left = {k: v for k, v in POLICIES.items() if k != "drift"}
    assert decide(standing("open", "drift", "quality"), facts(policies=left)).state == "closed"
    assert "none of its monitors is left" in decide(standing("open"), facts(policies=left)).why


def test_kinds_of_live_rows_share_an_incident():
    assert {group_of(it) for it in KINDS} == {"rows"}
    assert [group_of(it) for it in ("service", "resources")] == ["service", "resources"]
    assert worst([]) == "warning"
    assert worst(["warning", "critical", "warning"]) == "critical"


# --- any way through


@dataclass
class Line:
    """A place with its incident, and what is done on it; a run is 15 minutes after the last."""

    rules: Retraining
    policies: dict[str, Policy]
    now: float = 1e9
    found: Standing | None = None
    asked: list[float] = field(default_factory=list)
    released: float = 0.0
    looks: int = 0
    opened: int = 0
    log: list[tuple[Standing | None, Facts, Decision]] = field(default_factory=list)

    def run(self, outcomes: dict[str, Outcome], labelled: int, fell: bool, earlier: str) -> None:
        self.now += 900
        known = Facts(
            self.now, outcomes, self.policies, self.rules, tuple(self.asked), labelled, earlier,
            "figures" if fell else "", self.released,
        )  # fmt: skip
        before, decision = self.found, decide(self.found, known)
        self.log.append((before, known, decision))
        if isinstance(decision, Opens):
            assert before is None, "at most one is open"
            self.found = Standing(decision.state, decision.cause, decision.severity)
            self.opened += 1
        elif isinstance(decision, Asks | Moves):
            assert before is not None
            closed = decision.state == "closed"
            self.found = None if closed else replace(
                before, state=decision.state, cause=decision.cause, severity=decision.severity,
                went_back=before.went_back or getattr(decision, "action", "") == "rollback",
            )  # fmt: skip
        if isinstance(decision, Opens | Asks) and decision.action == "retrain":
            self.asked.append(self.now)
        again = decide(self.found, replace(known, asked=tuple(self.asked)))
        # Of a new alert nothing more comes; a reason to wait is told, and asks for nothing.
        assert isinstance(again, Nothing | Waits | Opens | Moves)
        if isinstance(decision, Opens):
            assert isinstance(again, Nothing | Waits), "the same again does nothing"

    def ends(self, good: bool) -> None:
        """What was asked for ends."""
        if self.found and self.found.state in ("retraining", "returning"):
            done = "retrained" if self.found.state == "retraining" else "returned"
            self.found = replace(self.found, state=done if good else "escalated")
            self.released = self.now if good else self.released

    def look(self) -> None:
        if self.found and self.found.state in PEOPLE:
            self.found = replace(self.found, state="open", looked=True)
            self.looks += 1


outcomes = st.fixed_dictionaries(dict.fromkeys(KINDS, st.sampled_from([PASS, FAIL, UNKNOWN])))
runs = st.tuples(
    st.just("run"), outcomes, st.sampled_from([0, 99, 100, 5_000]), st.booleans(),
    st.sampled_from(["", "1"]),
)  # fmt: skip
steps = st.lists(
    st.one_of(runs, runs, st.tuples(st.just("ends"), st.booleans()), st.tuples(st.just("look"))),
    max_size=40,
)
actions = st.sampled_from(["retrain", "rollback", "notify", "nothing"])


@st.composite
def ways(draw: st.DrawFn) -> Line:
    rules = Retraining(
        min_rows=100, cooldown_minutes=draw(st.sampled_from([0.0, 30.0, 600.0])),
        per_month=draw(st.integers(0, 4)), clear_within=3_600,
    )  # fmt: skip
    line = Line(rules, {it: Policy(draw(actions), "warning") for it in KINDS})
    for step in draw(steps):
        match step:
            case ("run", seen, labelled, fell, earlier):
                line.run(seen, labelled, fell, earlier)
            case ("ends", good):
                line.ends(good)
            case _:
                line.look()
    return line


@given(ways())
def test_on_any_way_nothing_is_retrained_that_must_not_be(line):
    retrained = []
    for found, known, decision in line.log:
        if isinstance(decision, Opens | Asks) and decision.action == "retrain":
            assert known.outcomes["data"] is not FAIL
            assert known.labelled >= line.rules.min_rows
            assert found is None or found.state == "open", "an escalated one waits for a person"
            retrained.append(known.now)
            month = [it for it in retrained if known.now - it < MONTH]
            assert len(month) <= line.rules.per_month
    for before, after in itertools.pairwise(retrained):
        assert after - before >= 60 * line.rules.cooldown_minutes
    assert len(retrained) <= line.opened + line.looks, "once, and once more after each look"


@given(ways())
def test_on_any_way_what_is_clear_is_closed_and_what_is_unsure_moves_nothing(line):
    for found, known, decision in line.log:
        closes = isinstance(decision, Moves) and decision.state == "closed"
        clear = found is not None and all(known.outcomes[it] is PASS for it in found.cause)
        failing = any(
            known.outcomes[it] is FAIL and line.policies[it].action != "nothing" for it in KINDS
        )
        if closes:
            assert clear
        if clear and not failing and found.state in ("open", "escalated", "reopened", "returned"):
            assert closes
        if not failing and not (known.fell and found and found.state == "retrained"):
            assert not isinstance(decision, Opens | Asks | Waits)
            unsure = set(known.outcomes.values()) == {UNKNOWN}
            late = isinstance(decision, Moves) and "not seen to be clear" in decision.why
            assert not unsure or isinstance(decision, Nothing) or late
