"""Drives a rollout: makes the world as the state wants it, looks, and asks for the next state."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from andon.adapters.ledger import Candidate, Ledger, Release, lock
from andon.adapters.step_watch import ProbeFunction, StepWatch, unmeasured
from andon.errors import GatewayError, LineError, TargetError
from andon.ports import Gateway, Route, Server, ServerSpec, Target
from andon.rollout import Rollout, World, abort, advance, resume, wanted
from andon.settings import Settings
from andon.spec import Limits, Step
from andon.verdict import Outcome, Verdict, gate

TICK = 0.25
ABANDONED_SECONDS = 900.0


Report = Callable[[Release, list[Verdict]], None]


@dataclass(frozen=True)
class Order:
    """What is asked of a release: where, by which steps, within which limits, and by whom."""

    environment: str
    steps: tuple[Step, ...]
    limits: Limits
    trigger: str
    run_id: str
    kind: Literal["release", "rollback"] = "release"
    inconclusive_seconds: float = 60.0


class Driver:
    """One environment's rollouts. Everything it must remember is in the ledger."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        target: Target,
        gateway: Gateway,
        probe: ProbeFunction,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings, self._ledger = settings, ledger
        self._target, self._gateway, self._probe = target, gateway, probe
        self._clock, self._sleep = clock, sleep

    def release(
        self, candidate: Candidate, order: Order, report: Report = lambda release, verdicts: None
    ) -> tuple[Release, list[Verdict]]:
        """Bring a candidate through an environment, or resume where a killed run left off.

        Returns the ended release and the last verdicts. A candidate that is champion already is
        left as it is, and a run tries a version once: asked again, it says how that ended.
        A rollback interrupts what is in progress; other kinds wait for it.
        """
        environment, model = order.environment, candidate.model
        if order.kind == "rollback":
            self._interrupt(environment, model, candidate.version)
        with lock(self._ledger, f"release/{environment}/{model}"):
            champion = self._ledger.champion(environment, model)
            found = self._ledger.unfinished(environment, model)
            if found is not None and found.version != candidate.version:
                self._finish_off(found, f"superseded by version {candidate.version}")
                found = None
            if found is not None:
                found = self._ledger.save_release(found, resume(found.rollout, self._clock()))
            elif champion and champion.version == candidate.version:
                self._apply(environment, model, wanted(champion.rollout))
                return champion, []
            elif ended := self._ledger.ended_by(order.run_id, environment, candidate):
                self._apply(environment, model, wanted((champion or ended).rollout))
                return ended, []
            else:
                found = self._open(candidate, champion, order)
            return self._drive(found, candidate, order.limits, report)

    def _open(self, candidate: Candidate, champion: Release | None, order: Order) -> Release:
        environment, model = order.environment, candidate.model
        # Without a champion there is nothing to share traffic with: one step, the last.
        rollout = Rollout(
            candidate=self._name(environment, model, candidate.version),
            champion=champion and self._name(environment, model, champion.version),
            steps=order.steps if champion else order.steps[-1:],
            inconclusive_seconds=order.inconclusive_seconds,
            since=self._clock(),
        )
        return self._ledger.open_release(
            rollout,
            environment=environment,
            model=model,
            version=candidate.version,
            kind=order.kind,
            trigger=order.trigger,
            run_id=order.run_id,
        )

    def restore(self, environment: str, model: str) -> str:
        """Make the world match the ledger: after a start, a crash, or somebody's hand.

        A release that a driver is at is left to it; one that nobody has driven for
        ABANDONED_SECONDS is rolled back, because nobody watches its gates.
        """
        try:
            with lock(self._ledger, f"release/{environment}/{model}", _leave_it):
                release = self._ledger.unfinished(environment, model)
                if release and self._clock() - release.rollout.since > ABANDONED_SECONDS:
                    release = self._finish_off(release, "abandoned: nobody drives it any more")
                if release is None or release.rollout.ended:
                    release = self._ledger.champion(environment, model)
                if release is None:
                    return "nothing released"
                self._apply(environment, model, wanted(release.rollout))
                return f"v{release.version}: {release.rollout}"
        except _AtWork:
            return "a release is at work"

    def _drive(
        self, release: Release, candidate: Candidate, limits: Limits, report: Report
    ) -> tuple[Release, list[Verdict]]:
        watch = self._watch()
        spec = self._spec(release.environment, candidate)
        verdicts: list[Verdict] = []
        applied = -1
        while True:
            try:
                # Once a state: to start a crashed candidate again and again would hide its crash.
                if applied != release.revision:
                    self._apply(release.environment, release.model, wanted(release.rollout))
                    applied = release.revision
                if release.rollout.ended:
                    report(release, verdicts)
                    return release, verdicts
                verdicts = watch.look(release, spec, limits)
            except (TargetError, GatewayError) as error:
                if release.rollout.ended:
                    raise
                verdicts = [unmeasured("ready", error)]
            report(release, verdicts)
            bad = [it for it in verdicts if it.outcome is not Outcome.PASS]
            reason = "; ".join(f"{it.check}: {it.detail}" for it in bad)
            state = advance(release.rollout, gate(verdicts), self._clock(), reason)
            if state != release.rollout:
                release, watch = self._ledger.save_release(release, state), self._watch()
                continue
            self._still_mine(release)
            self._sleep(TICK)

    def _watch(self) -> StepWatch:
        return StepWatch(self._target, self._gateway, self._probe, self._clock)

    def _apply(self, environment: str, model: str, world: World) -> None:
        """Start what must run, wait until what gets traffic is ready, route, stop the rest."""
        specs = {name: self._spec_of(environment, model, name) for name in sorted(world.servers)}
        for name in world.weights:
            self._target.start(specs[name])
        if world.stable is None:
            self._gateway.remove(environment, model)
        else:
            urls = {name: self._ready(specs[name]).url for name in world.weights}
            self._gateway.apply(
                Route(
                    environment=environment,
                    model=model,
                    backends=urls,
                    weights=world.weights,
                    stable=world.stable,
                    versions={name: specs[name].version for name in world.weights},
                )
            )
        # What serves comes first: a candidate that cannot be started must not keep it waiting.
        for name in sorted(world.servers - set(world.weights)):
            self._target.start(specs[name])
        mine = re.compile(re.escape(f"{environment}-{model}-v") + r"\d+")
        extra = {n for n in self._target.names() if mine.fullmatch(n)} - world.servers
        if extra and world.stable is not None:
            self._sleep(self._settings.environments[environment].drain_seconds)
        for name in sorted(extra):
            self._target.stop(name)

    def _ready(self, spec: ServerSpec, seconds: float = 60.0) -> Server:
        """Wait for a server that is to get traffic; it needs an address, not health.

        The supervisor is at a dead one already, and the gateway fails over meanwhile.
        """
        end = self._clock() + seconds
        server = self._target.look(spec)
        while server.state == "starting" and self._clock() < end:
            self._sleep(0.1)
            server = self._target.look(spec)
        if not server.url:
            raise TargetError(f"{spec.name} is {server.state} and has no address: {server.detail}")
        return server

    def _finish_off(self, release: Release, reason: str) -> Release:
        release = self._ledger.save_release(release, abort(release.rollout, self._clock(), reason))
        self._apply(release.environment, release.model, wanted(release.rollout))
        return release

    def _interrupt(self, environment: str, model: str, version: str) -> None:
        """End what is in progress, unless it is a rollback to this version: that can be resumed."""
        while found := self._ledger.unfinished(environment, model):
            if found.kind == "rollback" and found.version == version:
                return
            state = abort(found.rollout, self._clock(), "a rollback was asked for")
            # Its driver may have taken a step since we looked: then look again.
            with suppress(LineError):
                self._ledger.save_release(found, state)

    def _still_mine(self, release: Release) -> None:
        if self._ledger.release(release.seq).revision != release.revision:
            raise LineError(
                f"release {release.seq} of {release.model} was interrupted: "
                f"{self._ledger.release(release.seq).rollout.reason}"
            )

    @staticmethod
    def _name(environment: str, model: str, version: str) -> str:
        return f"{environment}-{model}-v{version}"

    def _spec_of(self, environment: str, model: str, name: str) -> ServerSpec:
        version = name.removeprefix(f"{environment}-{model}-v")
        candidate = self._ledger.candidate(model, version)
        if candidate is None:
            raise LineError(f"the ledger knows no version {version} of {model}")
        return self._spec(environment, candidate)

    def _spec(self, environment: str, candidate: Candidate) -> ServerSpec:
        return ServerSpec(
            environment=environment,
            model=candidate.model,
            version=candidate.version,
            bundle=self._bundle(candidate),
            digest=candidate.digest,
        )

    def _bundle(self, candidate: Candidate) -> Path:
        return self._settings.state / candidate.bundle


class _AtWork(Exception):
    """Somebody else holds the release's lock."""


def _leave_it() -> None:
    raise _AtWork
