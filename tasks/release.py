"""Stations of a release: a candidate goes through an environment, or an older version returns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from prefect import get_run_logger

from andon.adapters.driver import AT_ONCE, Order, driven
from andon.adapters.files import load_settings
from andon.adapters.going_back import order_back, to_release, to_return, version_back
from andon.adapters.ledger import Candidate, Release
from andon.adapters.local import local_driver
from andon.errors import LineError, Overtaken
from andon.rollout import Phase, abort
from andon.spec import AllAtOnce, Limits, Staging, Step
from andon.verdict import Verdict
from tasks.approval import can_suspend, wake
from tasks.line import (
    WAITING,
    GateStopped,
    Job,
    Line,
    kept,
    ledger_of,
    line_for,
    show,
    station,
)
from tasks.results import Released
from tasks.telling import Report, timeline

OVERTAKEN = "overtaken"
POLL_SECONDS = 1.0
WATCH_SECONDS = 31 * 24 * 3600
GOOD = (Phase.PROMOTED, Phase.SHADOWED)
PROBES_A_SECOND = 20  # at least


@station(timeout=WATCH_SECONDS, name="release to {environment}")
def roll_out(job: Job, version: str, environment: str, against: str | None = None) -> Released:
    """Bring a candidate through an environment by its plan; resumes after a crash."""
    line = line_for(job.model)
    plan = line.spec.release
    order = Order(
        environment=environment,
        plan=plan.production,
        limits=plan.limits,
        trigger=job.trigger,
        run_id=job.run_id,
        inconclusive_seconds=plan.inconclusive_seconds,
        against=against,
    )
    if environment == "staging":
        order = _in_staging(order, plan.staging)
    candidate = to_release(line.settings, line.ledger, job.model, version)
    return _drive(job, line, candidate, order)


def _in_staging(order: Order, given: Staging) -> Order:
    """With time for the load, and for as many requests with known answers as are wanted."""
    needed = given.runs * given.load.seconds if given.load else 0.0
    return replace(
        order,
        plan=_staging(given),
        limits=Limits(error_rate=given.limits.error_rate, p95_ms=given.limits.p95_ms),
        inconclusive_seconds=order.inconclusive_seconds + needed + given.requests / PROBES_A_SECOND,
        load=given.load,
        load_runs=given.runs,
    )


def _staging(given: Staging) -> AllAtOnce:
    """Nobody asks in staging but the line itself."""
    smoke = Step(weight=100, seconds=0, min_requests=given.requests, gate=("errors", "latency"))
    steps = (smoke,) if given.smoke else AT_ONCE.steps
    return AllAtOnce(
        strategy="all_at_once", steps=steps, on_inconclusive="abort", keep_warm=0,
        rollback_window=0,
    )  # fmt: skip


@station(timeout=WATCH_SECONDS, retries=30, name="watch the release in {environment}")
def carry_on(job: Job, environment: str) -> Released | None:
    """Watch a release that its run has left, and carry it on, until it has ended.

    Where somebody else drives it, be there if that one dies. It reads no `model.yaml`: all that
    decides is in the release, and nobody's typing error may end the watch.
    """
    settings = load_settings()
    ledger = ledger_of(settings)
    found = ledger.unfinished(environment, job.model)
    if found is None:
        return None
    driver = local_driver(settings, ledger)
    owner = job.model_copy(update={"run_id": found.run_id})
    with _reporting(Report(owner, ledger, environment, found.version, lambda: _wake(job))) as told:
        while not (release := ledger.release(found.seq)).rollout.ended:
            if driver.carry_on(environment, job.model, told) is None:
                time.sleep(POLL_SECONDS)
    verdicts = kept(owner, *told.place)
    show(job, f"release-{environment}", timeline(ledger, release, verdicts))
    return _released(release)


@station()
def wake_the_waiting(job: Job) -> list[str]:
    """Runs that wait for an answer that is not needed any more go on, and say how it ended."""
    return _wake(job)


def _wake(job: Job) -> list[str]:
    log = get_run_logger()
    try:
        woken = wake(ledger_of(load_settings()))
    except Exception as error:  # reconcile tries again
        log.warning("runs that wait for an answer could not be looked at: %s", error)
        return []
    for name in woken:
        log.info("%s goes on: its question is settled", name)
    return woken


@station(timeout=600, name="roll back in {environment}")
def roll_back(job: Job, version: str, environment: str) -> Released:
    """Bring an earlier version back at once: it only has to be ready, and to be itself."""
    line = line_for(job.model)
    if not version:
        return _abort_the_first(job, line, environment)
    candidate = to_return(line.settings, line.ledger, job.model, environment, version)
    return _drive(job, line, candidate, order_back(environment, job.trigger, job.run_id))


def _abort_the_first(job: Job, line: Line, environment: str) -> Released:
    """Nothing served before the release in progress: nothing serves again."""
    why = f"a rollback was asked for by {job.trigger}"
    release = line.driver.command(environment, job.model, partial(abort, reason=why))
    if release is None:
        raise LineError(f"{job.model} has no champion in {environment}: nothing to roll back")
    _wait_for_its_driver(line, environment, job.model)
    return _released(release)


def _asked_once(job: Job, environment: str) -> str:
    return f"{job.run_id}-{environment}"  # a retry must not go back from where it went back to


@station(reads=_asked_once)
def version_before(job: Job, environment: str) -> str:
    """Where a rollback leads that names no version; raises LineError if there is no such place.

    Nothing ("") where the release in progress is the first.
    """
    ledger = line_for(job.model).ledger
    first = ledger.champion(environment, job.model) is None
    if first and ledger.unfinished(environment, job.model) is not None:
        return ""
    return version_back(ledger, job.model, environment)


class _CarriedOn(Exception):
    """Somebody else drives the release of this version."""


def _drive(job: Job, line: Line, candidate: Candidate, order: Order) -> Released:
    version = candidate.version
    with _reporting(Report(job, line.ledger, order.environment, version)) as told:
        try:
            release, verdicts = _brought(job, line, candidate, order, told)
        except Overtaken as error:
            if order.against is None:
                raise
            get_run_logger().info("%s", error)
            return Released(
                environment=order.environment, version=version, outcome=OVERTAKEN, reason=f"{error}"
            )
    # None: it had ended already, in an attempt that was killed before it could say so.
    verdicts = verdicts or kept(job, *told.place)
    _wake(job)
    show(job, f"release-{order.environment}", timeline(line.ledger, release, verdicts))
    if release.rollout.approval is not None:
        return _released(release, WAITING)
    if release.rollout.phase not in GOOD:
        raise GateStopped(
            f"release of {job.model} v{version} to {order.environment} was rolled back: "
            f"{release.rollout.reason}"
        )
    return _released(release)


def _brought(
    job: Job, line: Line, candidate: Candidate, order: Order, told: Report
) -> tuple[Release, list[Verdict]]:
    """Drive it; or look on while another run does, as its guard after an answer."""
    environment, leave = order.environment, order.kind == "release" and can_suspend()
    log = get_run_logger()

    def busy() -> None:
        found = line.ledger.unfinished(environment, job.model)
        if found and found.version == candidate.version:
            raise _CarriedOn
        what = f"v{found.version} of run {found.run_id}" if found else "another run"
        log.info("%s is at work in %s; this run waits for it", what, environment)

    while True:
        if ended := line.ledger.ended_by(job.run_id, environment, candidate):
            _wait_for_its_driver(line, environment, job.model)
            return ended, []
        try:
            return line.driver.release(
                candidate, order, told, leave_at_approval=leave, waiting=busy
            )
        except _CarriedOn:
            release = line.ledger.unfinished(environment, job.model)
            if release is not None and release.version == candidate.version:
                told.follow(release)
                if leave and release.rollout.approval is not None:
                    return release, []
            time.sleep(POLL_SECONDS)


def _wait_for_its_driver(line: Line, environment: str, model: str) -> None:
    """The end is written before the world is as it says: until it is, or make it so."""
    while driven(line.ledger, environment, model):
        if line.ledger.unfinished(environment, model) is not None:
            return  # of the next release, which has the world now
        time.sleep(POLL_SECONDS / 4)
    line.driver.restore(environment, model)


@contextmanager
def _reporting(report: Report) -> Iterator[Report]:
    try:
        yield report
    finally:
        report.close()


def _released(release: Release, outcome: str = "") -> Released:
    return Released(
        environment=release.environment,
        version=release.version,
        outcome=outcome or release.rollout.phase.value,
        reason=release.rollout.reason,
    )
