"""The whole story of an incident: signal, decision, run, release, all-clear, with their times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from andon.adapters.ledger import Alert, Incident, Ledger


@dataclass(frozen=True)
class Event:
    """What happened at a time (epoch seconds); `by`: incident, alert, run or release."""

    at: float
    by: str
    what: str


def story(ledger: Ledger, incident: Incident) -> list[Event]:
    """Everything on the ledger that belongs to an incident, in order of time."""
    events = [Event(at, "incident", what) for at, what in incident.story]
    for alert in ledger.alerts_of(incident.id):
        events += _of_alert(ledger, alert)
    return sorted(events, key=lambda it: it.at)


def _of_alert(ledger: Ledger, alert: Alert) -> Iterator[Event]:
    if alert.sent_at is not None:
        yield Event(alert.sent_at, "alert", f"{alert.action} is asked for by event {alert.id}")
    run = ledger.run(alert.handled_by) if alert.handled_by else None
    if run is None:
        return
    yield Event(run.started_at, "run", f"{run.flow} begins: run {run.id}")
    for release in ledger.releases_by(run.id):
        name = f"v{release.version} in {release.environment}"
        for step in ledger.transitions(release.seq):
            yield Event(step.at, "release", f"{name}: {step.what}")
    if run.ended_at is not None:
        told = f": {run.message}" if run.message else ""
        yield Event(run.ended_at, "run", f"{run.flow} ends: {run.outcome}{told}")
