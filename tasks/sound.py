"""Which live rows may be learned from: not those of a time in which data were broken."""

from __future__ import annotations

from andon.adapters.ledger import Incident, Ledger
from andon.verdict import Outcome

Span = tuple[float, float]  # epoch seconds


def broken_spans(ledger: Ledger, model: str, environment: str) -> list[Span]:
    """For each incident of broken data: from its first window to the last look that found it so."""
    found = [
        it
        for it in ledger.incidents(model)
        if it.environment == environment and "data" in it.cause.split("+")
    ]
    begins = {it.id: _first_window(ledger, it) for it in found}
    failed = [
        it.at
        for it in ledger.verdicts(model, since=min(begins.values(), default=0.0))
        if it.station == "monitor data"
        and it.outcome == Outcome.FAIL
        and it.subject.endswith(f" in {environment}")
    ]
    spans = []
    for it in found:
        begin, end = begins[it.id], it.closed_at or ledger.clock()
        mine = [at for at in failed if begin <= at <= end]
        spans.append((begin, max(mine, default=it.opened_at)))
    return spans


def began(ledger: Ledger, incident: Incident) -> float:
    """Since when there are rows that an incident's retraining is about (epoch seconds).

    That is when the window of its first alert began, or when data were last seen to be broken.
    """
    begin = _first_window(ledger, incident)
    spans = broken_spans(ledger, incident.model, incident.environment)
    return max([begin, *(end for _, end in spans if end > begin)])


def _first_window(ledger: Ledger, incident: Incident) -> float:
    alerts = ledger.alerts_of(incident.id)
    return alerts[0].window_start if alerts else incident.opened_at
