"""Stations: judge the latest window of live traffic, and act on the verdicts."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prefect import get_run_logger

from andon.adapters.ledger import Candidate, Incident, Release
from andon.adapters.live import Live
from andon.spec import DataMonitor, Monitor, QualityMonitor
from andon.summary import Cut
from andon.verdict import Outcome, gate
from tasks.events import send
from tasks.labels import judge_labels
from tasks.line import Job, Line, keep, line_for, show, station
from tasks.live import ByCounts, Seen, judge_live
from tasks.results import Watched

ByRows = ByCounts | QualityMonitor  # they judge the rows of the inference log


@station()
def watch(job: Job, environment: str) -> Watched:
    """Every monitor of the model on the champion's latest rows."""
    line = line_for(job.model)
    champion = line.ledger.champion(environment, job.model)
    if champion is None:
        show(job, "monitor", f"# {job.model} has no champion in {environment}: nothing to watch")
        return Watched(windows={}, rows={}, verdicts={})
    candidate = line.ledger.candidate_of(champion)
    kept: dict[Cut, Live] = {}
    monitors = [it for it in line.spec.monitors if isinstance(it, ByRows)]
    seen = {it.kind: _look(line, candidate, champion, it, kept) for it in monitors}
    for kind, it in seen.items():
        keep(job, f"monitor {kind}", f"v{champion.version} in {environment}", it.verdicts)
    tables = "\n\n".join(f"## {kind}\n\n{it.told}" for kind, it in seen.items())
    title = f"# {job.model} v{champion.version} in {environment}"
    show(job, "monitor", f"{title}\n\n{tables}{_not_watched(seen.values())}")
    return Watched(
        windows={kind: it.span for kind, it in seen.items()},
        rows={kind: it.rows for kind, it in seen.items()},
        verdicts={kind: it.verdicts for kind, it in seen.items()},
    )


def _look(
    line: Line, candidate: Candidate, champion: Release, monitor: ByRows, kept: dict[Cut, Live]
) -> Seen:
    if isinstance(monitor, QualityMonitor):
        return judge_labels(line, candidate, champion, monitor)
    since, environment = champion.ended_at or 0.0, champion.environment
    spans = line.ledger.live_spans(environment, line.spec.name, since)
    return judge_live(
        line, candidate, monitor, environment=environment, since=since, spans=spans, kept=kept
    )


def _not_watched(seen: Iterable[Seen]) -> str:
    """A masked column is not inconclusive for ever: that it is not watched was wanted."""
    masked = sorted({name for it in seen for name in it.masked})
    listed = ", ".join(f"`{name}`" for name in masked)
    return f"\n\nNot watched, by choice (`logging.mask`): {listed}" if masked else ""


@station()
def act_on(job: Job, environment: str, watched: Watched) -> None:
    """Alert on failed monitors, once an incident; close an incident that came back clear."""
    line = line_for(job.model)
    failed = [it for it in line.spec.monitors if _of(watched, it.kind) is Outcome.FAIL]
    for incident in line.ledger.open_incidents(job.model, environment):
        causes = [_of(watched, kind) for kind in incident.cause.split("+")]
        if failed and incident.state == "retrained":
            line.ledger.tell(incident.id, "still not clear after the release", "escalated")
        elif not failed and set(causes) == {Outcome.PASS} and not _pending(line, incident):
            line.ledger.tell(incident.id, f"clear on {max(watched.rows.values())} rows", "closed")
            get_run_logger().info("incident %s is closed", incident.id)
        return  # failures belong to the incident that is open; it retrains once, then people look
    if failed:
        _alert(job, line, environment, failed, watched)


def _pending(line: Line, incident: Incident) -> bool:
    """Whether a retraining was asked for that has not ended yet."""
    alerts = [it for it in line.ledger.alerts(line.spec.name) if it.incident == incident.id]
    return incident.state == "open" and any(it.action == "retrain" for it in alerts)


def _of(watched: Watched, kind: str) -> Outcome:
    return gate(watched.verdicts.get(kind, ()))


def _cooling(line: Line) -> bool:
    """Whether the last retraining that an alert asked for is too recent for another one."""
    asked = [it.at for it in line.ledger.alerts(line.spec.name) if it.action == "retrain"]
    return bool(asked) and time.time() - asked[-1] < 60 * line.spec.retraining.cooldown_minutes


def _alert(job: Job, line: Line, environment: str, failed: list[Monitor], watched: Watched) -> None:
    verdicts = [v for it in failed for v in watched.verdicts[it.kind] if v.outcome is Outcome.FAIL]
    worst = sorted(verdicts, key=lambda it: it.value or 0.0, reverse=True)[:5]
    message = "; ".join(f"{it.check}: {it.detail}" for it in worst)
    action = "retrain" if any(it.action == "retrain" for it in failed) else "notify"
    if action == "retrain" and _cooling(line):
        action, message = "notify", f"{message}; no retraining within the cooldown"
    if action == "retrain" and any(isinstance(it, DataMonitor) for it in failed):
        action, message = "notify", f"{message}; nothing is learned from data that look broken"
    alert = line.ledger.raise_alert(
        model=job.model,
        environment=environment,
        monitor="+".join(it.kind for it in failed),
        action=action,
        message=message,
        window=(
            max(watched.windows[it.kind][0] for it in failed),
            max(watched.windows[it.kind][1] for it in failed),
        ),
    )
    get_run_logger().warning("alert %s: %s", alert.id, message)
    if alert.action == "retrain":
        send(alert)
        line.ledger.mark_sent(alert.id)
