"""The ledger's pages on what happened to incidents: their states, and their stories."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from andon.adapters.ledger import schema as t
from andon.adapters.ledger.alerts import AlertBook
from andon.adapters.ledger.notices import NoticeBook
from andon.adapters.ledger.rows import Incident
from andon.errors import LineError

CLOSED = "closed"
SILENT = ("open", "retraining", "returning")  # states that are no news for people by themselves


class StoryBook(AlertBook, NoticeBook):
    """States and stories; each change is one transaction, and nobody else's is in between."""

    def tell(self, incident: str, what: str, state: str | None = None) -> None:
        """Add to an incident's story; `closed` also ends it."""
        with self.engine.begin() as tx:
            self._lock(tx, incident)
            self._tell(tx, incident, what)
            if state is not None:
                self._enter(tx, incident, state, what)

    def tell_once(self, incident: str, what: str) -> None:
        """Add to an incident's story what is not in it yet."""
        with self.engine.begin() as tx:
            self._lock(tx, incident)
            if what not in [it for _, it in self._story(tx, incident)]:
                self._tell(tx, incident, what)

    def move(self, incident: str, what: str, state: str, *, among: Collection[str]) -> bool:
        """Bring it to a state if it is in one of some; false, and nothing is told, if not."""
        with self.engine.begin() as tx:
            if self._lock(tx, incident) not in among:
                return False
            self._tell(tx, incident, what)
            self._enter(tx, incident, state, what)
            return True

    def incident(self, incident: str) -> Incident:
        """One incident with its story; raises LineError if there is none with this id."""
        found = self._incidents(t.incidents.c.id == incident)
        if not found:
            raise LineError(
                f"the ledger knows no incident {incident!r}; see `andon incidents --all`"
            )
        return found[0]

    def open_incidents(self, model: str, environment: str) -> list[Incident]:
        """Incidents that are not closed, oldest first."""
        place = t.incidents.c.environment == environment
        return self._incidents(t.incidents.c.model == model, place, t.incidents.c.state != CLOSED)

    def incidents(self, model: str) -> list[Incident]:
        """Every incident of a model with its story, oldest first."""
        return self._incidents(t.incidents.c.model == model)

    def _enter(self, tx: sa.Connection, incident: str, state: str, what: str) -> None:
        closed = self.clock() if state == CLOSED else None
        self._set(tx, incident, state=state, closed_at=closed)
        if state not in SILENT:
            self._notice(tx, incident, "clear" if state == CLOSED else "update", what)

    @staticmethod
    def _set(tx: sa.Connection, incident: str, **values: object) -> None:
        tx.execute(t.incidents.update().where(t.incidents.c.id == incident).values(**values))

    def _tell(self, tx: sa.Connection, incident: str, what: str) -> None:
        values = {"incident": incident, "what": what, "at": self.clock()}
        tx.execute(t.incident_events.insert().values(values))

    def _lock(self, tx: sa.Connection, incident: str) -> str:
        """Nobody else changes it until this transaction ends; returns its state."""
        self._alone(tx, "")
        query = sa.select(t.incidents.c.state).where(t.incidents.c.id == incident)
        found = tx.execute(query.with_for_update()).scalar()
        if found is None:
            raise LineError(
                f"the ledger knows no incident {incident!r}; see `andon incidents --all`"
            )
        return str(found)

    def _alone(self, tx: sa.Connection, name: str) -> None:
        """SQLite: a write first, or two who have read could not both write. Else a lock by name."""
        if self.engine.dialect.name == "sqlite":
            tx.execute(t.incidents.update().where(sa.false()).values(state=CLOSED))
        elif name:
            tx.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(name, 0))))

    def _incidents(self, *where: sa.ColumnElement[bool]) -> list[Incident]:
        query = sa.select(t.incidents).where(*where).order_by(t.incidents.c.opened_at)
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
