"""Stations of a rollback that an alert asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect import get_run_logger

from andon.adapters.ledger import Release
from andon.adapters.mlflow_mirror import promoted
from andon.errors import LineError
from andon.registered import before
from tasks.act import ROLLBACK
from tasks.line import Job, line_for, station
from tasks.retrain import alert_on

ASKED = ("returning",)


@station()
def take_up_rollback(job: Job, alert_id: str) -> bool:
    """Claim the alert for this run; false if it is not wanted any more. True without an alert."""
    if not alert_id:
        return True
    ledger = line_for(job.model).ledger
    alert = alert_on(ledger, job.model, alert_id)
    if not ledger.take_up(alert_id, job.run_id, f"{ROLLBACK} {job.run_id}"):
        get_run_logger().info("another run answers this alert, or its incident needs it no more")
        return False
    champion = ledger.champion(alert.environment, job.model)
    if champion and (champion.ended_at or 0.0) > alert.at and champion.run_id != job.run_id:
        what = f"v{champion.version} serves since after the alert: there is nothing to undo"
        if not ledger.move(alert.incident, what, "returned", among=ASKED):
            ledger.tell_once(alert.incident, what)
        return False
    return True


def _asked_once(job: Job, alert_id: str) -> str:
    return f"{job.run_id}-{alert_id}"  # a retry must not go back from where it went back to


@station(reads=_asked_once)
def version_undone(job: Job, alert_id: str) -> str:
    """The version that served before the one that the alert is about; raises LineError if none."""
    ledger = line_for(job.model).ledger
    environment = ledger.alert(alert_id).environment
    version = before(promoted(ledger, job.model, environment))
    if version is None:
        raise LineError(f"{job.model} has no earlier version in {environment} to return to")
    return version


@contextmanager
def returning(job: Job, alert_id: str) -> Iterator[None]:
    """Tell the incident how its rollback ended."""
    if not alert_id:
        yield
        return
    ledger = line_for(job.model).ledger
    alert = ledger.alert(alert_id)
    try:
        yield
    except Exception as error:
        what = f"the rollback failed: {error}"
        if not ledger.move(alert.incident, what, "escalated", among=ASKED):
            ledger.tell_once(alert.incident, what)
        raise
    what = f"rolled back to {_named(ledger.champion(alert.environment, job.model))}"
    waits = f"{what}; waiting for a clear window"
    if not ledger.move(alert.incident, waits, "returned", among=ASKED):
        ledger.tell_once(alert.incident, what)


def _named(champion: Release | None) -> str:
    return f"v{champion.version}" if champion else "nothing"
