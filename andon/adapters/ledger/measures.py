"""The ledger's pages of figures over time: of probes, and of what processes use."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa

from andon.adapters.ledger import schema as t
from andon.adapters.ledger.rows import Measure

KEPT_SECONDS = 14 * 86_400.0


class MeasureBook:
    """Figures by place, name and time; those older than KEPT_SECONDS are let go."""

    engine: sa.Engine
    clock: Callable[[], float]

    def add_measures(self, environment: str, model: str, figures: Mapping[str, float]) -> float:
        """Write figures of now; returns when that was (epoch seconds)."""
        now = self.clock()
        place = {"environment": environment, "model": model, "at": now}
        rows = [{**place, "what": what, "value": value} for what, value in figures.items()]
        old = (
            (t.measures.c.environment == environment)
            & (t.measures.c.model == model)
            & (t.measures.c.at < now - KEPT_SECONDS)
        )
        with self.engine.begin() as tx:
            if rows:
                tx.execute(t.measures.insert(), rows)
            tx.execute(t.measures.delete().where(old))
        return now

    def measures(self, environment: str, model: str, since: float = 0.0) -> list[Measure]:
        """Figures of a place since a time (epoch seconds), oldest first."""
        c = t.measures.c
        query = (
            sa.select(c.environment, c.model, c.what, c.value, c.at)
            .where(c.environment == environment, c.model == model, c.at >= since)
            .order_by(c.at, c.seq)
        )
        with self.engine.connect() as tx:
            return [Measure(**row) for row in tx.execute(query).mappings()]
