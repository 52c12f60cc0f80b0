"""The rollout's state machine: pure, so that it can be tested for every history.

A state says what the world must look like (`wanted`); a driver makes it so, observes, and asks for
the next state (`advance`). The state is written to the ledger before the world is changed, and
making the world so is idempotent: after a crash the driver reads the state and does it again.
Everything that decides is in the state, so that whoever finds it can carry on.

    starting ──ready──▶ stepping 0 ──gate──▶ stepping 1 … ──gate──▶ promoted (or shadowed)
        │                 │    ▲ inconclusive, or a person says so
        │                 ▼    │
        │                paused
        └──crash, failed gate, deadline, abort: from any of these──▶ rolled back

A step is a share of the traffic, a mirror, or an approval: a wait for a person, in which the
traffic stays as it was, and is watched.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Literal

from andon.spec import AnyStep, Approval, Frozen, GateName, Limits, Load, Mirror, Step
from andon.verdict import Outcome


class Phase(StrEnum):
    STARTING = "starting"
    STEPPING = "stepping"
    PAUSED = "paused"
    PROMOTED = "promoted"
    SHADOWED = "shadowed"
    ROLLED_BACK = "rolled_back"


ENDS = frozenset({Phase.PROMOTED, Phase.SHADOWED, Phase.ROLLED_BACK})


class Answer(Frozen):
    """What a person said to an approval step, and when (epoch seconds)."""

    step: int
    approved: bool
    by: str
    at: float
    note: str = ""


class Rollout(Frozen):
    """One candidate's way through one environment. Times are epoch seconds.

    `candidate` and `champion` are names of servers; without a champion there is nothing to share
    traffic with, and every step sends all of it to the candidate. `orders` counts what people
    changed: a driver that finds more of them than it knows takes the new state for its own.
    `load`: in the last step, requests at a steady rate, `load_runs` times.
    """

    candidate: str
    champion: str | None
    steps: tuple[AnyStep, ...]
    limits: Limits = Limits()
    start_seconds: float = 60.0
    inconclusive_seconds: float = 60.0
    on_inconclusive: Literal["pause", "continue", "abort"] = "abort"
    pause_seconds: float = 3_600.0
    warm_seconds: float = 0.0
    sticky: str = ""
    sticky_header: str = ""
    promotes: bool = True
    load: Load | None = None
    load_runs: int = 1
    phase: Phase = Phase.STARTING
    step: int = 0
    since: float
    reason: str = ""
    by_hand: bool = False
    warm: bool = False
    answers: tuple[Answer, ...] = ()
    orders: int = 0

    @property
    def ended(self) -> bool:
        return self.phase in ENDS

    @property
    def current(self) -> AnyStep | None:
        """The step in progress, also while it is paused."""
        return self.steps[self.step] if self.phase in (Phase.STEPPING, Phase.PAUSED) else None

    @property
    def approval(self) -> Approval | None:
        """What a person has to say yes to now."""
        step = self.current
        return step if isinstance(step, Approval) and self.phase is Phase.STEPPING else None

    @property
    def waits(self) -> bool:
        """Whether it stays where it is until a person speaks, or a deadline comes."""
        return self.phase is Phase.PAUSED or self.approval is not None

    @property
    def told(self) -> str:
        """The state, and why it is in it."""
        return f"{self}: {self.reason}" if self.reason else f"{self}"

    @property
    def carrying(self) -> Step | Mirror | None:
        """The step that says where traffic goes: this one, or the last before an approval."""
        if self.current is None:
            return None
        before = [it for it in self.steps[: self.step + 1] if not isinstance(it, Approval)]
        return before[-1] if before else None

    @property
    def gate(self) -> tuple[GateName, ...]:
        """What is watched in this state, besides that the candidate is there and right."""
        return self.carrying.gate if self.carrying else ()

    def __str__(self) -> str:
        step = self.current
        if step is None:
            return self.phase.value.replace("_", " ")
        what = f"step {self.step + 1}/{len(self.steps)} {_told(step, self.champion)}"
        return f"{what}, paused" if self.phase is Phase.PAUSED else what


def _told(step: AnyStep, champion: str | None) -> str:
    if isinstance(step, Approval):
        return f"waits for {step.approve}"
    if isinstance(step, Mirror):
        return f"mirrors {step.mirror} %"
    return f"at {step.weight if champion else 100} %"


class World(Frozen):
    """Which servers must run and how the traffic is split; weights sum to 100, or are empty."""

    servers: frozenset[str]
    weights: dict[str, int]
    stable: str | None
    mirrors: dict[str, int] = {}


def wanted(rollout: Rollout) -> World:
    """What the world must look like in this state."""
    candidate, champion = rollout.candidate, rollout.champion
    if rollout.phase is Phase.PROMOTED:
        return _all_to(candidate, champion if rollout.warm else None)
    if rollout.ended:
        return _only(champion)
    carrying = rollout.carrying
    if carrying is None:
        alone = _only(champion)
        return alone.model_copy(update={"servers": alone.servers | {candidate}})
    if champion is None:
        return _all_to(candidate, None)
    mirror = isinstance(carrying, Mirror)
    weight = 0 if isinstance(carrying, Mirror) else carrying.weight
    return World(
        servers=frozenset({candidate, champion}),
        weights={champion: 100 - weight, candidate: weight},
        stable=champion,
        mirrors={candidate: carrying.mirror} if mirror else {},  # type: ignore[union-attr]
    )


def _all_to(candidate: str, kept: str | None) -> World:
    weights = {candidate: 100} | ({kept: 0} if kept else {})
    return World(servers=frozenset(weights), weights=weights, stable=candidate)


def _only(server: str | None) -> World:
    if server is None:
        return World(servers=frozenset(), weights={}, stable=None)
    return _all_to(server, None)


def without_champion(steps: Sequence[AnyStep]) -> tuple[AnyStep, ...]:
    """The steps of a first release, with nothing to compare: approvals, and the last share."""
    last = [it for it in steps if not isinstance(it, Approval)][-1:]
    if not last or isinstance(last[0], Mirror):
        held = {it: getattr(last[0], it) for it in ("seconds", "min_requests")} if last else {}
        whole: AnyStep = Step(weight=100, **held)
        return (*(it for it in steps if isinstance(it, Approval)), whole)
    return tuple(it for it in steps if isinstance(it, Approval) or it is last[0])


def advance(rollout: Rollout, outcome: Outcome, now: float, reason: str = "") -> Rollout:
    """The next state, or the same one if there is nothing to decide yet.

    `outcome` is readiness while starting (inconclusive: not ready yet) and the gate's from then on.
    A failed gate never promotes, at whatever time it is seen: also while a person is waited for.
    """
    if rollout.ended:
        return rollout
    if outcome is Outcome.FAIL:
        return _end(rollout, Phase.ROLLED_BACK, now, reason or "a check failed")
    if rollout.phase is Phase.PAUSED:
        return _paused(rollout, outcome, now)
    if rollout.approval is not None:
        return _unanswered(rollout, rollout.approval, now)
    return _watched(rollout, outcome, now, reason)


def _watched(rollout: Rollout, outcome: Outcome, now: float, reason: str) -> Rollout:
    if outcome is Outcome.INCONCLUSIVE:
        return _patience(rollout, now, reason)
    if rollout.phase is Phase.STARTING:
        return _to(rollout, Phase.STEPPING, now, step=0)
    if now - rollout.since < _held(rollout):
        return rollout
    return _next_step(rollout, now, "every gate passed")


def abort(rollout: Rollout, now: float, reason: str) -> Rollout:
    """Back to the champion, from any state that has not ended."""
    if rollout.ended:
        return rollout
    return _end(_ordered(rollout), Phase.ROLLED_BACK, now, reason)


def pause(rollout: Rollout, now: float, reason: str) -> Rollout:
    """Stay where it is until a person says otherwise; the same state if nothing is to be held."""
    if rollout.phase is not Phase.STEPPING or rollout.approval is not None:
        return rollout
    return _to(_ordered(rollout), Phase.PAUSED, now, reason=reason, by_hand=True)


def proceed(rollout: Rollout, now: float, reason: str) -> Rollout:
    """Out of a pause: the step begins again; the same state if there is none."""
    if rollout.phase is not Phase.PAUSED:
        return rollout
    return _to(_ordered(rollout), Phase.STEPPING, now, reason=reason)


def answer(rollout: Rollout, now: float, *, approved: bool, by: str, note: str = "") -> Rollout:
    """A person's answer to the approval step; the same state if none is waited for."""
    if rollout.approval is None:
        return rollout
    given = Answer(step=rollout.step, approved=approved, by=by, at=now, note=note)
    kept = _ordered(rollout).model_copy(update={"answers": (*rollout.answers, given)})
    told = f"{'approved' if approved else 'rejected'} by {by}" + (f": {note}" if note else "")
    return _next_step(kept, now, told) if approved else _end(kept, Phase.ROLLED_BACK, now, told)


def cool(rollout: Rollout, now: float) -> Rollout:
    """A promoted release lets its predecessor go, when that was kept warm for long enough.

    `since` stays the time of the promotion.
    """
    if not rollout.warm or now - rollout.since < rollout.warm_seconds:
        return rollout
    return rollout.model_copy(update={"warm": False, "reason": "the one before is let go"})


def resume(rollout: Rollout, now: float) -> Rollout:
    """Go on after a crash: what this state has to see, and may wait for, counts from now.

    While nobody watched nothing was seen, and nobody's patience was tried. A person's time goes on.
    """
    if rollout.ended or rollout.waits:
        return rollout
    return rollout.model_copy(update={"since": now, "reason": "resumed"})


def _held(rollout: Rollout) -> float:
    step = rollout.current
    return step.seconds if isinstance(step, Step | Mirror) else 0.0


def _next_step(rollout: Rollout, now: float, reason: str) -> Rollout:
    if rollout.step + 1 < len(rollout.steps):
        told = "" if reason == "every gate passed" else reason
        return _to(rollout, Phase.STEPPING, now, step=rollout.step + 1, reason=told)
    return _end(rollout, Phase.PROMOTED if rollout.promotes else Phase.SHADOWED, now, reason)


def _paused(rollout: Rollout, outcome: Outcome, now: float) -> Rollout:
    """The line's own pause ends when the gate passes; a person's does not."""
    if outcome is Outcome.PASS and not rollout.by_hand:
        return _to(rollout, Phase.STEPPING, now, reason="the gate could be decided again")
    if now - rollout.since < rollout.pause_seconds:
        return rollout
    why = f"paused for {now - rollout.since:.0f} s: {rollout.reason}"
    return _end(rollout, Phase.ROLLED_BACK, now, why)


def _unanswered(rollout: Rollout, approval: Approval, now: float) -> Rollout:
    if now - rollout.since < approval.within:
        return rollout
    why = f"no answer of {approval.approve} within {approval.within:.0f} s"
    return _end(rollout, Phase.ROLLED_BACK, now, why)


def _patience(rollout: Rollout, now: float, reason: str) -> Rollout:
    waited = now - rollout.since
    starting = rollout.phase is Phase.STARTING
    patience = rollout.inconclusive_seconds
    if waited < (rollout.start_seconds if starting else _held(rollout) + patience):
        return rollout
    what = "not ready" if starting else "inconclusive"
    why = f"{what} for {waited:.0f} s" + (f": {reason}" if reason else "")
    if starting or rollout.on_inconclusive == "abort":
        return _end(rollout, Phase.ROLLED_BACK, now, why)
    if rollout.on_inconclusive == "continue":
        return _next_step(rollout, now, f"{why}; the plan says to continue")
    return _to(rollout, Phase.PAUSED, now, reason=why)


def _ordered(rollout: Rollout) -> Rollout:
    return rollout.model_copy(update={"orders": rollout.orders + 1})


def _to(
    rollout: Rollout,
    phase: Phase,
    now: float,
    *,
    step: int | None = None,
    reason: str = "",
    by_hand: bool = False,
) -> Rollout:
    at = rollout.step if step is None else step
    change = {"phase": phase, "step": at, "since": now, "reason": reason, "by_hand": by_hand}
    return rollout.model_copy(update=change)


def _end(rollout: Rollout, phase: Phase, now: float, reason: str) -> Rollout:
    warm = phase is Phase.PROMOTED and rollout.champion is not None and rollout.warm_seconds > 0
    return rollout.model_copy(
        update={"phase": phase, "since": now, "reason": reason, "warm": warm, "by_hand": False}
    )
