"""Stations of a retraining: take an alert up, gather live labelled rows, tell the incident."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prefect import get_run_logger

from andon.adapters import dvc
from andon.adapters.files import load_settings
from andon.adapters.inference_log import Window, read_window
from andon.errors import DataError
from tasks.line import PRODUCTION, Job, Line, line_for, station
from tasks.results import Snapshot
from tasks.snapshot import keep_snapshot


@station()
def take_up(job: Job, alert_id: str) -> bool:
    """Claim the alert for this run: false if another run has it already."""
    if not alert_id:
        return True
    ledger = line_for(job.model).ledger
    try:
        alert = ledger.alert(alert_id)
    except KeyError:
        raise DataError(f"alert_id: the ledger knows no alert {alert_id!r}") from None
    if alert.model != job.model:
        raise DataError(f"alert_id: alert {alert_id} is about {alert.model}, not {job.model}")
    if not ledger.claim_alert(alert_id, job.run_id):
        get_run_logger().info("another run answers this alert already")
        return False
    ledger.tell(alert.incident, f"retraining started by run {job.run_id}")
    return True


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
    except Exception as error:
        ledger.tell(incident, f"retraining ended without a release: {error}", "escalated")
        raise
    champion = ledger.champion(PRODUCTION, job.model)
    if champion is None or champion.run_id != job.run_id:  # a plan that only shadows
        what = "retraining ended without a release: its plan promotes nothing"
        ledger.tell(incident, what, "escalated")
        return
    what = f"v{champion.version} released; waiting for a clear window"
    ledger.tell(incident, what, "retrained")


def _live_rows(job: Job, alert_id: str) -> str:
    return f"{job.run_id}-{alert_id}"  # a retry of this run learns from the same rows


@station(reads=_live_rows)
def gather(job: Job, alert_id: str) -> Snapshot:
    """A new snapshot of labelled live rows, with the project's own rows if the spec wants them."""
    line = line_for(job.model)
    since = line.ledger.alert(alert_id).window_start if alert_id else 0.0
    live = line.ledger.live_spans(PRODUCTION, job.model, since)
    window = read_window(line.settings, PRODUCTION, job.model, since=since, live=live)
    if window.masked:
        raise DataError(
            f"live rows lack the columns that model.yaml's logging.mask leaves out of the log "
            f"({', '.join(sorted(window.masked))}), so nothing can be learned from them; deliver "
            "with new data instead, and let the monitors' action be notify"
        )
    name = f"{job.model}-{job.run_id}"
    with tempfile.TemporaryDirectory(dir=line.settings.state) as folder:
        path = Path(folder) / "rows.parquet"
        _write_rows(line, window, path)
        hash_ = dvc.add_live(line.settings, job.model, name, path)
    source = f"live traffic since {since:.0f}" + (f", alert {alert_id}" if alert_id else "")
    return keep_snapshot(job, dvc.fetch_live(line.settings, job.model, name), hash_, source)


def _write_rows(line: Line, window: Window, path: Path) -> None:
    import polars as pl

    from andon.adapters import tables

    spec, settings = line.spec, load_settings()
    base = tables.read(dvc.fetch(settings.project, Path("models") / spec.name / spec.data))
    schema = base.collect_schema()
    labelled = window.labelled
    if len(labelled) < spec.retraining.min_rows:
        raise DataError(
            f"{len(labelled)} labelled live rows of {len(window.rows)} since the alert's window "
            f"began; retraining.min_rows wants {spec.retraining.min_rows}"
        )
    rows = [
        {
            **row["inputs"],
            spec.target: row["label"],
            **({spec.key: f"live-{row['id']}"} if spec.key else {}),
        }
        for row in labelled
    ]
    known = {name: dtype for name, dtype in schema.items() if name in rows[0]}
    if spec.key:
        known[spec.key] = pl.String()
    live = tables.from_records(rows, known)
    if spec.time:
        times = pl.Series(spec.time, [row["time"] * 1e6 for row in labelled]).cast(pl.Int64)
        live = live.with_columns(times.cast(pl.Datetime("us")))
    if spec.retraining.window == "all":
        own = base.with_columns(pl.col(spec.key).cast(pl.String)) if spec.key else base
        live = pl.concat([own.collect(), live], how="diagonal_relaxed")
    tables.write(live, path)
