"""How requests are computed: at once, together, or refused in time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from serving.bundle import Column
from serving.engines.base import Engine, Refused, Scored
from serving.problem import Problem
from serving.table import Row, Table
from serving.work import Work

COLUMNS = [Column("x", "number"), Column("plan", "category")]


class Halting(Engine):
    """Says x for each row, refuses negative ones, and computes only while it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.let.set()
        self.asked = threading.Event()
        self.sizes: list[int] = []

    def row(self, row: Row) -> Scored:
        return self.table(Table.of_rows(COLUMNS, [row]))

    def table(self, table: Table) -> Scored:
        self.asked.set()
        assert self.let.wait(60)
        self.sizes.append(table.n)
        values = np.asarray(table.columns[0]).tolist()
        if min(values) < 0:
            raise Refused(f"row {values.index(min(values))}: negative")
        return Scored([0] * table.n, [[value] for value in values])


def rows(*values: float) -> list[Row]:
    return [(value, "a") for value in values]


def table(*values: float) -> Table:
    return Table(len(values), [np.array(values), ["b"] * len(values)])


def run(scenario: Callable[[Work, Halting], object], **options: Any) -> Halting:
    engine = Halting()
    work = Work(engine, COLUMNS, **options)
    try:
        asyncio.run(asyncio.wait_for(scenario(work, engine), 60))  # type: ignore[arg-type]
    finally:
        engine.let.set()
        work.close()
    return engine


async def behind_one(work: Work, engine: Halting, *requests: list[Row] | Table) -> list[object]:
    """The outcomes of requests that all came while another one was computed."""
    engine.let.clear()
    engine.asked.clear()
    first = asyncio.create_task(work.score(rows(0.0)))
    while not engine.asked.is_set():
        await asyncio.sleep(0.001)
    others = [asyncio.create_task(work.score(request)) for request in requests]
    await asyncio.sleep(0)
    engine.let.set()
    await first
    return await asyncio.gather(*others, return_exceptions=True)


def test_what_comes_while_the_engine_is_busy_is_computed_together_and_each_gets_its_own():
    async def scenario(work: Work, engine: Halting) -> None:
        found = await behind_one(work, engine, rows(1.0), table(2.0, 3.0), rows(4.0, 5.0))
        assert [it.scores for it in found] == [[[1.0]], [[2.0], [3.0]], [[4.0], [5.0]]]  # type: ignore[attr-defined]

    assert run(scenario).sizes == [1, 5]


def test_a_refused_request_is_refused_alone():
    async def scenario(work: Work, engine: Halting) -> None:
        requests = [rows(float(n)) for n in range(1, 8)]
        requests[3] = rows(4.0, -1.0)
        found = await behind_one(work, engine, *requests)
        assert isinstance(found[3], Refused)
        assert "row 1" in str(found[3])
        rest = [it.scores for it in found if isinstance(it, Scored)]
        assert rest == [[[float(n)]] for n in (1, 2, 3, 5, 6, 7)]

    sizes = run(scenario).sizes
    assert len(sizes) < 9  # halves, not each alone


def test_few_rows_of_a_cheap_engine_are_computed_at_once():
    async def scenario(work: Work, engine: Halting) -> None:
        work.warm_up(table(1.0, 2.0))
        assert work.inline_rows > 0
        before = threading.active_count()
        coroutine = work.score(rows(7.0))
        with pytest.raises(StopIteration) as done:  # it never waits for anything
            coroutine.send(None)
        assert done.value.value.scores == [[7.0]]
        assert threading.active_count() == before

    run(scenario)


def test_what_cannot_be_computed_in_time_is_refused_when_it_comes():
    async def scenario(work: Work, engine: Halting) -> None:
        work._row_seconds = 1.0
        engine.let.clear()
        waiting = asyncio.create_task(work.score(rows(1.0, 2.0, 3.0)))
        await asyncio.sleep(0)
        with pytest.raises(Problem) as caught:
            await work.score(rows(4.0))
        assert (caught.value.status, caught.value.retry_after) == (503, 3)
        assert work.shed == 1
        engine.let.set()
        assert (await waiting).scores == [[1.0], [2.0], [3.0]]

    run(scenario)


def test_a_slow_row_alone_does_not_make_many_seem_slow():
    """Else many are refused, single ones are left, and it goes on like that for ever."""

    async def scenario(work: Work, engine: Halting) -> None:
        work._row_seconds = 0.001
        work._learn(0.5, 1)
        assert work._row_seconds == 0.001
        work._learn(0.5, 50)
        assert work._row_seconds == pytest.approx(0.001 + 0.2 * 0.009)
        work._learn(0.0001, 1)
        assert work._row_seconds < 0.0028

    run(scenario)


def test_what_waited_beyond_its_deadline_is_not_computed():
    now = 0.0

    async def scenario(work: Work, engine: Halting) -> None:
        nonlocal now
        engine.let.clear()
        first = asyncio.create_task(work.score(rows(0.0)))
        while not engine.asked.is_set():
            await asyncio.sleep(0.001)
        second = asyncio.create_task(work.score(rows(1.0)))
        await asyncio.sleep(0)
        now = 3.0
        engine.let.set()
        assert (await first).scores == [[0.0]]
        with pytest.raises(Problem) as caught:
            await second
        assert (caught.value.status, caught.value.retry_after) == (503, 1)

    assert run(scenario, deadline=2.0, clock=lambda: now).sizes == [1]


def test_a_client_that_left_is_not_computed():
    async def scenario(work: Work, engine: Halting) -> None:
        engine.let.clear()
        first = asyncio.create_task(work.score(rows(0.0)))
        while not engine.asked.is_set():
            await asyncio.sleep(0.001)
        gone = asyncio.create_task(work.score(rows(9.0)))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        engine.let.set()
        await first
        await work.score(rows(2.0))

    assert sum(run(scenario).sizes) == 2


def test_closing_answers_what_waits():
    async def scenario(work: Work, engine: Halting) -> None:
        engine.let.clear()
        waiting = [asyncio.create_task(work.score(rows(float(n)))) for n in range(5)]
        await asyncio.sleep(0)
        engine.let.set()
        await asyncio.to_thread(work.close)
        assert [(await it).scores for it in waiting] == [[[float(n)]] for n in range(5)]

    run(scenario)
