"""Finds both answers to the same request: its copy has an id of its own, but the same inputs.

A deterministic model's answer depends on its inputs alone, so the champion's answer to equal inputs
is a fair partner, whichever of several equal requests it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from andon.adapters.arrow_segments import INPUT, Batch
from andon.adapters.watching.answers import Answer, Said
from andon.adapters.watching.following import SegmentFollower
from andon.adapters.watching.slicing import Slicer

MOST = 20_000  # rows of each side that wait for a partner; the oldest leave first


@dataclass(frozen=True)
class Match:
    """Two answers to equal inputs. `fresh`: the champion's was no partner before."""

    candidate: Answer
    champion: Answer
    slices: tuple[str, ...]
    fresh: bool


@dataclass(frozen=True)
class _Row:
    answer: Answer
    slices: tuple[str, ...] = ()
    fresh: bool = True


class Pairing:
    """Rows that wait for their partner, in bounded memory."""

    def __init__(self, slicer: Slicer) -> None:
        self._slicer = slicer
        self._waiting: dict[int, list[_Row]] = {}  # the candidate's
        self._answered: dict[int, _Row] = {}  # the champion's
        self._held: list[tuple[bool, Batch, Said]] = []
        self._n_waiting = 0

    def problem(self, ours: SegmentFollower, theirs: SegmentFollower) -> str:
        """Why equal inputs cannot be told; "": they can, or it is not known yet."""
        masked = sorted(ours.masked | theirs.masked)
        if masked:
            return f"rows cannot be paired without the columns of logging.mask: {', '.join(masked)}"
        if ours.columns is None or theirs.columns is None:
            return ""
        shared = ours.columns.keys() & theirs.columns.keys()
        if not shared:
            return "rows cannot be paired: the versions have no input column in common"
        text = str(pa.string())
        one, other = ours.columns, theirs.columns
        mixed = [it for it in sorted(shared) if (one[it] == text) != (other[it] == text)]
        listed = ", ".join(it.removeprefix(INPUT) for it in mixed)
        why = f"rows cannot be paired: text in one version, and not in the other: {listed}"
        return why if mixed else ""

    def add(
        self,
        ours: SegmentFollower,
        theirs: SegmentFollower,
        candidate: Sequence[tuple[Batch, Said]],
        champion: Sequence[tuple[Batch, Said]],
    ) -> list[Match]:
        """The pairs that these new rows make, with each other and with those that wait."""
        # The champion's first: most partners come in the same look.
        self._held += [(False, *it) for it in champion] + [(True, *it) for it in candidate]
        if self.problem(ours, theirs):
            self._held.clear()
            return []
        if ours.columns is None or theirs.columns is None:
            while sum(len(it[1].times) for it in self._held) > MOST:
                self._held.pop(0)
            return []
        shared = sorted(ours.columns.keys() & theirs.columns.keys())
        held, self._held = self._held, []
        found: list[Match] = []
        for is_candidate, batch, answers in held:
            for key, row in self._rows(is_candidate, batch, answers, shared):
                found += self._ours(key, row) if is_candidate else self._theirs(key, row)
        return found

    def _rows(
        self, is_candidate: bool, batch: Batch, answers: Said, shared: list[str]
    ) -> Iterator[tuple[int, _Row]]:
        keys = _keys(batch, shared)
        n = len(keys)
        labels = answers.labels or [None] * n
        slices: list[tuple[str, ...]] = [()] * n
        if is_candidate:
            inputs = {it.removeprefix(INPUT) for it in batch.rows.schema.names}
            wanted = [it for it in self._slicer.columns if it in inputs]
            with suppress(ValueError, OverflowError, pa.ArrowException):  # dates that are none
                columns = {it: batch.rows[INPUT + it].to_pylist() for it in wanted}
                slices = self._slicer.of_rows(columns, n)
        numbers, sound = answers.numbers.tolist(), answers.sound.tolist()
        for i in range(n):
            if sound[i]:
                yield keys[i], _Row(Answer(answers.ids[i], labels[i], numbers[i]), slices[i])

    def _ours(self, key: int, row: _Row) -> list[Match]:
        partner = self._answered.get(key)
        if partner is None:
            self._waiting.setdefault(key, []).append(row)
            self._n_waiting += 1
            while self._n_waiting > MOST:
                self._n_waiting -= len(self._waiting.pop(next(iter(self._waiting))))
            return []
        if partner.fresh:
            self._answered[key] = _Row(partner.answer, fresh=False)
        return [Match(row.answer, partner.answer, row.slices, partner.fresh)]

    def _theirs(self, key: int, row: _Row) -> list[Match]:
        waited = self._waiting.pop(key, [])
        self._n_waiting -= len(waited)
        self._answered.pop(key, None)  # to the end of the queue
        self._answered[key] = _Row(row.answer, fresh=not waited)
        if len(self._answered) > MOST:
            del self._answered[next(iter(self._answered))]
        return [Match(it.answer, row.answer, it.slices, i == 0) for i, it in enumerate(waited)]


def _keys(batch: Batch, shared: list[str]) -> list[int]:
    """A hash of each row's inputs; equal numbers are equal, whatever their column's type."""
    frame = pl.from_arrow(batch.rows.select(shared))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a record batch is a table
    columns = [
        pl.col(name)
        if kind == pl.String
        else pl.col(name).cast(pl.Int64).cast(pl.Float64)
        if kind.is_temporal()
        else pl.col(name).cast(pl.Float64)
        for name, kind in frame.schema.items()
    ]
    return list(frame.select(columns).hash_rows(seed=0).to_list())
