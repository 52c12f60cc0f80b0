"""What every station shares: the job, the line's parts, caching by content, and the gate."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from prefect import runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.exceptions import Pause
from sqlalchemy.exc import OperationalError

from andon.adapters import database
from andon.adapters.driver import Driver
from andon.adapters.files import load_settings, load_spec
from andon.adapters.ledger import Ledger, open_ledger
from andon.adapters.local import local_driver
from andon.errors import DataError, GatewayError, LineError, PlatformError
from andon.settings import Settings
from andon.spec import Frozen, ModelSpec
from andon.verdict import Outcome, Verdict, gate

P = ParamSpec("P")
R = TypeVar("R")
PRODUCTION = "production"
WAITING = "waiting"  # of a run that is suspended until a person has answered
PATIENCE = 60.0  # seconds for which the ledger's database may be away


class GateStopped(LineError):
    """A gate did not pass: the line stops, on purpose."""


class Job(Frozen):
    """Who asked for what: one flow run on one model."""

    run_id: str
    flow: str
    model: str
    trigger: str


@dataclass(frozen=True)
class Line:
    """The parts a station works with."""

    settings: Settings
    spec: ModelSpec
    ledger: Ledger

    @functools.cached_property
    def driver(self) -> Driver:
        """Releases and rollbacks on this line's target and gateway."""
        return local_driver(self.settings, self.ledger)


@functools.lru_cache(maxsize=4)
def _ledger(url: str) -> Ledger:
    return open_ledger(url)


def ledger_of(settings: Settings) -> Ledger:
    """The ledger, opened once a process."""
    return _ledger(database.url(settings, "ledger"))


def line_for(model: str) -> Line:
    """The line's parts for a model; raises SpecError if its `model.yaml` is not right."""
    settings = load_settings()
    return Line(settings, load_spec(settings.project, model), ledger_of(settings))


def _transient(error: object) -> bool:
    """Whether trying again can help: the world failed, not the input."""
    import httpx

    if isinstance(error, DataError | GateStopped):
        return False
    return isinstance(
        error, OperationalError | httpx.HTTPError | GatewayError | PlatformError | OSError
    )


def station(
    *,
    reads: Callable[..., str] | None = None,
    timeout: float = 1800,
    retries: int = 3,
    name: str = "",
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A Prefect task; `reads` gives the hash of what it reads, which is its cache key.

    `name` may hold parameters in braces; without it, a station is called as its function.

    With `reads`, a finished station is found again by any later run with the same content.
    """

    def decorate(work: Callable[P, R]) -> Callable[P, R]:
        def cache_key(_: Any, parameters: dict[str, Any]) -> str:
            assert reads is not None  # noqa: S101 - only used with `reads`
            model = parameters["job"].model if "job" in parameters else ""
            return f"andon-{work.__name__}-{model}-{reads(**parameters)}"

        made: Callable[P, R] = task(
            name=work.__name__.replace("_", " "),
            task_run_name=name or work.__name__.replace("_", " "),
            cache_key_fn=cache_key if reads else None,
            persist_result=bool(reads),
            result_serializer="json",
            retries=retries,
            retry_delay_seconds=2,
            retry_condition_fn=lambda _task, _run, state: _transient(
                state.result(raise_on_failure=False)
            ),
            timeout_seconds=timeout,
        )(work)
        return made

    return decorate


@contextmanager
def at_work(flow: str, model: str, trigger: str, *, reads_spec: bool = True) -> Iterator[Job]:
    """One flow run on the ledger, from start to end.

    `reads_spec`: every problem of the spec stops it before any work.
    """
    settings = load_settings()
    ledger = patiently(lambda: ledger_of(settings))
    run_id = str(runtime.flow_run.get_id() or "")
    job = Job(run_id=run_id, flow=flow, model=model, trigger=trigger)
    patiently(lambda: ledger.start_run(run_id, flow=flow, model=model, trigger=trigger))
    try:
        if runtime.flow_run.get_run_count() > 1:
            _end_killed_stations(run_id)
        if reads_spec:
            load_spec(settings.project, model)
        yield job
    except BaseException as error:  # a cancelled run ends by more than an Exception
        outcome, message = _outcome(error), _message(error)
        patiently(lambda: ledger.end_run(run_id, outcome, message))
        if isinstance(error, OperationalError):
            raise PlatformError(message) from error
        raise
    patiently(lambda: ledger.end_run(run_id, "completed", ""))


def _outcome(error: BaseException) -> str:
    if isinstance(error, Pause):
        return WAITING
    if isinstance(error, GateStopped):
        return "stopped"
    return "failed" if isinstance(error, Exception) else "interrupted"


def _message(error: BaseException) -> str:
    if isinstance(error, Pause):
        return "a person is asked; the run goes on with the answer"
    if isinstance(error, OperationalError):
        return (
            f"the ledger's database does not answer ({error.orig}); what serves goes on as it is; "
            "run it again"
        )
    return f"{error}"


def patiently(act: Callable[[], R]) -> R:
    """Through a restart of the database: a run's begin and end are no station that is retried."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return act()
        except (OperationalError, PlatformError):
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def _end_killed_stations(run_id: str) -> None:
    """Stations of an attempt that was killed: nobody else tells Prefect that they do not run."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas import filters, objects
    from prefect.states import Crashed

    running = filters.TaskRunFilterStateType(any_=[objects.StateType.RUNNING])
    with get_client(sync_client=True) as client:
        for it in client.read_task_runs(
            flow_run_filter=filters.FlowRunFilter(id=filters.FlowRunFilterId(any_=[UUID(run_id)])),
            task_run_filter=filters.TaskRunFilter(state=filters.TaskRunFilterState(type=running)),
        ):
            why = "The run was killed here and tried again."
            client.set_task_run_state(it.id, Crashed(message=why), force=True)


def keep(job: Job, station_name: str, subject: str, verdicts: Iterable[Verdict]) -> None:
    """Write verdicts to the ledger."""
    ledger_of(load_settings()).add_verdicts(
        verdicts, run_id=job.run_id, model=job.model, station=station_name, subject=subject
    )


def kept(job: Job, station_name: str, subject: str) -> list[Verdict]:
    """What this run has written of a station, before it was killed."""
    fields = Verdict.model_fields
    return [
        Verdict(**{name: getattr(it, name) for name in fields})
        for it in ledger_of(load_settings()).verdicts(job.model, run_id=job.run_id)
        if (it.station, it.subject) == (station_name, subject)
    ]


def pull_the_cord(station_name: str, verdicts: Iterable[Verdict]) -> None:
    """The gate: raises GateStopped unless every verdict is a pass."""
    given = list(verdicts)
    outcome = gate(given)
    if outcome is Outcome.PASS:
        return
    reasons = [f"{it.check}: {it.detail}" for it in given if it.outcome is outcome]
    word = "failed" if outcome is Outcome.FAIL else "could not be decided"
    raise GateStopped(f"{station_name} {word}: " + "; ".join(reasons or ["nothing was measured"]))


SIGNS = {Outcome.PASS: "✓ pass", Outcome.FAIL: "✗ **fail**", Outcome.INCONCLUSIVE: "? inconclusive"}


def verdict_table(verdicts: Iterable[Verdict]) -> str:
    """Verdicts as a Markdown table."""
    rows = ["| check | verdict | value | limit | n | |", "| --- | --- | --- | --- | --- | --- |"]
    for it in verdicts:
        value = "" if it.value is None else f"{it.value:.4g}"
        limit = "" if it.limit is None else f"{it.limit:.4g}"
        detail = it.detail.replace("|", "\\|").replace("\n", " ")
        rows.append(f"| {it.check} | {SIGNS[it.outcome]} | {value} | {limit} | {it.n} | {detail} |")
    return "\n".join(rows)


def show(job: Job, what: str, markdown: str) -> None:
    """Leave a Markdown artifact on the flow run."""
    create_markdown_artifact(
        markdown, key=f"{job.model}-{what}", description=f"{what} of {job.model}"
    )
