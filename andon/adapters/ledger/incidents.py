"""The ledger's pages on alerts and incidents."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import sqlalchemy as sa

from andon.adapters.ledger import schema as t
from andon.adapters.ledger.rows import Alert, Incident

OPEN = ("open", "retrained", "escalated")


class IncidentBook:
    """Alerts, grouped by cause into incidents with one id from alert to all-clear."""

    engine: sa.Engine
    clock: Callable[[], float]

    def raise_alert(
        self,
        *,
        model: str,
        environment: str,
        monitor: str,
        action: str,
        message: str,
        window: tuple[float, float],
    ) -> Alert:
        """Write an alert, on the open incident of its cause or on a new one."""
        now, alert_id = self.clock(), uuid.uuid4().hex
        with self.engine.begin() as tx:
            found = tx.execute(
                sa.select(t.incidents.c.id).where(
                    t.incidents.c.model == model,
                    t.incidents.c.environment == environment,
                    t.incidents.c.cause == monitor,
                    t.incidents.c.state.in_(OPEN),
                )
            ).scalar()
            incident = found or f"{model}-{alert_id[:8]}"
            if found is None:
                tx.execute(
                    t.incidents.insert().values(
                        id=incident,
                        model=model,
                        environment=environment,
                        cause=monitor,
                        state="open",
                        opened_at=now,
                    )
                )
            tx.execute(
                t.alerts.insert().values(
                    id=alert_id,
                    incident=incident,
                    model=model,
                    environment=environment,
                    monitor=monitor,
                    action=action,
                    message=message,
                    window_start=window[0],
                    window_end=window[1],
                    at=now,
                )
            )
            self._tell(tx, incident, f"alert: {message}")
        return self.alert(alert_id)

    def alert(self, alert_id: str) -> Alert:
        """One alert; raises KeyError if there is none."""
        found = self._alerts(t.alerts.c.id == alert_id)
        if not found:
            raise KeyError(alert_id)
        return found[0]

    def alerts(self, model: str) -> list[Alert]:
        """Every alert of a model, oldest first."""
        return self._alerts(t.alerts.c.model == model)

    def unhandled_alerts(self) -> list[Alert]:
        """Alerts that ask for a retraining no run has taken up; oldest first."""
        return self._alerts(t.alerts.c.handled_by.is_(None), t.alerts.c.action == "retrain")

    def mark_sent(self, alert_id: str) -> None:
        """Note that the alert's event reached Prefect."""
        with self.engine.begin() as tx:
            tx.execute(
                t.alerts.update().where(t.alerts.c.id == alert_id).values(sent_at=self.clock())
            )

    def claim_alert(self, alert_id: str, run_id: str) -> bool:
        """Take an alert up, once: true for the first run, and for the same run again."""
        free = t.alerts.c.handled_by.is_(None) | (t.alerts.c.handled_by == run_id)
        with self.engine.begin() as tx:
            taken = tx.execute(
                t.alerts.update().where(t.alerts.c.id == alert_id, free).values(handled_by=run_id)
            )
            return bool(taken.rowcount)

    def tell(self, incident: str, what: str, state: str | None = None) -> None:
        """Add to an incident's story; `closed` also ends it."""
        with self.engine.begin() as tx:
            self._tell(tx, incident, what)
            if state is not None:
                closed = self.clock() if state == "closed" else None
                tx.execute(
                    t.incidents.update()
                    .where(t.incidents.c.id == incident)
                    .values(state=state, closed_at=closed)
                )

    def _tell(self, tx: sa.Connection, incident: str, what: str) -> None:
        values = {"incident": incident, "what": what, "at": self.clock()}
        tx.execute(t.incident_events.insert().values(values))

    def open_incidents(self, model: str, environment: str) -> list[Incident]:
        """Incidents that are not closed, oldest first."""
        return [
            it for it in self.incidents(model) if it.environment == environment and it.state in OPEN
        ]

    def incidents(self, model: str) -> list[Incident]:
        """Every incident of a model with its story, oldest first."""
        query = (
            sa.select(t.incidents)
            .where(t.incidents.c.model == model)
            .order_by(t.incidents.c.opened_at)
        )
        with self.engine.connect() as tx:
            rows = [dict(row) for row in tx.execute(query).mappings()]
            return [Incident(**row, story=self._story(tx, row["id"])) for row in rows]

    @staticmethod
    def _story(tx: sa.Connection, incident: str) -> tuple[tuple[float, str], ...]:
        events = t.incident_events
        query = (
            sa.select(events.c.at, events.c.what)
            .where(events.c.incident == incident)
            .order_by(events.c.seq)
        )
        return tuple((row.at, row.what) for row in tx.execute(query))

    def _alerts(self, *where: sa.ColumnElement[bool]) -> list[Alert]:
        query = sa.select(t.alerts).where(*where).order_by(t.alerts.c.at)
        with self.engine.connect() as tx:
            return [Alert(**row) for row in tx.execute(query).mappings()]
