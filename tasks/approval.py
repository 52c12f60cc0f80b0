"""A person has to say yes: the run asks in the Prefect UI, and is gone until there is an answer.

A guard, a run of its own, watches the release meanwhile and carries it on; see `flows/guard.py`.
"""

from __future__ import annotations

import itertools
import math
import time

from prefect import get_run_logger, runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import filters, objects
from prefect.deployments import run_deployment
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.states import Scheduled
from pydantic import Field, ValidationError

from andon.adapters.driver import driven
from andon.adapters.files import load_settings
from andon.adapters.ledger import Ledger, Release
from andon.errors import LineError
from andon.rollout import Rollout, answer
from tasks.line import Job, kept, ledger_of, line_for, station, verdict_table
from tasks.results import ASKS, Asked

GRACE = 60.0  # seconds: the guard is the one that says that nobody answered in time


class Approval(RunInput):
    """The form. `approve` has no default: an answer that is left out is none."""

    approve: bool = Field(description="on: the release goes on; off: it is rolled back")
    name: str = Field(
        min_length=1, max_length=80, pattern=r"\S", description="who you are: kept on the ledger"
    )
    note: str = Field("", max_length=500, description="why; everybody reads it")


def ask(job: Job, version: str, environment: str) -> None:
    """If a person has to answer on this version's release now: suspend it, and pass the answer on.

    Called by the flow itself, since a station cannot suspend; what comes after a suspension is
    another process, which comes by here again.
    """
    asked = who_is_asked(job, version, environment)
    if asked is None or not can_suspend():
        return
    call_guard(job, environment)
    pass_on(job, environment, asked, _answer(asked))


def can_suspend() -> bool:
    """A run that no deployment started cannot be brought back: it waits where it is."""
    return runtime.deployment.id is not None


@station()
def who_is_asked(job: Job, version: str, environment: str) -> Asked | None:
    """The approval step that the version's release has come to, if it has."""
    ledger = line_for(job.model).ledger
    release = ledger.unfinished(environment, job.model)
    if release is None or release.version != version:
        return None
    waits = release.rollout.approval
    if waits is None:
        return None
    return Asked(
        release=release.seq,
        step=release.rollout.step,
        approve=waits.approve,
        until=release.rollout.since + waits.within,
        about=_about(job, ledger, release),
    )


def _about(job: Job, ledger: Ledger, release: Release) -> str:
    """What somebody has to know who is asked."""
    rollout = release.rollout
    assert rollout.approval is not None  # noqa: S101 - who_is_asked has seen it
    place = f"release to {release.environment}", f"v{release.version} in {release.environment}"
    passed = [it.what for it in ledger.transitions(release.seq)][:-1]
    lines = [
        f"{release.model} v{release.version} in {release.environment}: "
        f"{rollout.approval.approve} have to say yes.",
        f"\nIt would replace {rollout.champion or 'nothing'}. Passed so far:\n",
        *(f"- {it}" for it in passed),
    ]
    verdicts = kept(job.model_copy(update={"run_id": release.run_id}), *place)
    return "\n".join([*lines, "", verdict_table(verdicts)] if verdicts else lines)


def _answer(asked: Asked) -> Approval:
    """Suspends the run; once it was resumed, its form as it was filled in."""
    form = Approval.with_initial_data(description=asked.about)
    left = max(1, math.ceil(asked.until - time.time() + GRACE))
    for again in itertools.count():
        key = asked.key if again == 0 else f"{asked.key}-{again}"
        try:
            return suspend_flow_run(wait_for_input=form, timeout=left, key=key)
        except ValidationError:
            # Asked under this key before, and woken without an answer: ask anew.
            get_run_logger().info("the question was not answered; it is asked again")
    raise AssertionError


@station()
def pass_on(job: Job, environment: str, asked: Asked, given: Approval) -> None:
    """Write the answer to the ledger, which whoever drives the release obeys."""
    line, log = line_for(job.model), get_run_logger()
    who, word = given.name.strip(), "yes" if given.approve else "no"

    def change(rollout: Rollout, now: float) -> Rollout:
        if rollout.approval is None or rollout.step != asked.step:
            return rollout
        return answer(rollout, now, approved=given.approve, by=who, note=given.note.strip())

    if line.driver.command(environment, job.model, change) is not None:
        log.info("%s says %s", who, word)
        return
    release = line.ledger.release(asked.release)
    log.warning("%s says %s, but it is decided already: %s", who, word, release.rollout)


@station(retries=0)
def call_guard(job: Job, environment: str) -> bool:
    """Start who watches the release from now on, unless somebody does; whether that was needed."""
    return guard_for(job.model, environment, f"run {job.run_id}")


def guard_for(model: str, environment: str, trigger: str) -> bool:
    """Start a guard where nobody drives. If Prefect does not, `reconcile` will: it is told."""
    ledger, log = ledger_of(load_settings()), get_run_logger()
    if driven(ledger, environment, model):
        return False
    parameters = {"model": model, "environment": environment, "trigger": trigger}
    try:
        run_deployment("guard/guard", parameters=parameters, timeout=0, as_subflow=False)
    except Exception as error:  # it is no reason to stop: what serves goes on
        log.warning("no guard could be started, reconcile will do it: %s", error)
        return False
    return True


def wake(ledger: Ledger) -> list[str]:
    """Bring back the suspended runs whose question is settled; their names.

    An answer may come by another way than the form, or none in time, or a check fails, or a newer
    version takes over. Such a run goes on, and says itself how its release ended.
    """
    woken = []
    with get_client(sync_client=True) as client:
        for run in _suspended(client):
            if _settled(ledger, run):
                client.set_flow_run_state(run.id, Scheduled(name="Resuming"), force=True)
                woken.append(run.name)
    return woken


def _suspended(client: SyncPrefectClient) -> list[objects.FlowRun]:
    paused = filters.FlowRunFilterStateType(any_=[objects.StateType.PAUSED])
    return client.read_flow_runs(
        flow_run_filter=filters.FlowRunFilter(state=filters.FlowRunFilterState(type=paused))
    )


def _settled(ledger: Ledger, run: objects.FlowRun) -> bool:
    key = (run.state and run.state.state_details.pause_key) or ""
    if not key.startswith(ASKS):
        return False
    release, step = (int(it) for it in key.removeprefix(ASKS).split("-")[:2])
    try:
        found = ledger.release(release)
    except LineError:
        return False  # of another ledger
    return found.rollout.approval is None or found.rollout.step != step
