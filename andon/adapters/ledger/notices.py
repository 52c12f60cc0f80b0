"""The ledger's pages of messages that are to be sent, and of those that were.

A message is written with what it is about, in one transaction. Whom it goes to is decided when it
is sent, so that a route that is added later, or mended, has what is still to be sent.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from andon.adapters.ledger import schema as t
from andon.adapters.ledger.rows import Notice

KEPT_SECONDS = 30 * 86_400.0
EVERYBODY = ""  # the route of a message that is not addressed yet


class NoticeBook:
    """An outbox: at least once for each route, in the order of each incident's messages."""

    engine: sa.Engine
    clock: Callable[[], float]

    def _notice(self, tx: sa.Connection, incident: str, kind: str, message: str) -> None:
        """A message for people; `kind`: opened, update or clear."""
        now = self.clock()
        tx.execute(
            t.notices.insert().values(
                id=uuid.uuid4().hex, incident=incident, kind=kind, route=EVERYBODY,
                message=message, at=now, due=now, attempts=0,
            )
        )  # fmt: skip

    def unaddressed(self) -> list[Notice]:
        """Messages that no route has yet, oldest first."""
        return self._notices(t.notices.c.route == EVERYBODY)

    def address(self, notice: Notice, routes: Sequence[tuple[str, float]]) -> None:
        """One message for each (route, due in epoch seconds), instead of the one for everybody."""
        with self.engine.begin() as tx:
            taken = tx.execute(t.notices.delete().where(t.notices.c.id == notice.id)).rowcount
            for route, due in routes if taken else ():
                tx.execute(
                    t.notices.insert().values(
                        id=uuid.uuid4().hex, incident=notice.incident, kind=notice.kind,
                        route=route, message=notice.message, at=notice.at, due=due, attempts=0,
                    )
                )  # fmt: skip

    def waiting(self) -> list[Notice]:
        """Messages that have a route and were not sent, oldest first."""
        c = t.notices.c
        return self._notices(c.route != EVERYBODY, c.sent_at.is_(None))

    def notices(self, incident: str) -> list[Notice]:
        """All of one incident, oldest first."""
        return self._notices(t.notices.c.incident == incident)

    def sent(self, ids: Sequence[str]) -> None:
        """They went out; what was sent long ago is let go."""
        now, c = self.clock(), t.notices.c
        with self.engine.begin() as tx:
            tx.execute(t.notices.update().where(c.id.in_(ids)).values(sent_at=now, error=None))
            tx.execute(t.notices.delete().where(c.sent_at < now - KEPT_SECONDS))

    def not_sent(self, ids: Sequence[str], error: str, due: float) -> None:
        """They did not go out; they are tried again from `due` on (epoch seconds)."""
        c = t.notices.c
        values = {"attempts": c.attempts + 1, "error": error, "due": due}
        with self.engine.begin() as tx:
            tx.execute(t.notices.update().where(c.id.in_(ids)).values(values))

    def _notices(self, *where: sa.ColumnElement[bool]) -> list[Notice]:
        query = sa.select(t.notices).where(*where).order_by(t.notices.c.at, t.notices.c.id)
        with self.engine.connect() as tx:
            return [Notice(**row) for row in tx.execute(query).mappings()]
