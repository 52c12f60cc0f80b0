"""Stations: the world as the ledger says, and alerts as they should have been sent."""

from __future__ import annotations

import time

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact

from andon.adapters.files import load_settings, model_names
from andon.errors import LineError
from tasks.events import send
from tasks.line import ledger_of, line_for, station

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
        log.info("%s: %s", place, done[place])
    rows = [f"| {place} | {what} |" for place, what in done.items()]
    table = "\n".join(["| place | as the ledger says |", "| --- | --- |", *rows])
    create_markdown_artifact(
        table, key="reconciled", description="every place, made as it should be"
    )
    return done


@station()
def resend_alerts() -> dict[str, str]:
    """Send again the event of every alert that no run has taken up."""
    ledger = ledger_of(load_settings())
    lost = [it for it in ledger.unhandled_alerts() if time.time() - it.at > PATIENCE]
    for alert in lost:
        send(alert)
        ledger.mark_sent(alert.id)
    return {f"alert {it.id}": "sent again" for it in lost}
