"""The ledger's pages on alerts: what was asked for, whether it was sent, who has taken it up."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from andon.adapters.ledger import schema as t
from andon.adapters.ledger.rows import Alert

ASKS = ("retrain", "rollback")  # actions that a flow run answers
WAITING = ("retraining", "returning", "halted")  # states of an incident that waits for one


class AlertBook:
    """Alerts of every model."""

    engine: sa.Engine
    clock: Callable[[], float]

    def alert(self, alert_id: str) -> Alert:
        """One alert; raises KeyError if there is none."""
        found = self._alerts(t.alerts.c.id == alert_id)
        if not found:
            raise KeyError(alert_id)
        return found[0]

    def alerts(self, model: str) -> list[Alert]:
        """Every alert of a model, oldest first."""
        return self._alerts(t.alerts.c.model == model)

    def alerts_of(self, incident: str) -> list[Alert]:
        """Every alert of an incident, oldest first."""
        return self._alerts(t.alerts.c.incident == incident)

    def answered_by(self, run_id: str) -> Alert | None:
        """The alert that a run has taken up, if it has."""
        found = self._alerts(t.alerts.c.handled_by == run_id) if run_id else []
        return found[-1] if found else None

    def asked_at(self, model: str, since: float) -> list[float]:
        """When alerts asked for retrainings of a model, oldest first (epoch seconds)."""
        found = self._alerts(
            t.alerts.c.model == model, t.alerts.c.action == "retrain", t.alerts.c.at >= since
        )
        return [it.at for it in found]

    def unhandled_alerts(self) -> list[Alert]:
        """Alerts that ask for what no run has taken up, and is still waited for; oldest first."""
        return self._waited_for(t.alerts.c.handled_by.is_(None))

    def unsent_alerts(self, model: str, environment: str) -> list[Alert]:
        """Those of a place whose event is not known to have reached Prefect; oldest first."""
        return self._waited_for(
            t.alerts.c.model == model,
            t.alerts.c.environment == environment,
            t.alerts.c.sent_at.is_(None),
            t.alerts.c.handled_by.is_(None),
        )

    def taken_up(self) -> list[Alert]:
        """The latest alert of each incident that waits for a run to end which has taken it up."""
        found = self._waited_for(t.alerts.c.handled_by.is_not(None))
        return list({it.incident: it for it in found}.values())

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

    def _waited_for(self, *where: sa.ColumnElement[bool]) -> list[Alert]:
        query = (
            sa.select(t.alerts)
            .join(t.incidents, t.alerts.c.incident == t.incidents.c.id)
            .where(t.alerts.c.action.in_(ASKS), t.incidents.c.state.in_(WAITING), *where)
            .order_by(t.alerts.c.at)
        )
        with self.engine.connect() as tx:
            return [Alert(**row) for row in tx.execute(query).mappings()]

    def _alerts(self, *where: sa.ColumnElement[bool]) -> list[Alert]:
        query = sa.select(t.alerts).where(*where).order_by(t.alerts.c.at)
        with self.engine.connect() as tx:
            return [Alert(**row) for row in tx.execute(query).mappings()]
