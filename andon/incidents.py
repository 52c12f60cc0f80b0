"""What a failed monitor does: one incident from the first failure to the all-clear.

Decides only: what there is to know comes in, a decision with its reason comes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from andon.spec import Action, Retraining, Severity
from andon.verdict import Outcome

Group = Literal["rows", "service", "resources"]
State = Literal[
    "open",  # something fails
    "retraining",  # an alert asked for it, and it has not ended
    "returning",  # an alert asked for a rollback, and it has not ended
    "retrained",  # released; has to come back clear
    "returned",  # rolled back; has to come back clear
    "reopened",  # it did not
    "escalated",  # nothing more happens by itself
    "halted",  # a retraining made it worse, and was undone
    "closed",
]
PEOPLE: tuple[State, ...] = ("reopened", "escalated", "halted")  # nothing more until one looked
AT_WORK: tuple[State, ...] = ("retraining", "returning")
MONTH = 30 * 86_400.0  # seconds
_WORSE: tuple[Severity, ...] = get_args(Severity)  # the worst is the last
_BROKEN = "nothing is learned from data that look broken"


@dataclass(frozen=True)
class Policy:
    """What the failure of one monitor does, and how bad it is."""

    action: Action
    severity: Severity


@dataclass(frozen=True)
class Standing:
    """The incident that is open; `cause`: kinds of monitors. `went_back`: it was rolled back."""

    state: State
    cause: tuple[str, ...]
    severity: Severity
    looked: bool = False
    went_back: bool = False


@dataclass(frozen=True)
class Facts:
    """What a monitor run, the spec and the ledger know; times are epoch seconds.

    `outcomes`: of the kinds that this run looked at. `policies`: of all kinds of the group that the
    spec watches. `asked`: when alerts asked for retrainings of the model. `labelled`: labelled live
    rows since the incident began; None: not counted. `earlier`: the version that a rollback leads
    to, or "". `fell`: figures, if quality fell from the version before to this one, or "".
    `released`: when what serves was released. `hindered`: why this place is never retrained, or "".
    """

    now: float
    outcomes: Mapping[str, Outcome]
    policies: Mapping[str, Policy]
    rules: Retraining = field(default_factory=Retraining)
    asked: Sequence[float] = ()
    labelled: int | None = 0
    earlier: str = ""
    fell: str = ""
    released: float = 0.0
    hindered: str = ""


@dataclass(frozen=True)
class Nothing:
    """All stays as it is."""

    why: str


@dataclass(frozen=True)
class Opens:
    """A new incident with an alert, which asks for `action`."""

    action: Action
    state: State
    cause: tuple[str, ...]
    severity: Severity
    why: str


@dataclass(frozen=True)
class Asks:
    """Another alert on the open incident, which asks for `action`."""

    action: Action
    state: State
    cause: tuple[str, ...]
    severity: Severity
    why: str


@dataclass(frozen=True)
class Moves:
    """The open incident goes to another state, or has got wider or worse."""

    state: State
    cause: tuple[str, ...]
    severity: Severity
    why: str


@dataclass(frozen=True)
class Waits:
    """The open incident would be retrained, but for this; `why` begins with `what`, and a colon."""

    what: str
    why: str


Decision = Nothing | Opens | Asks | Moves | Waits


def group_of(kind: str) -> Group:
    """Monitors of live rows share an incident; each other kind has one of its own."""
    if kind == "service":
        return "service"
    return "resources" if kind == "resources" else "rows"


def worst(severities: Sequence[Severity]) -> Severity:
    """The highest of some; of none the lowest there is."""
    return max(severities, key=_WORSE.index, default=_WORSE[0])


def decide(found: Standing | None, facts: Facts) -> Decision:
    """What happens now; `found` is the open incident of the group, if there is one."""
    failing = _failing(facts)
    if found is None:
        return _first(failing, facts) if failing else Nothing("nothing has failed")
    wider = tuple(dict.fromkeys((*found.cause, *failing)))
    worse = worst([found.severity, *(facts.policies[it].severity for it in failing)])
    if found.state in AT_WORK:
        return _same(found, wider, worse, "what was asked for has not ended yet")
    if found.state in ("retrained", "returned"):
        return _released(found, facts, wider, worse)
    return _standing(found, facts, wider, worse)


def _standing(
    found: Standing, facts: Facts, cause: tuple[str, ...], severity: Severity
) -> Decision:
    """Nothing was asked for, or what was has ended without a release."""
    failing = _failing(facts)
    if _clear(found, facts):
        return _over(found, facts)
    if found.state in PEOPLE:
        return _same(found, cause, severity, "it waits for a person")
    if not failing:
        return Nothing("nothing fails for sure, and not all is clear")
    return _again(found, facts, cause, severity)


def _failing(facts: Facts) -> tuple[str, ...]:
    return tuple(
        kind
        for kind, policy in facts.policies.items()
        if facts.outcomes.get(kind) is Outcome.FAIL and policy.action != "nothing"
    )


def _first(failing: tuple[str, ...], facts: Facts) -> Decision:
    severity = worst([facts.policies[it].severity for it in failing])
    action, why = _answer(failing, facts, went_back=False, broke=False)
    return Opens(action, _asked(action), failing, severity, why)


def _again(found: Standing, facts: Facts, cause: tuple[str, ...], severity: Severity) -> Decision:
    """An incident that is open and still fails: what was in the way may be gone."""
    failing = _failing(facts)
    broke = "data" in found.cause and facts.outcomes.get("data") is not Outcome.PASS
    action, why = _answer(failing, facts, went_back=found.went_back, broke=broke)
    if action in ("retrain", "rollback"):
        return Asks(action, _asked(action), cause, severity, why)
    if (cause, severity) != (found.cause, found.severity):
        return _same(found, cause, severity, why)
    if not why:
        return Nothing("people know, and nothing else was asked for")
    return Waits(why.partition(":")[0], why)


def _answer(
    failing: tuple[str, ...], facts: Facts, *, went_back: bool, broke: bool
) -> tuple[Action, str]:
    """What is asked for, and why not more. A rollback is quicker than a retraining."""
    wanted = {facts.policies[it].action for it in failing}
    reasons = []
    if "rollback" in wanted:
        if facts.earlier and not went_back:
            return "rollback", f"back to v{facts.earlier}"
        reasons.append(
            "no second rollback: it was rolled back already"
            if went_back
            else "no rollback: there is no earlier version"
        )
    if "retrain" in wanted:
        obstacle = _obstacle(facts, broke=broke)
        if not obstacle:
            return "retrain", f"{facts.labelled:,} labelled rows to learn from"
        reasons.append(obstacle)
    return "notify", "; ".join(reasons)


def _obstacle(facts: Facts, *, broke: bool) -> str:
    """Why nothing is retrained now, or ""; what it waits for comes first."""
    if facts.hindered:
        return f"no retraining: {facts.hindered}"
    return _unsound(facts, broke=broke) or _too_often(facts) or _too_few(facts)


def _unsound(facts: Facts, *, broke: bool) -> str:
    if facts.outcomes.get("data") is Outcome.FAIL:
        return f"waits for sound data: {_BROKEN}"
    if broke:
        return f"waits for sound data: {_BROKEN}, and they have not passed since"
    return ""


def _too_often(facts: Facts) -> str:
    rules = facts.rules
    recent = [it for it in facts.asked if facts.now - it < MONTH]
    if len(recent) >= rules.per_month:
        many = f"{len(recent)} in 30 days, retraining.per_month is {rules.per_month}"
        return f"no retraining within the budget: {many}"
    if recent and facts.now - max(recent) < 60 * rules.cooldown_minutes:
        ago = f"the last one was asked for {(facts.now - max(recent)) / 60:.0f} min ago"
        limit = f"retraining.cooldown_minutes is {rules.cooldown_minutes:g}"
        return f"no retraining within the cooldown: {ago}, {limit}"
    return ""


def _too_few(facts: Facts) -> str:
    if facts.labelled is None:
        return "waits for labels: they have not been counted"
    if facts.labelled < facts.rules.min_rows:
        return f"waits for labels: {facts.labelled:,} of {facts.rules.min_rows:,}"
    return ""


def _released(
    found: Standing, facts: Facts, cause: tuple[str, ...], severity: Severity
) -> Decision:
    """After a release the monitors have to come back clear on rows of what serves now."""
    failing = _failing(facts)
    if found.state == "retrained" and facts.fell:
        why = f"worse than the version before: {facts.fell}; no retraining until a person looks"
        if facts.earlier:
            return Asks("rollback", "halted", cause, severity, f"{why}; back to v{facts.earlier}")
        return Moves("halted", cause, severity, f"{why}; there is no earlier version")
    if failing:
        state: State = "reopened" if found.state == "retrained" else "escalated"
        after = "release" if found.state == "retrained" else "rollback"
        why = f"still not clear after the {after}: {_listed(failing)} fails; a person has to look"
        return Moves(state, cause, severity, why)
    if _clear(found, facts):
        return _over(found, facts)
    if facts.now - facts.released > facts.rules.clear_within:
        hours = facts.rules.clear_within / 3_600
        why = f"not seen to be clear within {hours:g} h (retraining.clear_within)"
        return Moves("escalated", cause, severity, f"{why}; a person has to look")
    return Nothing("not seen to be clear yet")


def _clear(found: Standing, facts: Facts) -> bool:
    """Whether every monitor of its cause passes; one that the spec has no more says nothing."""
    watched = [it for it in found.cause if it in facts.policies]
    return all(facts.outcomes.get(it) is Outcome.PASS for it in watched)


def _over(found: Standing, facts: Facts) -> Decision:
    if found.state == "halted" and not found.looked:
        return Nothing("clear, but a retraining has made it worse: a person has to look")
    left = [it for it in found.cause if it in facts.policies]
    why = f"{_listed(left)} clear" if left else "none of its monitors is left"
    return Moves("closed", found.cause, found.severity, why)


def _same(found: Standing, cause: tuple[str, ...], severity: Severity, why: str) -> Decision:
    if (cause, severity) == (found.cause, found.severity):
        return Nothing(why)
    new = [it for it in cause if it not in found.cause]
    what = f"now {_listed(new)} fails, too" if new else f"it is {severity} now"
    return Moves(found.state, cause, severity, what)


def _asked(action: Action) -> State:
    states: dict[Action, State] = {"retrain": "retraining", "rollback": "returning"}
    return states.get(action, "open")


def _listed(kinds: Sequence[str]) -> str:
    return ", ".join(kinds)
