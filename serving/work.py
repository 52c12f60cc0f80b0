"""How requests are computed: at once where that is cheap, else together, and never in a long queue.

A row of a compiled engine costs less than handing it to a thread, so few of them are computed where
they are read. Everything else waits for one worker thread, which takes whatever has come while it
was busy as one batch: no timers, and the busier the server, the cheaper a row. A request that could
not be computed before its deadline is refused when it comes, not when it is late.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from serving.bundle import Column
from serving.engines.base import Engine, Scored
from serving.problem import Problem
from serving.table import Row, Table

Decoded: TypeAlias = list[Row] | Table
INLINE_SECONDS = 0.001  # what may be computed on the event loop, while others wait
BATCH_ROWS = 4_096
BATCH_SECONDS = 0.1  # a batch is cut where it would take longer, so that nobody waits for all
QUEUE = 0.5  # of the deadline may be spent waiting: who comes after an overload finds no long queue
MANY_ROWS = 16  # share the fixed part of a batch's cost well enough
FORGET = 0.2  # weight of the latest batch in what a row is expected to cost


def count(decoded: Decoded) -> int:
    """Rows of a request."""
    return decoded.n if isinstance(decoded, Table) else len(decoded)


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    decoded: Decoded
    rows: int
    deadline: float
    answer: asyncio.Future[Scored]


class Work:
    """Computes one engine's requests; `close` it after the last one."""

    def __init__(
        self,
        engine: Engine,
        columns: Sequence[Column],
        *,
        deadline: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._engine = engine
        self._columns = columns
        self._deadline = deadline
        self.inline_rows = 0
        self.waiting_rows = 0
        self.shed = 0
        self.batches = 0
        self._row_seconds = 0.0
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def warm_up(self, table: Table) -> None:
        """Compute sample rows, so that the first request is as fast as the next; learn the cost."""
        if not table.n:
            return
        few = _part(table, min(table.n, 20))
        alone = _part(few, 1)
        once = min(_seconds(self._engine, alone) for _ in range(5))
        many = min(_seconds(self._engine, few) for _ in range(5))
        self._row_seconds = max(many / few.n, 1e-7)
        # One row's cost has a fixed part, which all rows of a table share.
        self.inline_rows = int(INLINE_SECONDS / self._row_seconds) if once < INLINE_SECONDS else 0

    async def score(self, decoded: Decoded) -> Scored:
        """The engine's answer; raises Refused, or Problem 503 if there is too much to do."""
        rows = count(decoded)
        if rows <= self.inline_rows:
            return compute(self._engine, self._columns, decoded)
        return await self._queue(decoded, rows)

    def close(self) -> None:
        """Compute what waits, then stop."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    async def _queue(self, decoded: Decoded, rows: int) -> Scored:
        wait = self.waiting_rows * self._row_seconds
        if wait > QUEUE * self._deadline:
            self.shed += 1
            detail = f"too much to do: an answer would take {wait:.1f} s; try again later"
            raise Problem(503, detail, retry_after=max(1, round(wait)))
        job = _Job(
            decoded,
            rows,
            self._clock() + self._deadline,
            asyncio.get_running_loop().create_future(),
        )
        with self._changed:
            self.waiting_rows += rows
            self._jobs.append(job)
            self._changed.notify()
        return await job.answer

    def _run(self) -> None:
        while batch := self._next():
            began = self._clock()
            live: list[_Job] = []
            late: list[_Job] = []
            for job in batch:
                (late if job.deadline < began or job.answer.cancelled() else live).append(job)
            results = _together(self._engine, self._columns, live)
            took = self._clock() - began
            with self._changed:
                self.waiting_rows -= sum(job.rows for job in batch)
                self.batches += 1
                self.shed += len(late)
                if live:
                    self._learn(took, sum(job.rows for job in live))
            _deliver([*zip(live, results, strict=True), *((job, _late()) for job in late)])

    def _learn(self, seconds: float, rows: int) -> None:
        """What a row costs among others. Alone it costs more, which says nothing of many.

        Learnt from single rows, the cost of many would seem so high that they are refused; and then
        only single rows are left to learn from.
        """
        each = seconds / rows
        if rows >= MANY_ROWS or each < self._row_seconds:
            self._row_seconds += FORGET * (each - self._row_seconds)

    def _next(self) -> list[_Job]:
        """What has come so far; nothing if the work is closed and done."""
        with self._changed:
            while not self._jobs and not self._closing:
                self._changed.wait()
            most = BATCH_ROWS
            if self._row_seconds:
                most = max(1, min(most, int(BATCH_SECONDS / self._row_seconds)))
            batch: list[_Job] = []
            rows = 0
            while self._jobs and (not batch or rows + self._jobs[0].rows <= most):
                batch.append(self._jobs.popleft())
                rows += batch[-1].rows
            return batch


def compute(engine: Engine, columns: Sequence[Column], decoded: Decoded) -> Scored:
    """One request, here and now."""
    if isinstance(decoded, Table):
        return engine.table(decoded)
    if len(decoded) == 1:
        return engine.row(decoded[0])
    return engine.table(Table.of_rows(columns, decoded))


def _together(
    engine: Engine, columns: Sequence[Column], jobs: list[_Job]
) -> list[Scored | Exception]:
    """Each job's own answer, computed in one go; in halves where a row of theirs is refused."""
    if len(jobs) <= 1:
        return [_alone(engine, columns, job.decoded) for job in jobs]
    try:
        scored = engine.table(_merged(columns, [job.decoded for job in jobs]))
    except Exception:
        half = len(jobs) // 2
        return [
            *_together(engine, columns, jobs[:half]),
            *_together(engine, columns, jobs[half:]),
        ]
    return list(_split(scored, [job.rows for job in jobs]))


def _alone(engine: Engine, columns: Sequence[Column], decoded: Decoded) -> Scored | Exception:
    try:
        return compute(engine, columns, decoded)
    except Exception as error:
        return error


def _merged(columns: Sequence[Column], parts: list[Decoded]) -> Table:
    rows: list[Row] = []
    tables: list[Table] = []
    for part in parts:  # neighbours of the same form together, in the order they came
        if isinstance(part, Table):
            if rows:
                tables.append(Table.of_rows(columns, rows))
                rows = []
            tables.append(part)
        else:
            rows.extend(part)
    if rows:
        tables.append(Table.of_rows(columns, rows))
    return tables[0] if len(tables) == 1 else Table.concat(tables)


def _split(scored: Scored, sizes: list[int]) -> list[Scored]:
    parts: list[Scored] = []
    start = 0
    for size in sizes:
        end = start + size
        parts.append(Scored(scored.labels[start:end], scored.scores[start:end]))
        start = end
    return parts


def _late() -> Problem:
    return Problem(503, "the answer would come too late; try again later", retry_after=1)


def _deliver(results: list[tuple[_Job, Any]]) -> None:
    """Hand answers to the event loops of those who wait, waking each loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Job, Any]]] = {}
    for job, result in results:
        by_loop.setdefault(job.answer.get_loop(), []).append((job, result))
    for loop, ready in by_loop.items():
        loop.call_soon_threadsafe(_set, ready)


def _set(ready: list[tuple[_Job, Any]]) -> None:
    for job, result in ready:
        if job.answer.done():  # the client has left
            continue
        if isinstance(result, Exception):
            job.answer.set_exception(result)
        else:
            job.answer.set_result(result)


def _part(table: Table, n: int) -> Table:
    return Table(n, [values[:n] for values in table.columns])


def _seconds(engine: Engine, table: Table) -> float:
    began = time.perf_counter()
    engine.table(table)
    return time.perf_counter() - began
