"""The parity gate: a compiled engine serves only if it answers every row as the pipeline does.

The rows are the evaluation set's (the first `MOST` of them) and edge rows. Labels and refusals have
to be the same, and scores within a tolerance: absolute for what is at most 1, relative beyond.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.bundle import Signature
from serving.compiling.rows import record_of, rows_of, taken
from serving.engines.base import Engine, Refused, Scored
from serving.table import Row, Table

MOST = 100_000
CHUNK = 2_000
SINGLE = 1_000  # rows of the evaluation set that are also asked one by one, as all edge rows are
SAME = 1e-9  # a row alone and in a batch
SMALLEST = 1e-12  # differences below are not told apart: they are another processor's rounding


class Verdict(msgspec.Struct, frozen=True):
    """What parity.json says of one engine. `max_difference`: a power of ten that none exceeds."""

    kind: str
    accepted: bool
    reason: str = ""
    rows: int = 0
    edge_rows: int = 0
    max_difference: float | None = None


@dataclass(frozen=True)
class Tried:
    """A verdict, and how long the engine took, which is no part of a bundle."""

    verdict: Verdict
    microseconds_row: float | None = None
    microseconds_row_in_batch: float | None = None

    @property
    def microseconds(self) -> tuple[float | None, float | None]:
        """Of a row alone, and of one in a batch."""
        return self.microseconds_row, self.microseconds_row_in_batch


@dataclass(frozen=True)
class Rows:
    """What engines are asked: `edges` rows at the end are edge rows."""

    signature: Signature
    table: Table
    edges: int

    def alone(self) -> list[int]:
        """The rows that are also asked one by one."""
        proper = self.table.n - self.edges
        return [*range(min(proper, SINGLE)), *range(proper, self.table.n)]


@dataclass(frozen=True)
class Outcome:
    """An engine's answers; where it refuses, no label (-1) and no scores (NaN), but a reason."""

    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    refused: dict[int, str]


def outcome(engine: Engine, table: Table, expected: Sequence[int] = ()) -> Outcome:
    """All answers. Rows `expected` to be refused are asked alone: looking for them is dearer."""
    found: dict[int, tuple[int, list[float]]] = {}
    refused: dict[int, str] = {}
    alone = set(expected)
    together = [number for number in range(table.n) if number not in alone]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of unknown categories, which are there on purpose
        for start in range(0, len(together), CHUNK):
            _ask(engine, table, together[start : start + CHUNK], found, refused)
        for number in expected:
            _ask(engine, table, [number], found, refused)
    return _gathered(table.n, found, refused)


def _ask(
    engine: Engine,
    table: Table,
    rows: list[int],
    found: dict[int, tuple[int, list[float]]],
    refused: dict[int, str],
) -> None:
    """Ask for rows at once; if that is refused, for each half."""
    try:
        scored = engine.table(taken(table, rows))
    except Refused as error:
        if len(rows) == 1:
            refused[rows[0]] = str(error)
            return
        half = len(rows) // 2
        _ask(engine, table, rows[:half], found, refused)
        _ask(engine, table, rows[half:], found, refused)
        return
    labels = scored.labels or [0] * len(rows)
    found.update(zip(rows, zip(labels, scored.scores, strict=True), strict=True))


def _gathered(
    n: int, found: dict[int, tuple[int, list[float]]], refused: dict[int, str]
) -> Outcome:
    width = max((len(scores) for _, scores in found.values()), default=1)
    labels, scores = np.full(n, -1), np.full((n, width), math.nan)
    for number, (label, row) in found.items():
        labels[number], scores[number] = label, row
    return Outcome(labels, scores, refused)


def outcome_alone(engine: Engine, rows: Sequence[Row]) -> Outcome:
    """The answers row by row."""
    found: dict[int, tuple[int, list[float]]] = {}
    refused: dict[int, str] = {}
    for number, row in enumerate(rows):
        try:
            scored = engine.row(row)
        except Refused as error:
            refused[number] = str(error)
        else:
            found[number] = (scored.labels[0] if scored.labels else 0, scored.scores[0])
    return _gathered(len(rows), found, refused)


def compare(
    kind: str, engine: Engine, rows: Rows, mine: Outcome, right: Outcome, tolerance: float
) -> Verdict:
    """Whether the engine's answers are the right ones, and each row's alone those in a batch."""
    proper = rows.table.n - rows.edges
    wrong, worst = _differing(mine, right, tolerance)
    reason = ""
    if wrong is not None:
        reason = _told(rows, wrong, (kind, mine, wrong), ("the pipeline", right, wrong))
    else:
        numbers = rows.alone()
        single = outcome_alone(engine, rows_of(rows.signature, taken(rows.table, numbers)))
        wrong, _ = _differing(single, _part(mine, numbers), SAME)
        if wrong is not None:
            row = numbers[wrong]
            reason = _told(rows, row, ("alone", single, wrong), ("in a batch", mine, row))
    return Verdict(kind, not reason, reason, proper, rows.edges, _bound(worst))


def _part(whole: Outcome, numbers: Sequence[int]) -> Outcome:
    refused = {
        at: whole.refused[number] for at, number in enumerate(numbers) if number in whole.refused
    }
    return Outcome(whole.labels[list(numbers)], whole.scores[list(numbers)], refused)


def _differing(mine: Outcome, right: Outcome, tolerance: float) -> tuple[int | None, float]:
    """The first row that is answered otherwise, and the greatest difference up to there."""
    if mine.scores.shape[1] != right.scores.shape[1]:
        return 0, math.inf
    refused = np.zeros(len(mine.labels), dtype=bool)
    refused[sorted(mine.refused.keys() ^ right.refused.keys())] = True
    with np.errstate(all="ignore"):
        scale = np.maximum(1.0, np.abs(right.scores))
        apart = (np.abs(mine.scores - right.scores) / scale).max(axis=1)
    both = ~np.isnan(apart)
    wrong = refused | (both & ((mine.labels != right.labels) | ~(apart <= tolerance)))
    first = int(wrong.argmax()) if wrong.any() else None
    seen = apart[: None if first is None else first + 1]
    seen = seen[~np.isnan(seen)]
    return first, float(seen.max()) if len(seen) else 0.0


def _bound(difference: float) -> float | None:
    if not math.isfinite(difference):
        return None
    return 10.0 ** math.ceil(math.log10(max(difference, SMALLEST)))


def _told(rows: Rows, number: int, *sides: tuple[str, Outcome, int]) -> str:
    proper = rows.table.n - rows.edges
    what = f"row {number}" if number < proper else f"edge row {number - proper}"
    (row,) = rows_of(rows.signature, taken(rows.table, [number]))
    record = json.dumps(
        {
            name: f"{value[:40]}..." if isinstance(value, str) and len(value) > 43 else value
            for name, value in record_of(rows.signature, row).items()
        }
    )
    answers = "; ".join(f"{who}: {_answer(it, at)}" for who, it, at in sides)
    return f"{what}: {answers}; for {record:.2000}"


def _answer(it: Outcome, number: int) -> str:
    if number in it.refused:
        return f"refused ({it.refused[number]:.200})"
    scores = ", ".join(f"{score:.9g}" for score in it.scores[number])
    return f"label {it.labels[number]}, scores {scores}"


def measured(verdict: Verdict, engine: Engine, rows: Rows) -> Tried:
    """With the time that a row takes alone, and in a batch of a hundred."""
    table = taken(rows.table, slice(0, min(100, rows.table.n - rows.edges or 100)))
    few = rows_of(rows.signature, table)
    try:
        alone = _microseconds(lambda: [engine.row(row) for row in few[:20]]) / len(few[:20])
        batch = _microseconds(lambda: engine.table(table)) / table.n
    except Refused:
        return Tried(verdict)
    return Tried(verdict, alone, batch)


def _microseconds(call: Callable[[], list[Scored] | Scored]) -> float:
    """The least of some, for they only ever take longer than they have to."""
    taken_: list[float] = []
    end = time.perf_counter() + 0.05
    while not taken_ or (time.perf_counter() < end and len(taken_) < 20):
        start = time.perf_counter()
        call()
        taken_.append(time.perf_counter() - start)
    return min(taken_) * 1e6


def report(tried: Sequence[Tried], tolerance: float) -> bytes:
    """parity.json: the same for the same inputs."""
    content: dict[str, Any] = {
        "tolerance": tolerance,
        "tried": [it.verdict for it in tried],
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"
