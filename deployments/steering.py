"""What a person does to a release, at once and in this process: no flow run, so no Prefect.

It needs the ledger, the supervisor and the gateway, and nothing else.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from rich.console import Console
from rich.markup import escape

from andon import rollout as machine
from andon.adapters.driver import AT_WORK
from andon.adapters.going_back import order_back, to_return, version_back
from andon.adapters.ledger import Candidate, Release
from andon.adapters.mlflow_mirror import mirror_or_tell
from andon.adapters.world import spec_in
from andon.errors import GatewayError, LineError, TargetError
from andon.rollout import Phase, Rollout
from andon.verdict import Outcome, Verdict, gate
from deployments.parts import Parts

DEADLINE = 30.0  # seconds in which whoever drives has to obey
POLL = 0.1
LONGEST_NAME = 80
DONE, WAITS = "  [green]✓[/green] ", "  [dim]·[/dim] "

Change = Callable[[Rollout, float], Rollout]


@dataclass(frozen=True)
class Asked:
    """Who wants something of which model, where, and why. Raises LineError if nobody is named."""

    model: str
    environment: str
    who: str
    note: str = ""

    def __post_init__(self) -> None:
        if not self.who.strip() or len(self.who) > LONGEST_NAME:
            raise LineError(f"--by: say who you are, in 1 to {LONGEST_NAME} characters")

    @property
    def place(self) -> str:
        return f"{self.environment}/{self.model}"

    def told(self, what: str) -> str:
        """A reason for the ledger."""
        return f"{what} by {self.who}" + (f": {self.note}" if self.note else "")


def roll_back(parts: Parts, out: Console, asked: Asked, to: str, called: float) -> None:
    """Bring an earlier version back, and say how long that took since `called` (epoch seconds).

    Raises LineError if no such version can be had, or it did not come up: then nothing has changed.
    """
    run_id, ledger = str(uuid4()), parts.ledger
    trigger = f"{asked.who}, andon rollback"
    ledger.start_run(run_id, flow="rollback", model=asked.model, trigger=trigger)
    try:
        _return(parts, out, asked, to, Clocked(out, asked, called, run_id, trigger))
    except BaseException as error:
        outcome = "failed" if isinstance(error, Exception) else "interrupted"
        ledger.end_run(run_id, outcome, str(error))
        raise
    ledger.end_run(run_id, "completed", "")
    _mirror(parts, out, asked.model)


@dataclass
class Clocked:
    """Tells once when the gateway has confirmed: at what is reported after that it was routed."""

    out: Console
    asked: Asked
    called: float
    run_id: str
    trigger: str
    told: bool = False

    def __call__(self, release: Release, verdicts: list[Verdict]) -> None:
        ready = gate(verdicts) is Outcome.PASS and release.rollout.phase is Phase.STEPPING
        if ready or release.rollout.phase is Phase.PROMOTED:
            self.confirmed(release.version)

    def confirmed(self, version: str) -> None:
        if not self.told:
            seconds = time.time() - self.called
            said = f"v{version} has all the traffic, confirmed by the gateway after {seconds:.2f} s"
            self.out.print(f"{DONE}{said}")
        self.told = True


def _return(parts: Parts, out: Console, asked: Asked, to: str, clock: Clocked) -> None:
    environment, model = asked.environment, asked.model
    version = to.removeprefix("v") or version_back(parts.ledger, model, environment)
    candidate = to_return(parts.settings, parts.ledger, model, environment, version)
    champion = parts.ledger.champion(environment, model)
    assert champion is not None  # noqa: S101 - or nothing ever served
    how = _looked(parts, candidate, environment)
    if champion.version == version:
        out.print(f"{asked.place}: back to the champion, v{version}")
    else:
        out.print(f"{asked.place}: v{champion.version} → v{version}, {how}")
    interrupted = _interrupt(parts, out, asked, version)
    champion = parts.ledger.champion(environment, model) or champion  # one was promoted just now?
    if champion.version == version:
        if not interrupted:
            out.print(f"{WAITS}no release is in progress, and it serves already")
            parts.driver.restore(environment, model)
        clock.confirmed(version)
        return
    if interrupted:
        _take_the_turn(parts, out, asked, version)
    order = order_back(environment, clock.trigger, clock.run_id)
    waiting = functools.partial(out.print, f"{WAITS}another run is at it; this waits until it ends")
    release, _ = parts.driver.release(candidate, order, clock, waiting=waiting)
    if release.rollout.phase is not Phase.PROMOTED:
        raise LineError(
            f"{model} v{version} did not come back to {environment}: {release.rollout.reason}; "
            f"v{champion.version} serves as before"
        )
    clock.confirmed(version)
    out.print(f"{DONE}v{champion.version} has finished its requests, and is stopped")


def _looked(parts: Parts, candidate: Candidate, environment: str) -> str:
    """Whether it runs; raises at once where a release would go on trying for a minute."""
    parts.gateway.differences(environment, candidate.model)
    spec = spec_in(parts.settings, environment, candidate)
    runs = parts.target.look(spec).state == "ready"
    return "which runs" if runs else "which has to be started first"


def _interrupt(parts: Parts, out: Console, asked: Asked, version: str) -> bool:
    """End the release in progress, unless it is this very rollback, left behind."""
    found = parts.ledger.unfinished(asked.environment, asked.model)
    if found is None or (found.kind == "rollback" and found.version == version):
        return False
    change = functools.partial(machine.abort, reason=asked.told("a rollback was asked for"))
    ended = parts.driver.command(asked.environment, asked.model, change)
    if ended is None:
        return False
    out.print(f"{WAITS}the release of v{ended.version} in progress ends: {ended.rollout.reason}")
    settle(parts, ended)
    return True


def _take_the_turn(parts: Parts, out: Console, asked: Asked, version: str) -> None:
    """Before releases that have waited for the interrupted one to end: they end, too."""
    end = time.monotonic() + DEADLINE
    while parts.driver.restore(asked.environment, asked.model) == AT_WORK:
        _interrupt(parts, out, asked, version)
        if time.monotonic() > end:
            return  # then it waits
        time.sleep(POLL)


def _mirror(parts: Parts, out: Console, model: str) -> None:
    url = parts.settings.registry_url
    changes, wrong = mirror_or_tell(parts.ledger, url, model, patient=False)
    for change in changes:
        out.print(f"{DONE}MLflow: {change}")
    if wrong:
        out.print(
            f"  [yellow]![/yellow] MLflow's aliases are not as the ledger says; reconcile will see "
            f"to it: {escape(wrong)}"
        )


def abort(parts: Parts, out: Console, asked: Asked) -> Release:
    """Back to the champion, whoever drives: also if nobody does any more."""
    change = functools.partial(machine.abort, reason=asked.told("aborted"))
    return _said(parts, out, asked, "abort", change)


def pause(parts: Parts, out: Console, asked: Asked) -> Release:
    """Hold the step in progress until a person says otherwise."""
    change = functools.partial(machine.pause, reason=asked.told("paused"))
    return _said(parts, out, asked, "pause", change)


def resume(parts: Parts, out: Console, asked: Asked) -> Release:
    """Out of a pause; the step begins again."""
    change = functools.partial(machine.proceed, reason=asked.told("resumed"))
    return _said(parts, out, asked, "resume", change)


def answer(parts: Parts, out: Console, asked: Asked, approved: bool) -> Release:
    """Say yes, or no, to the approval that is waited for."""
    change = functools.partial(machine.answer, approved=approved, by=asked.who, note=asked.note)
    return _said(parts, out, asked, "approve", change)


def _said(parts: Parts, out: Console, asked: Asked, word: str, change: Change) -> Release:
    release = parts.driver.command(asked.environment, asked.model, change)
    if release is None:
        raise LineError(_why_not(parts, asked, word))
    out.print(f"{asked.place} v{release.version}: {escape(release.rollout.reason or 'goes on')}")
    if settle(parts, release) and not release.rollout.ended:
        out.print(
            f"{WAITS}nobody drives it at the moment; reconcile takes it up, or at once "
            f"`andon release {asked.model} {release.version} -e {asked.environment}`"
        )
    return parts.ledger.release(release.seq)


def _why_not(parts: Parts, asked: Asked, word: str) -> str:
    """What state it is in, that the word does not apply."""
    found = parts.ledger.unfinished(asked.environment, asked.model)
    if found is None:
        champion = parts.ledger.champion(asked.environment, asked.model)
        serves = f"v{champion.version} serves" if champion else "nothing serves"
        return (
            f"{word}: no release of {asked.model} is in progress in {asked.environment}; {serves}"
        )
    state = f"the release of v{found.version} in {asked.place} is at: {found.rollout}"
    if found.rollout.reason:
        state += f" ({found.rollout.reason})"
    hints = {
        "pause": "only a step that holds traffic can be paused",
        "resume": "it is not paused",
        "approve": "nobody's approval is waited for",
    }
    return f"{word}: {hints.get(word, 'it ended just now')}; {state}"


def settle(parts: Parts, release: Release) -> bool:
    """Until the world is as the ledger says: whoever drives it obeys; if nobody does, we make it.

    Returns whether nobody drove. Raises LineError if the world is not so after DEADLINE.
    """
    place = f"{release.environment}/{release.model}"
    end = time.monotonic() + DEADLINE
    while True:
        try:
            if parts.driver.restore(release.environment, release.model) != AT_WORK:
                return True
            if not release.rollout.ended or _gone(parts, release):
                return False
        except (GatewayError, TargetError) as error:
            raise LineError(
                f"{place}: the ledger has it ({release.rollout}), and the world does not follow: "
                f"{error}"
            ) from None
        if time.monotonic() > end:
            raise LineError(
                f"{place}: the ledger has it ({release.rollout}), but the run that drives it has "
                f"not obeyed within {DEADLINE:.0f} s: end that run's process, and say it again"
            )
        time.sleep(POLL)


def _gone(parts: Parts, release: Release) -> bool:
    """Whether the gateway confirms that the candidate of an ended release gets nothing."""
    environment, model = release.environment, release.model
    name, champion = release.rollout.candidate, release.rollout.champion
    if release.rollout.phase is not Phase.ROLLED_BACK:
        return True
    route = parts.gateway.route(environment, model)
    if route is None:
        return champion is None
    left = route.weights.get(name, 0) or name in route.mirrors
    return not left and not parts.gateway.differences(environment, model)
