"""The rollout's state machine: pure, so that it can be tested for every history.

A state says what the world must look like (`wanted`); a driver makes it so, observes, and asks for
the next state (`advance`). The state is written to the ledger before the world is changed, and
making the world so is idempotent: after a crash the driver reads the state and does it again.

    starting ──ready──▶ stepping 0 ──gate──▶ stepping 1 … ──gate──▶ promoted
        └──────crash, failed gate, or inconclusive for too long──▶ rolled_back
"""

from __future__ import annotations

from enum import StrEnum

from andon.spec import Frozen, Step
from andon.verdict import Outcome


class Phase(StrEnum):
    STARTING = "starting"
    STEPPING = "stepping"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"


class Rollout(Frozen):
    """One candidate's way through one environment. Times are epoch seconds.

    `candidate` and `champion` are names of servers; without a champion there is nothing to share
    traffic with, and every step sends all of it to the candidate.
    """

    candidate: str
    champion: str | None
    steps: tuple[Step, ...]
    start_seconds: float = 60.0
    inconclusive_seconds: float = 60.0
    phase: Phase = Phase.STARTING
    step: int = 0
    since: float
    reason: str = ""

    @property
    def ended(self) -> bool:
        return self.phase in (Phase.PROMOTED, Phase.ROLLED_BACK)

    @property
    def current(self) -> Step | None:
        """The step in progress."""
        return self.steps[self.step] if self.phase is Phase.STEPPING else None

    def __str__(self) -> str:
        if step := self.current:
            return f"step {self.step + 1}/{len(self.steps)} at {step.weight} %"
        return self.phase.value.replace("_", " ")


class World(Frozen):
    """Which servers must run and how the traffic is split; weights sum to 100, or are empty."""

    servers: frozenset[str]
    weights: dict[str, int]
    stable: str | None


def wanted(rollout: Rollout) -> World:
    """What the world must look like in this state."""
    candidate, champion = rollout.candidate, rollout.champion
    if rollout.phase is Phase.PROMOTED:
        return World(servers=frozenset({candidate}), weights={candidate: 100}, stable=candidate)
    if rollout.phase is Phase.ROLLED_BACK:
        return _only(champion)
    if rollout.phase is Phase.STARTING:
        alone = _only(champion)
        return alone.model_copy(update={"servers": alone.servers | {candidate}})
    step = rollout.steps[rollout.step]
    if champion is None:
        return World(servers=frozenset({candidate}), weights={candidate: 100}, stable=candidate)
    return World(
        servers=frozenset({candidate, champion}),
        weights={champion: 100 - step.weight, candidate: step.weight},
        stable=champion,
    )


def _only(server: str | None) -> World:
    if server is None:
        return World(servers=frozenset(), weights={}, stable=None)
    return World(servers=frozenset({server}), weights={server: 100}, stable=server)


def advance(rollout: Rollout, outcome: Outcome, now: float, reason: str = "") -> Rollout:
    """The next state, or the same one if there is nothing to decide yet.

    `outcome` is readiness while starting (inconclusive: not ready yet) and the gate's while
    stepping. A failed gate never promotes, at whatever time it is seen.
    """
    if rollout.ended:
        return rollout
    if outcome is Outcome.FAIL:
        return _end(rollout, Phase.ROLLED_BACK, now, reason or "a check failed")
    if outcome is Outcome.INCONCLUSIVE:
        return _patience(rollout, now, reason)
    if rollout.phase is Phase.STARTING:
        first = {"phase": Phase.STEPPING, "step": 0, "since": now, "reason": ""}
        return rollout.model_copy(update=first)
    if now - rollout.since < rollout.steps[rollout.step].seconds:
        return rollout
    return _next_step(rollout, now)


def _next_step(rollout: Rollout, now: float) -> Rollout:
    if rollout.step + 1 < len(rollout.steps):
        following = {"step": rollout.step + 1, "since": now, "reason": ""}
        return rollout.model_copy(update=following)
    return _end(rollout, Phase.PROMOTED, now, "every gate passed")


def abort(rollout: Rollout, now: float, reason: str) -> Rollout:
    """Back to the champion, from any state that has not ended."""
    return rollout if rollout.ended else _end(rollout, Phase.ROLLED_BACK, now, reason)


def resume(rollout: Rollout, now: float) -> Rollout:
    """Go on after a crash: what this state has to see, and may wait for, counts from now.

    While nobody watched nothing was seen, and nobody's patience was tried.
    """
    if rollout.ended:
        return rollout
    return rollout.model_copy(update={"since": now, "reason": "resumed"})


def _patience(rollout: Rollout, now: float, reason: str) -> Rollout:
    waited = now - rollout.since
    if rollout.phase is Phase.STARTING:
        limit, what = rollout.start_seconds, "not ready"
    else:
        step = rollout.steps[rollout.step]
        limit, what = step.seconds + rollout.inconclusive_seconds, "inconclusive"
    if waited < limit:
        return rollout
    why = f"{what} for {waited:.0f} s" + (f": {reason}" if reason else "")
    return _end(rollout, Phase.ROLLED_BACK, now, why)


def _end(rollout: Rollout, phase: Phase, now: float, reason: str) -> Rollout:
    return rollout.model_copy(update={"phase": phase, "since": now, "reason": reason})
