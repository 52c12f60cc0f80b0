"""The ledger's pages on incidents: one transaction for each decision, its alert and its story."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from andon.adapters.ledger import schema as t
from andon.adapters.ledger.alerts import WAITING
from andon.adapters.ledger.rows import Alert, Incident
from andon.adapters.ledger.stories import CLOSED, StoryBook
from andon.errors import LineError
from andon.incidents import PEOPLE, Asks, Decision, Group, Moves, Nothing, Opens, Waits, group_of
from andon.rollout import Phase


@dataclass(frozen=True)
class Seen:
    """What a monitor run saw: words for the alert, and its window (epoch seconds)."""

    message: str
    clear: str
    window: tuple[float, float]


class IncidentBook(StoryBook):
    """Incidents with one id from the first alert to the all-clear."""

    def settle(
        self, environment: str, model: str, group: Group, seen: Seen,
        decide: Callable[[Incident | None, str], Decision],
    ) -> Decision:  # fmt: skip
        """Decide on a place's open incident of a group, and write it down, all at once.

        `decide` gets that incident, if there is one, and the version that serves ("": none does).
        One at a time: the incident stays as it was given until the decision is on the ledger.
        """
        with self.engine.begin() as tx:
            self._alone(tx, f"incidents/{environment}/{model}")
            found = self._open_one(tx, environment, model, group)
            decision = decide(found, self._serving(tx, environment, model))
            place = {"environment": environment, "model": model}
            self._write(tx, place, found, seen, decision)
        return decision

    def raise_alert(
        self, *, model: str, environment: str, monitor: str, action: str, message: str,
        window: tuple[float, float],
    ) -> Alert:  # fmt: skip
        """Write an alert, on the open incident of its group or on a new one."""
        states = {"retrain": "retraining", "rollback": "returning"}
        place = {"environment": environment, "model": model}
        with self.engine.begin() as tx:
            self._alone(tx, f"incidents/{environment}/{model}")
            found = self._open_one(tx, environment, model, group_of(monitor.partition("+")[0]))
            incident = found.id if found else self._opened(tx, **place, cause=monitor, state="open")
            if action in states:
                self._set(tx, incident, state=states[action])
            asked = {"monitor": monitor, "action": action, "message": message}
            alert = self._alerted(tx, window, **place, **asked, incident=incident)
        return self.alert(alert)

    def take_up(self, alert_id: str, run_id: str, what: str) -> bool:
        """Claim an alert for a run, once, and tell its incident `what`.

        True for the same run again. False if another run has it, or if its incident does not wait
        for it any more.
        """
        alert = self.alert(alert_id)
        free = t.alerts.c.handled_by.is_(None)
        mine = t.alerts.c.id == alert_id
        with self.engine.begin() as tx:
            state = self._lock(tx, alert.incident)
            asked = ("retraining",) if alert.action == "retrain" else ("returning", "halted")
            if tx.execute(sa.select(t.alerts.c.handled_by).where(mine)).scalar() == run_id:
                if state in (*PEOPLE, "open") and state not in asked:
                    # A person tries that run again.
                    self._tell(tx, alert.incident, what)
                    self._set(tx, alert.incident, state=asked[0])
                return state != CLOSED
            taken = t.alerts.update().where(mine, free).values(handled_by=run_id)
            if state not in asked or not tx.execute(taken).rowcount:
                return False
            self._tell(tx, alert.incident, what)
        return True

    def give_back(self, alert_id: str, run_id: str, what: str) -> bool:
        """Let another run answer an alert whose run has died; false if nobody waits for it."""
        alert = self.alert(alert_id)
        mine = (t.alerts.c.id == alert_id) & (t.alerts.c.handled_by == run_id)
        with self.engine.begin() as tx:
            if self._lock(tx, alert.incident) not in WAITING:
                return False
            freed = t.alerts.update().where(mine).values(handled_by=None, sent_at=None)
            if not tx.execute(freed).rowcount:
                return False
            self._tell(tx, alert.incident, what)
        return True

    def look(self, incident: str, by: str, note: str = "") -> Incident:
        """Somebody has looked: what waited for that may go on. Raises LineError if it is closed."""
        with self.engine.begin() as tx:
            state = self._lock(tx, incident)
            if state == CLOSED:
                raise LineError(f"incident {incident} is closed already")
            self._set(tx, incident, looked_by=by[:80], looked_at=self.clock())
            what = f"looked at by {by}" + (f": {note}" if note else "")
            self._tell(tx, incident, what)
            if state in PEOPLE:
                self._set(
                    tx, incident, state="returning" if self._pending(tx, incident) else "open"
                )
                self._notice(tx, incident, "update", what)
        return self.incident(incident)

    def close(self, incident: str, by: str, note: str) -> Incident:
        """Somebody says that it is over. Raises LineError if it is closed already."""
        with self.engine.begin() as tx:
            if self._lock(tx, incident) == CLOSED:
                raise LineError(f"incident {incident} is closed already")
            what = f"closed by {by}" + (f": {note}" if note else "")
            self._set(tx, incident, looked_by=by[:80], looked_at=self.clock())
            self._tell(tx, incident, what)
            self._enter(tx, incident, CLOSED, what)
        return self.incident(incident)

    @staticmethod
    def _pending(tx: sa.Connection, incident: str) -> bool:
        """Whether a rollback was asked for that no run has taken up."""
        alerts = t.alerts.c
        asked = (alerts.incident == incident) & (alerts.action == "rollback")
        query = sa.select(alerts.id).where(asked, alerts.handled_by.is_(None))
        return tx.execute(query).first() is not None

    def _open_one(
        self, tx: sa.Connection, environment: str, model: str, group: Group
    ) -> Incident | None:
        query = (
            sa.select(t.incidents)
            .where(
                t.incidents.c.model == model,
                t.incidents.c.environment == environment,
                t.incidents.c.state != CLOSED,
            )
            .order_by(t.incidents.c.opened_at)
            .with_for_update()
        )
        mine = [
            Incident(**row, story=self._story(tx, row["id"]))
            for row in tx.execute(query).mappings().all()
            if group_of(row["cause"].partition("+")[0]) == group
        ]
        return mine[0] if mine else None

    @staticmethod
    def _serving(tx: sa.Connection, environment: str, model: str) -> str:
        releases = t.releases.c
        query = (
            sa.select(releases.version)
            .where(
                releases.environment == environment,
                releases.model == model,
                releases.phase == Phase.PROMOTED.value,
            )
            .order_by(releases.seq.desc())
            .limit(1)
        )
        return str(tx.execute(query).scalar() or "")

    def _write(
        self, tx: sa.Connection, place: dict[str, str], found: Incident | None, seen: Seen,
        decision: Decision,
    ) -> None:  # fmt: skip
        if isinstance(decision, Nothing):
            return
        if isinstance(decision, Opens):
            cause, severity = "+".join(decision.cause), decision.severity
            incident = self._opened(
                tx, **place, cause=cause, state=decision.state, severity=severity
            )
            told = self._asked(tx, place, incident, seen, decision)
            self._notice(tx, incident, "opened", told)
            return
        if found is None:
            raise LineError(f"{decision} is about an incident, and there is none at {place}")
        if isinstance(decision, Waits):
            self._wait(tx, found, decision)
        elif isinstance(decision, Asks):
            self._set(tx, found.id, cause="+".join(decision.cause), severity=decision.severity)
            told = self._asked(tx, place, found.id, seen, decision)
            self._enter(tx, found.id, decision.state, told)
        else:
            self._moved(tx, found, seen, decision)

    def _asked(
        self, tx: sa.Connection, place: dict[str, str], incident: str, seen: Seen,
        decision: Opens | Asks,
    ) -> str:  # fmt: skip
        message = "; ".join(filter(None, (seen.message, decision.why)))
        asked = {"monitor": "+".join(decision.cause), "action": decision.action}
        self._alerted(tx, seen.window, **place, **asked, incident=incident, message=message)
        return message

    def _moved(self, tx: sa.Connection, found: Incident, seen: Seen, decision: Moves) -> None:
        self._set(tx, found.id, cause="+".join(decision.cause), severity=decision.severity)
        what = seen.clear if decision.state == CLOSED and seen.clear else decision.why
        if decision.state != CLOSED and seen.message:
            what = f"{decision.why}: {seen.message}"
        self._tell(tx, found.id, what)
        if decision.state != found.state:
            self._enter(tx, found.id, decision.state, what)
        elif decision.severity != found.severity or decision.cause != tuple(found.cause.split("+")):
            self._notice(tx, found.id, "update", what)

    def _wait(self, tx: sa.Connection, found: Incident, decision: Waits) -> None:
        """What it waits for is told once; its figure is kept up to date."""
        last = found.story[-1][1] if found.story else ""
        if last == decision.why:
            return
        if last.startswith(f"{decision.what}:"):
            mine = t.incident_events.c.incident == found.id
            newest = sa.select(sa.func.max(t.incident_events.c.seq)).where(mine).scalar_subquery()
            tx.execute(
                t.incident_events.update()
                .where(t.incident_events.c.seq == newest)
                .values(what=decision.why, at=self.clock())
            )
        else:
            self._tell(tx, found.id, decision.why)

    def _opened(self, tx: sa.Connection, **values: str) -> str:
        incident = f"{values['model']}-{uuid.uuid4().hex[:8]}"
        opened = {"id": incident, "opened_at": self.clock()}
        tx.execute(t.incidents.insert().values(**opened, **values))
        return incident

    def _alerted(self, tx: sa.Connection, window: tuple[float, float], **values: str) -> str:
        alert, (begin, end) = uuid.uuid4().hex, window
        seen = {"id": alert, "window_start": begin, "window_end": end, "at": self.clock()}
        tx.execute(t.alerts.insert().values(**seen, **values))
        self._tell(tx, values["incident"], f"alert: {values['message']}")
        return alert
