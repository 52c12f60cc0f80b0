"""Drives a rollout: makes the world as the state wants it, looks, and asks for the next state.

Anybody may drive: everything that decides is in the ledger, and a lock lets one at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from andon import rollout as machine
from andon.adapters.ledger import Candidate, Ledger, Release, lock, lock_if_free
from andon.adapters.step_watch import ProbeFunction, StepWatch, unmeasured
from andon.adapters.watching.loading import GatewayLoad, LoadFunction
from andon.adapters.world import WorldMaker
from andon.errors import GatewayError, Overtaken, TargetError
from andon.ports import Gateway, Target, server_name
from andon.rollout import Rollout
from andon.settings import Settings
from andon.spec import AllAtOnce, AnyPlan, AnyStep, Limits, Load, ShadowOnly, Step
from andon.verdict import Outcome, Verdict, gate

TICK = 0.25
ABANDONED_SECONDS = 900.0
MENDED = "; mended: "  # in what `restore` says, before what it found
AT_WORK = "a release is at work"  # what `restore` says while somebody drives
# For a version that is known: it only has to be ready, and to be itself.
AT_ONCE = AllAtOnce(
    strategy="all_at_once", steps=(Step(weight=100, seconds=0, min_requests=0, gate=()),)
)

Report = Callable[[Release, list[Verdict]], None]


def _quietly(release: Release, verdicts: list[Verdict]) -> None:
    pass


@dataclass(frozen=True)
class Order:
    """What is asked of a release: where, by which plan, within which limits, and by whom.

    `against`: the champion that the candidate was compared with ("": none); None: whoever it is.
    `load`: requests at a steady rate in the last step, `load_runs` times.
    """

    environment: str
    plan: AnyPlan
    limits: Limits
    trigger: str
    run_id: str
    kind: Literal["release", "rollback"] = "release"
    inconclusive_seconds: float = 60.0
    against: str | None = None
    load: Load | None = None
    load_runs: int = 1


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
        self.send_load: LoadFunction = GatewayLoad(settings)
        self._clock, self._sleep = clock, sleep
        self._world = WorldMaker(settings, ledger, target, gateway, clock=clock, sleep=sleep)

    def release(
        self,
        candidate: Candidate,
        order: Order,
        report: Report = _quietly,
        *,
        leave_at_approval: bool = False,
        waiting: Callable[[], None] = lambda: None,
    ) -> tuple[Release, list[Verdict]]:
        """Bring a candidate through an environment, or resume where a killed run left off.

        Returns the ended release (or, with `leave_at_approval`, one that waits for a person) and
        the last verdicts. A candidate that is champion already is left as it is, and a run tries a
        version once: asked again, it says how that ended. A rollback, and a plan whose `newer` is
        supersede, interrupt what is in progress; others wait for it (`waiting` is called once).
        """
        environment, model = order.environment, candidate.model
        self._make_way(candidate, order)
        with lock(self._ledger, turn(environment, model), waiting):
            self._end_others(candidate, order)
            champion = self._ledger.champion(environment, model)
            found = self._ledger.unfinished(environment, model)
            if found is not None:
                found = self._ledger.save_release(
                    found, machine.resume(found.rollout, self._clock())
                )
            elif champion and champion.version == candidate.version:
                self._world.make(environment, model, champion.rollout)
                return champion, []
            elif ended := self._ledger.ended_by(order.run_id, environment, candidate):
                self._world.make(environment, model, (champion or ended).rollout)
                return ended, []
            else:
                found = self._open(candidate, champion, order)
            return self._drive(found, report, leave_at_approval)

    def carry_on(
        self, environment: str, model: str, report: Report = _quietly
    ) -> tuple[Release, list[Verdict]] | None:
        """Drive what nobody drives to its end: after a crash, or while a person is waited for.

        None if somebody is at it, or there is nothing to do.
        """
        with lock_if_free(self._ledger, turn(environment, model)) as free:
            found = self._ledger.unfinished(environment, model) if free else None
            if found is None:
                return None
            resumed = machine.resume(found.rollout, self._clock())
            return self._drive(self._ledger.save_release(found, resumed), report, False)

    def command(
        self, environment: str, model: str, change: Callable[[Rollout, float], Rollout]
    ) -> Release | None:
        """A person's word on the release in progress, written to the ledger; whoever drives obeys.

        `change` is one of `andon.rollout`'s abort, pause, proceed, answer, with its other arguments
        filled in. None if there is no release in progress, or the word does not apply to its state.
        """
        while found := self._ledger.unfinished(environment, model):
            state = change(found.rollout, self._clock())
            if state == found.rollout:
                return None
            # Its driver may have taken a step since we looked: then look again.
            with suppress(Overtaken):
                return self._ledger.save_release(found, state)
        return None

    def restore(self, environment: str, model: str) -> str:
        """Make the world match the ledger: after a start, a crash, or somebody's hand.

        A release that a driver is at is left to it; one that nobody has driven for
        ABANDONED_SECONDS is rolled back, unless it waits for a person: see `carry_on`.
        """
        with lock_if_free(self._ledger, turn(environment, model)) as free:
            if not free:
                return AT_WORK
            release = self._settled(environment, model)
            if release is None:
                return "nothing released"
            mended = self._world.make(environment, model, release.rollout)
            told = f"v{release.version}: {release.rollout}"
            return f"{told}{MENDED}{'; '.join(mended)}" if mended else told

    def _settled(self, environment: str, model: str) -> Release | None:
        """The release whose state holds now; what has been left too long is ended first."""
        release = self._ledger.unfinished(environment, model)
        if release is not None:
            state = release.rollout
            if not state.waits and self._clock() - state.since > ABANDONED_SECONDS:
                why = "abandoned: nobody drives it any more"
                self._ledger.save_release(release, machine.abort(state, self._clock(), why))
                release = None
        release = release or self._ledger.champion(environment, model)
        if release is None:  # nothing may be left of one that nothing was before
            release = next(iter(self._ledger.releases(model, environment, limit=1)), None)
        if release is not None and release.rollout.ended:
            cooled = machine.cool(release.rollout, self._clock())
            if cooled != release.rollout:
                release = self._ledger.save_release(release, cooled)
        return release

    def _open(self, candidate: Candidate, champion: Release | None, order: Order) -> Release:
        environment, model, plan = order.environment, candidate.model, order.plan
        serving = champion.version if champion else ""
        if order.against is not None and order.against != serving:
            compared, now = (f"v{it}" if it else "none" for it in (order.against, serving))
            raise Overtaken(
                f"{model} v{candidate.version} was compared with champion {compared}, and it is "
                f"{now} now: it has to be compared anew"
            )
        steps: tuple[AnyStep, ...] = plan.steps
        if self._served_just_now(candidate, order):
            steps = AT_ONCE.steps
        if champion is None:
            steps = machine.without_champion(steps)
        rollout = Rollout(
            candidate=server_name(environment, model, candidate.version),
            champion=champion and server_name(environment, model, champion.version),
            steps=steps,
            limits=order.limits,
            inconclusive_seconds=order.inconclusive_seconds,
            on_inconclusive=plan.on_inconclusive,
            pause_seconds=plan.pause_within,
            warm_seconds=plan.keep_warm,
            sticky=plan.sticky.cookie if plan.sticky else "",
            sticky_header=plan.sticky.header if plan.sticky else "",
            load=order.load,
            load_runs=order.load_runs,
            promotes=champion is None or not isinstance(plan, ShadowOnly),
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

    def _served_just_now(self, candidate: Candidate, order: Order) -> bool:
        """Whether the version was champion within the plan's window: it need not be tried again."""
        until = self._ledger.let_go_at(order.environment, candidate.model, candidate.version)
        return until is not None and self._clock() - until < order.plan.rollback_window

    def _drive(
        self, release: Release, report: Report, leave_at_approval: bool
    ) -> tuple[Release, list[Verdict]]:
        watch = self._watch()
        spec = self._world.spec(release.environment, self._ledger.candidate_of(release))
        verdicts: list[Verdict] = []
        applied = -1
        while True:
            try:
                # Once a state: to start a crashed candidate again and again would hide its crash.
                if applied != release.revision:
                    self._world.make(release.environment, release.model, release.rollout)
                    applied = release.revision
                if release.rollout.ended:
                    report(release, verdicts)
                    return release, verdicts
                verdicts = watch.look(release, spec)
            except (TargetError, GatewayError) as error:
                if release.rollout.ended:
                    raise
                verdicts = [unmeasured("ready", error)]
            report(release, verdicts)
            if leave_at_approval and release.rollout.approval is not None:
                return release, verdicts
            bad = [it for it in verdicts if it.outcome is not Outcome.PASS]
            reason = "; ".join(f"{it.check}: {it.detail}" for it in bad)
            state = machine.advance(release.rollout, gate(verdicts), self._clock(), reason)
            following = self._next(release, state)
            if following.revision != release.revision:
                release, watch = following, self._watch()
                continue
            self._sleep(TICK)

    def _next(self, release: Release, state: Rollout) -> Release:
        """The state written down; or what a person has made of the release in the meantime.

        Raises Overtaken if it was no person but another driver.
        """
        if state != release.rollout:
            with suppress(Overtaken):
                return self._ledger.save_release(release, state)
        found = self._ledger.release(release.seq)
        if found.revision != release.revision and found.rollout.orders == release.rollout.orders:
            raise Overtaken(
                f"release {release.seq} of {release.model} in {release.environment} was changed by "
                "another run in the meantime; this run stops"
            )
        return found

    def _watch(self) -> StepWatch:
        parts = self._settings, self._target, self._gateway, self._probe, self._clock
        return StepWatch(*parts, self.send_load)

    def _make_way(self, candidate: Candidate, order: Order) -> None:
        """End what is in progress, where the order does not wait for it, nor can resume it."""
        why = "a rollback was asked for"
        if order.kind == "release":
            ended = self._ledger.ended_by(order.run_id, order.environment, candidate)
            if order.plan.newer == "queue" or ended:
                return
            why = f"superseded by version {candidate.version}"
        while found := self._ledger.unfinished(order.environment, candidate.model):
            mine = found.version == candidate.version
            if order.kind == "release" and int(found.version) > int(candidate.version):
                return  # an older one that comes late is not newer
            if mine and (order.kind == "release" or found.kind == "rollback"):
                return
            state = machine.abort(found.rollout, self._clock(), why)
            # Its driver may have taken a step since we looked: then look again.
            with suppress(Overtaken):
                self._ledger.save_release(found, state)

    def _end_others(self, candidate: Candidate, order: Order) -> None:
        """A release of another version that nobody drives: its run is gone.

        One that waits for a person is brought to its end first, watched by us.
        """
        environment, model = order.environment, candidate.model
        found = self._ledger.unfinished(environment, model)
        if found is None or found.version == candidate.version:
            return
        state = found.rollout
        if order.kind == "release" and state.waits:
            self._drive(found, _quietly, False)
            return
        why = f"superseded by version {candidate.version}"
        found = self._ledger.save_release(found, machine.abort(state, self._clock(), why))
        self._world.make(environment, model, found.rollout)


def turn(environment: str, model: str) -> str:
    """The lock of whoever drives, or mends, a place."""
    return f"release/{environment}/{model}"


def driven(ledger: Ledger, environment: str, model: str) -> bool:
    """Whether somebody is at the release of this place."""
    with lock_if_free(ledger, turn(environment, model)) as free:
        return not free
