"""Stations of a release: a candidate goes through an environment, or an older version returns."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from prefect import get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact

from andon.adapters.driver import Order
from andon.adapters.going_back import order_back, to_return, version_back
from andon.adapters.ledger import Release
from andon.errors import LineError
from andon.rollout import Phase
from andon.spec import AllAtOnce, Limits, Staging, Step
from andon.verdict import Outcome, Verdict, gate
from tasks.line import (
    GateStopped,
    Job,
    Line,
    keep,
    kept,
    line_for,
    show,
    station,
    verdict_table,
)
from tasks.results import Released

PROBES_A_SECOND = 20  # at least


@station(timeout=7 * 24 * 3600, name="release to {environment}")
def roll_out(job: Job, version: str, environment: str) -> Released:
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
    )
    if environment == "staging":
        order = _in_staging(order, plan.staging)
    return _drive(job, line, version, order)


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


@station(timeout=600, name="roll back in {environment}")
def roll_back(job: Job, version: str, environment: str) -> Released:
    """Bring an earlier version back at once: it only has to be ready, and to be itself."""
    line = line_for(job.model)
    to_return(line.settings, line.ledger, job.model, environment, version)
    return _drive(job, line, version, order_back(environment, job.trigger, job.run_id))


def _asked_once(job: Job, environment: str) -> str:
    return f"{job.run_id}-{environment}"  # a retry must not go back from where it went back to


@station(reads=_asked_once)
def version_before(job: Job, environment: str) -> str:
    """The champion, while a release is in progress; else the version before it."""
    return version_back(line_for(job.model).ledger, job.model, environment)


def _drive(job: Job, line: Line, version: str, order: Order) -> Released:
    candidate = line.ledger.candidate(job.model, version)
    if candidate is None:
        known = ", ".join(it.version for it in line.ledger.candidates(job.model)) or "none"
        raise LineError(f"the ledger knows no version {version} of {job.model}; known: {known}")
    place = f"release to {order.environment}", f"v{version} in {order.environment}"
    report = _Report(job, order, place)
    release, verdicts = line.driver.release(candidate, order, report)
    # None: it had ended already, in an attempt that was killed before it could say so.
    verdicts = verdicts or kept(job, *place)
    show(job, f"release-{order.environment}", timeline(line, release, verdicts))
    if release.rollout.phase is not Phase.PROMOTED:
        raise GateStopped(
            f"release of {job.model} v{version} to {order.environment} was rolled back: "
            f"{release.rollout.reason}"
        )
    return Released(
        environment=order.environment,
        version=version,
        outcome=release.rollout.phase.value,
        reason=release.rollout.reason,
    )


class _Report:
    """Tells of a release as it goes on: each gate to the ledger, each state to UI and log."""

    def __init__(self, job: Job, order: Order, place: tuple[str, str]) -> None:
        self._job, self._place = job, place
        self._steps = max(1, len(order.plan.steps))
        self._log = get_run_logger()
        self._state = ""
        self._gate: tuple[str, Outcome] | None = None
        self._bar = create_progress_artifact(
            progress=0.0, key=f"{job.model}-{order.environment}-progress", description=place[1]
        )

    def __call__(self, release: Release, verdicts: list[Verdict]) -> None:
        state = f"{release.rollout}"
        if verdicts and self._gate != (state, gate(verdicts)):
            self._gate = (state, gate(verdicts))
            keep(self._job, *self._place, verdicts)  # before they are acted on
        if state == self._state:
            return
        self._state = state
        self._log.info("%s v%s: %s", release.environment, release.version, state)
        share = 100.0 if release.rollout.ended else 100.0 * release.rollout.step / self._steps
        update_progress_artifact(self._bar, progress=share)  # type: ignore[arg-type]


def timeline(line: Line, release: Release, verdicts: list[Verdict]) -> str:
    """A release as Markdown: every state with its time, and the last gate's verdicts."""
    rows = ["| time (UTC) | state | traffic |", "| --- | --- | --- |"]
    for it in line.ledger.transitions(release.seq):
        at = datetime.fromtimestamp(it.at, UTC).strftime("%H:%M:%S")
        split = ", ".join(f"{name.rsplit('-', 1)[-1]}: {w} %" for name, w in it.weights.items())
        rows.append(f"| {at} | {it.what} | {split or '-'} |")
    title = f"# {release.model} v{release.version} in {release.environment}: {release.rollout}"
    last = verdict_table(verdicts) if verdicts else "nothing was decided anew: it serves already"
    return "\n".join([title, "", *rows, "", "## The last gate", "", last])
