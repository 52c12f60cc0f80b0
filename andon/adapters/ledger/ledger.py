"""The ledger: what happened, written before it is acted on; the one truth about what is live."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from andon.adapters.ledger import schema as t
from andon.adapters.ledger.history import HistoryBook
from andon.adapters.ledger.incidents import IncidentBook
from andon.adapters.ledger.measures import MeasureBook
from andon.adapters.ledger.releases import ReleaseBook
from andon.adapters.ledger.rows import Candidate, Release, Run, SnapshotRow, VerdictRow
from andon.errors import LineError
from andon.verdict import Verdict

WATCHING = ("monitor ", "probe ")  # stations
WATCHED_SECONDS = 35 * 86_400.0


class Ledger(ReleaseBook, IncidentBook, MeasureBook, HistoryBook):
    """One database. Every write is one transaction; `clock` gives epoch seconds."""

    def __init__(self, engine: sa.Engine, clock: Callable[[], float] = time.time) -> None:
        self.engine = engine
        self.clock = clock

    def start_run(self, run_id: str, *, flow: str, model: str, trigger: str) -> None:
        """Note that a run began; a retry of the same run begins again."""
        values = {
            "flow": flow,
            "model": model,
            "trigger": trigger,
            "started_at": self.clock(),
            "ended_at": None,
            "outcome": None,
            "message": None,
        }
        with self.engine.begin() as tx:
            if not tx.execute(t.runs.update().where(t.runs.c.id == run_id).values(values)).rowcount:
                tx.execute(t.runs.insert().values(id=run_id, **values))

    def end_run(self, run_id: str, outcome: str, message: str) -> None:
        """Note how a run ended."""
        values = {"ended_at": self.clock(), "outcome": outcome, "message": message}
        with self.engine.begin() as tx:
            tx.execute(t.runs.update().where(t.runs.c.id == run_id).values(values))

    def keep_built(self, run_id: str, built: dict[str, Any]) -> None:
        """What a run's stations made, for when it is taken up again."""
        with self.engine.begin() as tx:
            tx.execute(t.runs.update().where(t.runs.c.id == run_id).values(built=built))

    def built(self, run_id: str) -> dict[str, Any] | None:
        """What a run's stations made, if they were all done."""
        query = sa.select(t.runs.c.built).where(t.runs.c.id == run_id)
        with self.engine.connect() as tx:
            found = tx.execute(query).scalar()
        return None if found is None else dict(found)

    def run(self, run_id: str) -> Run | None:
        """One run."""
        with self.engine.connect() as tx:
            found = tx.execute(sa.select(t.runs).where(t.runs.c.id == run_id)).mappings().first()
        return Run(**found) if found else None

    def runs(self, model: str | None = None, limit: int = 50) -> list[Run]:
        """The latest runs, newest first."""
        query = sa.select(t.runs).order_by(t.runs.c.started_at.desc()).limit(limit)
        if model is not None:
            query = query.where(t.runs.c.model == model)
        with self.engine.connect() as tx:
            return [Run(**row) for row in tx.execute(query).mappings()]

    def add_snapshot(
        self, hash_: str, *, model: str, source: str, rows: int, columns: dict[str, str]
    ) -> None:
        """Keep a snapshot's facts; the same snapshot again changes nothing."""
        with self.engine.begin() as tx:
            where = (t.snapshots.c.hash == hash_) & (t.snapshots.c.model == model)
            if tx.execute(sa.select(t.snapshots.c.hash).where(where)).first() is None:
                tx.execute(
                    t.snapshots.insert().values(
                        hash=hash_,
                        model=model,
                        source=source,
                        row_count=rows,
                        columns=columns,
                        at=self.clock(),
                    )
                )

    def snapshots(self, model: str) -> list[SnapshotRow]:
        """A model's snapshots, newest first."""
        query = sa.select(t.snapshots).where(t.snapshots.c.model == model)
        with self.engine.connect() as tx:
            found = tx.execute(query.order_by(t.snapshots.c.at.desc())).mappings()
            return [SnapshotRow(**row) for row in found]

    def add_verdicts(
        self, verdicts: Iterable[Verdict], *, run_id: str, model: str, station: str, subject: str
    ) -> None:
        """Keep verdicts; the same station of the same run again replaces its earlier ones.

        Those of monitors and probes are let go after WATCHED_SECONDS: a quarter of a million a
        month would be there for each model.
        """
        place = {"run_id": run_id, "model": model, "station": station, "subject": subject}
        same = sa.and_(*(t.verdicts.c[key] == value for key, value in place.items()))
        rows = [
            {**verdict.model_dump(mode="json"), **place, "at": self.clock()} for verdict in verdicts
        ]
        with self.engine.begin() as tx:
            tx.execute(t.verdicts.delete().where(same))
            if station.startswith(WATCHING):
                tx.execute(t.verdicts.delete().where(self._outdated(model, station)))
            if rows:
                tx.execute(t.verdicts.insert(), rows)

    def _outdated(self, model: str, station: str) -> sa.ColumnElement[bool]:
        c = t.verdicts.c
        oldest = self.clock() - WATCHED_SECONDS
        return (c.model == model) & (c.station == station) & (c.at < oldest)

    def verdicts(
        self, model: str, since: float = 0.0, run_id: str | None = None
    ) -> list[VerdictRow]:
        """All verdicts on a model since a time, of one run if it is given, oldest first."""
        query = (
            sa.select(t.verdicts)
            .where(t.verdicts.c.model == model, t.verdicts.c.at >= since)
            .order_by(t.verdicts.c.seq)
        )
        if run_id is not None:
            query = query.where(t.verdicts.c.run_id == run_id)
        with self.engine.connect() as tx:
            rows = tx.execute(query).mappings()
            return [VerdictRow(**{k: v for k, v in row.items() if k != "seq"}) for row in rows]

    def add_candidate(self, **values: Any) -> Candidate:
        """Keep a version's lineage, once; the same version again returns what is kept."""
        kept = self.candidate(values["model"], values["version"])
        if kept is not None:
            return kept
        with self.engine.begin() as tx:
            tx.execute(t.candidates.insert().values(**values, at=self.clock()))
        found = self.candidate(values["model"], values["version"])
        assert found is not None  # noqa: S101 - just written
        return found

    def candidate(self, model: str, version: str) -> Candidate | None:
        """One version's lineage."""
        found = self._candidates(model, t.candidates.c.version == version)
        return found[0] if found else None

    def candidate_of(self, release: Release) -> Candidate:
        """The version that a release is about; raises LineError if it is not on the ledger."""
        found = self.candidate(release.model, release.version)
        if found is None:
            raise LineError(f"the ledger knows no version {release.version} of {release.model}")
        return found

    def candidates(self, model: str) -> list[Candidate]:
        """All versions, newest first."""
        return self._candidates(model)

    def _candidates(self, model: str, *where: sa.ColumnElement[bool]) -> list[Candidate]:
        query = (
            sa.select(t.candidates)
            .where(t.candidates.c.model == model, *where)
            .order_by(t.candidates.c.at.desc())
        )
        with self.engine.connect() as tx:
            return [Candidate(**row) for row in tx.execute(query).mappings()]

    def models(self) -> Sequence[str]:
        """Models that ever had a run."""
        query = sa.select(t.runs.c.model).distinct().order_by(t.runs.c.model)
        with self.engine.connect() as tx:
            return tx.execute(query).scalars().all()
