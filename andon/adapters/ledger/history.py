"""The ledger's verdicts over time: what the last runs of the monitors said of a place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from andon.adapters.ledger import schema as t
from andon.adapters.ledger.rows import VerdictRow


@dataclass(frozen=True)
class Seen:
    """One run of one monitor: what it said of the version that served, and when."""

    run_id: str
    station: str
    subject: str
    at: float
    verdicts: tuple[VerdictRow, ...]


class HistoryBook:
    """Reads only; nothing but the runs that are asked for."""

    engine: sa.Engine

    def last_seen(
        self, model: str, environment: str, stations: Sequence[str], runs: int = 30
    ) -> list[Seen]:
        """The last `runs` runs of each station on a place, oldest first."""
        found: list[Seen] = []
        for station in stations:
            found += self._of_station(model, environment, station, runs)
        return sorted(found, key=lambda it: (it.at, it.station))

    def latest_verdicts(self, model: str, subject: str) -> list[VerdictRow]:
        """What was said last of a subject: by one station of one run; empty if nothing was."""
        c = t.verdicts.c
        mine = (c.model == model) & (c.subject == subject)
        newest = sa.select(c.run_id, c.station).where(mine).order_by(c.seq.desc()).limit(1)
        columns = [it for it in c if it.name != "seq"]
        with self.engine.connect() as tx:
            last = tx.execute(newest).first()
            if last is None:
                return []
            same = mine & (c.run_id == last.run_id) & (c.station == last.station)
            query = sa.select(*columns).where(same).order_by(c.seq)
            return [VerdictRow(**row) for row in tx.execute(query).mappings()]

    def _of_station(self, model: str, environment: str, station: str, runs: int) -> list[Seen]:
        c = t.verdicts.c
        mine = (c.model == model) & (c.station == station) & c.subject.like(f"% in {environment}")
        newest = (
            sa.select(c.run_id, sa.func.max(c.at).label("at"))
            .where(mine)
            .group_by(c.run_id)
            .order_by(sa.desc("at"))
            .limit(runs)
        )
        with self.engine.connect() as tx:
            ids = [row.run_id for row in tx.execute(newest)]
            if not ids:
                return []
            columns = [it for it in c if it.name != "seq"]
            query = sa.select(*columns).where(mine, c.run_id.in_(ids)).order_by(c.at, c.seq)
            rows = [VerdictRow(**row) for row in tx.execute(query).mappings()]
        by_run: dict[str, list[VerdictRow]] = {}
        for row in rows:
            by_run.setdefault(row.run_id, []).append(row)
        return [
            Seen(run, station, given[0].subject, given[0].at, tuple(given))
            for run, given in by_run.items()
        ]
