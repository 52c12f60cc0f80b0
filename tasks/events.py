"""An alert as a Prefect event: what an automation starts `retrain` on."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid5

import httpx
from prefect.settings import PREFECT_API_URL

from andon.adapters.ledger import Alert


def send(alert: Alert, again: int = 0) -> None:
    """Post the event and wait for the server's answer; raises httpx.HTTPError.

    Prefect's own `emit_event` returns before anything has left the process, and loses the event if
    the process ends. The alert's id is the event's, so sending it twice is one event. After a run
    that took it up has died, it is another one: `again` counts them.
    """
    event = {
        "id": str(uuid5(UUID(alert.id), f"{again}") if again else UUID(alert.id)),
        "event": f"andon.alert.{alert.action}",
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {
            "prefect.resource.id": f"andon.model.{alert.model}",
            "andon.model": alert.model,
            "andon.environment": alert.environment,
        },
        "related": [],
        "payload": {"alert_id": alert.id, "monitor": alert.monitor, "message": alert.message},
    }
    url = f"{PREFECT_API_URL.value()}/events"
    httpx.post(url, json=[event], timeout=10).raise_for_status()
