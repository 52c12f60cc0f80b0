"""Stations: the world as the ledger says, and alerts as they should have been sent."""

from __future__ import annotations

import logging
import time
from uuid import UUID

import psutil
from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import filters, objects
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from andon.adapters.driver import MENDED
from andon.adapters.files import load_settings, model_names
from andon.adapters.ledger import Alert, Incident, Ledger
from andon.adapters.mlflow_mirror import mend
from andon.adapters.mlflow_registry import Registry
from andon.errors import LineError
from andon.incidents import AT_WORK
from tasks.approval import guard_for, wake
from tasks.events import send
from tasks.line import ledger_of, line_for, station

POOL = "local"  # its runs are processes of this machine
DIED = "died; another one is asked for"
MOST_DEATHS = 2  # runs of an incident that are replaced
PATIENCE = 60.0  # seconds an alert's own event gets before it is sent again


@station()
def restore() -> dict[str, str]:
    """Start what should serve, route as it should be routed; one bad place stops no other."""
    settings, log = load_settings(), get_run_logger()
    done = {}
    known = set(model_names(settings.project))
    for environment, model in ledger_of(settings).places():
        if model not in known or environment not in settings.environments:
            continue
        place = f"{environment}/{model}"
        try:
            done[place] = line_for(model).driver.restore(environment, model)
        except LineError as error:
            done[place] = f"failed: {error}"
        # What was mended is a warning: somebody's hand, or something that died.
        log.log(
            logging.WARNING if MENDED in done[place] else logging.INFO,
            "%s: %s",
            place,
            done[place],
        )
    rows = [f"| {place} | {what.replace('|', '/')} |" for place, what in done.items()]
    table = "\n".join(["| place | as the ledger says |", "| --- | --- |", *rows])
    create_markdown_artifact(
        table, key="reconciled", description="every place, made as it should be"
    )
    return done


@station()
def guard_the_waiting() -> dict[str, str]:
    """A guard for every release that waits for a person, and that nobody drives.

    Runs whose question is settled meanwhile go on.
    """
    settings = load_settings()
    ledger = ledger_of(settings)
    done = {}
    for environment, model in ledger.places():
        release = ledger.unfinished(environment, model)
        if release is None or environment not in settings.environments:
            continue
        if release.rollout.waits and guard_for(model, environment, "reconcile"):
            done[f"release of {environment}/{model}"] = f"v{release.version} has a guard again"
    return done | {f"run {name}": "goes on" for name in wake(ledger)}


@station()
def mend_registry() -> dict[str, str]:
    """MLflow as the ledger says: what was edited by hand is told and set back.

    A silent MLflow is told, too, and stops nothing.
    """
    settings, log = load_settings(), get_run_logger()
    ledger = ledger_of(settings)
    models = [it for it in ledger.models() if ledger.candidates(it)]
    done: dict[str, str] = {}
    try:
        registry = Registry(settings.registry_url)
        for model in models:
            changes = mend(ledger, registry, model)
            done[f"registry/{model}"] = "; ".join(changes) or "as the ledger says"
    except LineError as error:
        done |= {
            f"registry/{it}": f"failed: {error}" for it in models if f"registry/{it}" not in done
        }
    for place, what in done.items():
        log.info("%s: %s", place, what)
    rows = [f"| {place} | {what.replace('|', '/')} |" for place, what in done.items()]
    table = "\n".join(["| model in MLflow | what was mended |", "| --- | --- |", *rows])
    create_markdown_artifact(
        table, key="registry-mended", description="MLflow, made as the ledger says"
    )
    return done


@station()
def resend_alerts() -> dict[str, str]:
    """Send again the event of every alert that no run has taken up."""
    ledger = ledger_of(load_settings())
    done = {}
    for alert in ledger.unhandled_alerts():
        died = deaths(ledger.incident(alert.incident))
        if died or time.time() - alert.at > PATIENCE:
            send(alert, died)
            ledger.mark_sent(alert.id)
            done[f"alert {alert.id}"] = "sent again"
    return done


@station()
def free_the_dead() -> dict[str, str]:
    """Give back the alerts of runs that died; escalate those of runs that ended and said nothing.

    Who dies again and again, and what a person cancelled, is for people.
    """
    ledger = ledger_of(load_settings())
    done: dict[str, str] = {}
    with get_client(sync_client=True) as client:
        for alert in ledger.taken_up():
            if ended := _ended(client, alert.handled_by or ""):
                done |= _freed(ledger, alert, ended)
    return done


def _freed(ledger: Ledger, alert: Alert, ended: objects.State[object]) -> dict[str, str]:
    incident, run = ledger.incident(alert.incident), alert.handled_by or ""
    again = deaths(incident) < MOST_DEATHS
    if again and (ended.is_crashed() or (ended.is_failed() and incident.state in AT_WORK)):
        what = f"run {run} {DIED}"
        return {f"alert {alert.id}": what} if ledger.give_back(alert.id, run, what) else {}
    what = f"run {run} ended ({ended.type.value.lower()}) and did not say how"
    moved = ledger.move(incident.id, what, "escalated", among=AT_WORK)
    return {f"alert {alert.id}": what} if moved else {}


def deaths(incident: Incident) -> int:
    """How many of its runs died since somebody looked."""
    told = [what for _, what in incident.story]
    looks = [at for at, what in enumerate(told) if what.startswith("looked at by ")]
    return sum(what.endswith(DIED) for what in told[looks[-1] if looks else 0 :])


@station()
def end_the_dead() -> dict[str, str]:
    """Runs that were killed: what their worker did not see, and what the ledger was not told."""
    done = {}
    with get_client(sync_client=True) as client:
        for run in _without_process(client):
            why = "The process of this run died, and no worker was there to see it."
            client.set_flow_run_state(run.id, Crashed(message=why), force=True)
            done[f"run {run.name}"] = "crashed"
        ledger = ledger_of(load_settings())
        for kept in ledger.runs():
            if kept.ended_at is None and (ended := _ended(client, kept.id)):
                ledger.end_run(kept.id, ended.type.value.lower(), ended.message or "")
    return done


def _without_process(client: SyncPrefectClient) -> list[objects.FlowRun]:
    """Running runs of this machine that have no process; looked at before and after."""
    before = _running(client)
    alive = {_run_of(process) for process in psutil.process_iter()}
    still = {run.id for run in _running(client)}
    return [run for run in before if run.id in still and str(run.id) not in alive]


def _running(client: SyncPrefectClient) -> list[objects.FlowRun]:
    running = filters.FlowRunFilterStateType(any_=[objects.StateType.RUNNING])
    return client.read_flow_runs(
        flow_run_filter=filters.FlowRunFilter(state=filters.FlowRunFilterState(type=running)),
        work_pool_filter=filters.WorkPoolFilter(name=filters.WorkPoolFilterName(any_=[POOL])),
    )


def _run_of(process: psutil.Process) -> str:
    try:
        return process.environ().get("PREFECT__FLOW_RUN_ID", "")
    except (psutil.Error, OSError):
        return ""


def _ended(client: SyncPrefectClient, run_id: str) -> objects.State[object] | None:
    try:
        state = client.read_flow_run(UUID(run_id)).state
    except (ObjectNotFound, ValueError):
        return None
    return state if state is not None and state.is_final() else None
