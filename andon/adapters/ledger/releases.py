"""The ledger's pages on releases: rollouts, their transitions, and who is champion."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from math import inf
from typing import Any

import sqlalchemy as sa

from andon.adapters.ledger import schema as t
from andon.adapters.ledger.rows import Candidate, Release, Transition
from andon.errors import LineError, Overtaken
from andon.ports import version_in
from andon.rollout import Phase, Rollout, wanted


class ReleaseBook:
    """Releases and transitions of every environment."""

    engine: sa.Engine
    clock: Callable[[], float]

    def open_release(
        self,
        rollout: Rollout,
        *,
        environment: str,
        model: str,
        version: str,
        kind: str,
        trigger: str,
        run_id: str,
    ) -> Release:
        """Begin a release: its row and its first transition."""
        with self.engine.begin() as tx:
            seq = tx.execute(
                t.releases.insert().values(
                    environment=environment,
                    model=model,
                    version=version,
                    kind=kind,
                    trigger=trigger,
                    run_id=run_id,
                    phase=rollout.phase.value,
                    state=rollout.model_dump(mode="json"),
                    revision=0,
                    started_at=self.clock(),
                )
            ).inserted_primary_key[0]  # type: ignore[index]
            self._note(tx, seq, rollout)
        return self.release(seq)

    def save_release(self, release: Release, rollout: Rollout) -> Release:
        """Write the next state of a release and its transition, in one transaction.

        Raises Overtaken if another driver, or a person, wrote in between.
        """
        changed = {
            "phase": rollout.phase.value,
            "state": rollout.model_dump(mode="json"),
            "revision": release.revision + 1,
            # A promoted release that lets its predecessor go has ended before.
            "ended_at": (release.ended_at or self.clock()) if rollout.ended else None,
        }
        mine = (t.releases.c.seq == release.seq) & (t.releases.c.revision == release.revision)
        with self.engine.begin() as tx:
            if tx.execute(t.releases.update().where(mine).values(changed)).rowcount != 1:
                raise Overtaken(
                    f"release {release.seq} of {release.model} in {release.environment} was "
                    "changed by another run in the meantime; this run stops"
                )
            self._note(tx, release.seq, rollout)
        return self.release(release.seq)

    def _note(self, tx: sa.Connection, seq: int, rollout: Rollout) -> None:
        tx.execute(
            t.transitions.insert().values(
                release=seq,
                phase=rollout.phase.value,
                what=rollout.told,
                weights=wanted(rollout).weights,
                at=self.clock(),
            )
        )

    def release(self, seq: int) -> Release:
        """One release; raises LineError if there is none with this number."""
        found = self._releases(t.releases.c.seq == seq, limit=1)
        if not found:
            raise LineError(f"the ledger has no release {seq}")
        return found[0]

    def champion(self, environment: str, model: str, at: float | None = None) -> Release | None:
        """The release that an environment serves, now or at a time."""
        promoted = t.releases.c.phase == Phase.PROMOTED.value
        where = [self._place(environment, model), promoted]
        if at is not None:
            where.append(t.releases.c.ended_at <= at)
        found = self._releases(*where, limit=1)
        return found[0] if found else None

    def let_go_at(self, environment: str, model: str, version: str) -> float | None:
        """When a version last ceased to be champion; None if it never was, or still is."""
        promoted = t.releases.c.phase == Phase.PROMOTED.value
        found = self._releases(self._place(environment, model), promoted, limit=1_000)
        for after, it in itertools.pairwise(found):
            if it.version == version != after.version:
                return after.ended_at
        return None

    def unfinished(self, environment: str, model: str) -> Release | None:
        """The release in progress, or left behind by a run that was killed."""
        found = self._releases(
            self._place(environment, model), t.releases.c.ended_at.is_(None), limit=1
        )
        return found[0] if found else None

    def ended_by(self, run_id: str, environment: str, candidate: Candidate) -> Release | None:
        """The release of this version that a run brought to its end, if it did."""
        found = self._releases(
            self._place(environment, candidate.model),
            t.releases.c.version == candidate.version,
            t.releases.c.run_id == run_id,
            t.releases.c.ended_at.is_not(None),
            limit=1,
        )
        return found[0] if found and run_id else None

    def releases(
        self, model: str, environment: str | None = None, limit: int = 50
    ) -> list[Release]:
        """The latest releases of a model, newest first."""
        where = [t.releases.c.model == model]
        if environment is not None:
            where.append(t.releases.c.environment == environment)
        return self._releases(*where, limit=limit)

    def releases_by(self, run_id: str) -> list[Release]:
        """What a run has released, oldest first."""
        return self._releases(t.releases.c.run_id == run_id, limit=100)[::-1] if run_id else []

    def places(self) -> list[tuple[str, str]]:
        """Every (environment, model) that ever had a release."""
        query = sa.select(t.releases.c.environment, t.releases.c.model).distinct()
        with self.engine.connect() as tx:
            return sorted((row.environment, row.model) for row in tx.execute(query))

    def transitions(self, release: int) -> list[Transition]:
        """A release's states, oldest first."""
        query = (
            sa.select(t.transitions)
            .where(t.transitions.c.release == release)
            .order_by(t.transitions.c.seq)
        )
        with self.engine.connect() as tx:
            rows = tx.execute(query).mappings()
            return [Transition(**{k: v for k, v in row.items() if k != "seq"}) for row in rows]

    def live_spans(
        self, environment: str, model: str, since: float = 0.0
    ) -> dict[str, list[tuple[float, float]]]:
        """When each version had a share of the traffic, by version; the last one has no end (inf).

        A split is written down right before it is made: at its borders it is known to about the
        second that this takes.
        """
        mine = t.transitions.join(t.releases, t.transitions.c.release == t.releases.c.seq)
        query = (
            sa.select(t.transitions.c.weights, t.transitions.c.at)
            .select_from(mine)
            .where(self._place(environment, model))
            .order_by(t.transitions.c.seq)
        )
        with self.engine.connect() as tx:
            splits = [(dict(row.weights), row.at) for row in tx.execute(query)]
        spans: dict[str, list[tuple[float, float]]] = {}
        ends = [at for _, at in splits[1:]] + [inf]
        for (weights, begin), end in zip(splits, ends, strict=True) if splits else ():
            for name in (name for name, weight in weights.items() if weight and end > since):
                found = spans.setdefault(version_in(name), [])
                if found and found[-1][1] == begin:
                    found[-1] = (found[-1][0], end)
                else:
                    found.append((begin, end))
        return spans

    @staticmethod
    def _place(environment: str, model: str) -> sa.ColumnElement[bool]:
        return (t.releases.c.environment == environment) & (t.releases.c.model == model)

    def _releases(self, *where: sa.ColumnElement[bool], limit: int) -> list[Release]:
        query = sa.select(t.releases).where(*where).order_by(t.releases.c.seq.desc()).limit(limit)
        with self.engine.connect() as tx:
            return [_release(dict(row)) for row in tx.execute(query).mappings()]


def _release(row: dict[str, Any]) -> Release:
    row.pop("phase")
    return Release(rollout=Rollout.model_validate(row.pop("state")), **row)
