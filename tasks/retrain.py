"""Stations of a retraining: take an alert up, gather live labelled rows, tell the incident."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect import get_run_logger

from andon.adapters import dvc
from andon.adapters.learning import Gathered, TooFewLabels, gather_rows
from andon.adapters.ledger import Alert, Ledger
from andon.errors import DataError
from andon.verdict import Outcome
from tasks.evaluate import BEATEN
from tasks.line import PRODUCTION, Job, Line, kept, line_for, station
from tasks.results import Snapshot
from tasks.snapshot import keep_snapshot
from tasks.sound import began, broken_spans

STARTED = "retraining started by run"


@station()
def take_up(job: Job, alert_id: str) -> bool:
    """Claim the alert for this run: false if another run has it, or it is not wanted any more."""
    if not alert_id:
        return True
    ledger = line_for(job.model).ledger
    alert = alert_on(ledger, job.model, alert_id)
    if not ledger.take_up(alert_id, job.run_id, f"{STARTED} {job.run_id}"):
        get_run_logger().info("another run answers this alert, or its incident needs it no more")
        return False
    champion = ledger.champion(alert.environment, job.model)
    if champion and (champion.ended_at or 0.0) > alert.at and champion.run_id != job.run_id:
        # Somebody was quicker; or a run of this alert, which died before it could say so.
        what = f"v{champion.version} serves since after the alert; waiting for a clear window"
        ledger.move(alert.incident, what, "retrained", among=["retraining"])
        return False
    if broken := _broken(ledger, alert):
        what = f"waits for sound data: data began to fail after the alert: {broken}"
        ledger.move(alert.incident, what, "open", among=["retraining"])
        get_run_logger().warning("%s", what)
        return False
    return True


def alert_on(ledger: Ledger, model: str, alert_id: str) -> Alert:
    """An alert; raises DataError if there is none, or if it is about another model."""
    try:
        alert = ledger.alert(alert_id)
    except KeyError:
        raise DataError(f"alert_id: the ledger knows no alert {alert_id!r}") from None
    if alert.model != model:
        raise DataError(f"alert_id: alert {alert_id} is about {alert.model}, not {model}")
    return alert


def _broken(ledger: Ledger, alert: Alert) -> str:
    """What the latest look at the data since the alert found to fail."""
    found = [
        it
        for it in ledger.verdicts(alert.model, since=alert.at)
        if it.station == "monitor data" and it.subject.endswith(f" in {alert.environment}")
    ]
    latest = [it for it in found if it.run_id == found[-1].run_id]
    return "; ".join(f"{it.check}: {it.detail}" for it in latest if it.outcome == Outcome.FAIL)


@contextmanager
def answering(job: Job, alert_id: str) -> Iterator[None]:
    """Tell the incident how its retraining ended; a failure is for people, and is not repeated."""
    if not alert_id:
        yield
        return
    ledger = line_for(job.model).ledger
    incident = ledger.alert(alert_id).incident
    try:
        yield
    except TooFewLabels as error:
        _end(ledger, incident, f"waits for labels: {error}", "open")
        raise
    except Exception as error:
        _end(ledger, incident, f"retraining ended without a release: {error}", "escalated")
        raise
    champion = ledger.champion(PRODUCTION, job.model)
    if champion is None or champion.run_id != job.run_id:
        why = "its plan promotes nothing, or another release was quicker"
        what = f"retraining ended without a release: {why}"
        _end(ledger, incident, what, "escalated")
        return
    figures = "; ".join(
        f"{it.check}: {it.detail}"
        for it in kept(job, "evaluate", f"build {ledger.candidate_of(champion).build}")
        if it.check == BEATEN
    )
    what = f"v{champion.version} released; waiting for a clear window"
    _end(ledger, incident, f"{what}; {figures}" if figures else what, "retrained")


def _end(ledger: Ledger, incident: str, what: str, state: str) -> None:
    """A person may have closed it meanwhile: then that holds, and the story goes on."""
    if not ledger.move(incident, what, state, among=["retraining"]):
        ledger.tell_once(incident, what)


def _live_rows(job: Job, alert_id: str) -> str:
    return f"{job.run_id}-{alert_id}"  # a retry of this run learns from the same rows


@station(reads=_live_rows)
def gather(job: Job, alert_id: str) -> Snapshot:
    """A new snapshot of labelled live rows, with the project's own rows if the spec wants them."""
    line = line_for(job.model)
    found = _gathered(line, since_when(line, alert_id))
    name = f"{job.model}-{job.run_id}"
    with tempfile.TemporaryDirectory(dir=line.settings.state) as folder:
        path = Path(folder) / "rows.parquet"
        _write(found, path)
        hash_ = dvc.add_live(line.settings, job.model, name, path)
    source = f"live traffic, {found.told}{_provenance(line, alert_id)}"
    return keep_snapshot(job, dvc.fetch_live(line.settings, job.model, name), hash_, source)


def since_when(line: Line, alert_id: str) -> float:
    """Since when there are rows that the alert is about (epoch seconds); 0 without an alert."""
    if not alert_id:
        return 0.0
    return began(line.ledger, line.ledger.incident(line.ledger.alert(alert_id).incident))


def _gathered(line: Line, since: float) -> Gathered:
    live = line.ledger.live_spans(PRODUCTION, line.spec.name)
    broken = broken_spans(line.ledger, line.spec.name, PRODUCTION)
    return gather_rows(line.settings, line.spec, PRODUCTION, since=since, live=live, without=broken)


def _write(found: Gathered, path: Path) -> None:
    from andon.adapters import tables

    tables.write(found.table, path)


def _provenance(line: Line, alert_id: str) -> str:
    """Who answered those rows, and why they were gathered."""
    champion = line.ledger.champion(PRODUCTION, line.spec.name)
    text = f"; v{champion.version} serves" if champion else ""
    if not alert_id:
        return text
    alert = line.ledger.alert(alert_id)
    return f"{text}; alert {alert_id} of incident {alert.incident}"
