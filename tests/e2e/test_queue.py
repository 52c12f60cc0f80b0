"""Who waits for whom: deliveries of one model, of two models, and `andon up` twice at once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import psycopg
import pytest
from line_under_test import ANDON, LONG, LineUnderTest, copy_project
from support import free_port_block, scratch_folder, wait_until
from survival import (
    PROGRAMS,
    Visit,
    all_well,
    hurry,
    kill_program,
    kill_run,
    rewrite,
    visits,
    wait_for,
    waiting,
)

from andon.adapters import database
from andon.adapters.ledger import Run, lock
from andon.settings import Settings
from deployments.platform.up import processes

pytestmark = pytest.mark.slow

MODELS = ("diabetes", "tumor")


@pytest.fixture(scope="module")
def ups() -> Iterator[tuple[LineUnderTest, list[subprocess.CompletedProcess[str]]]]:
    """A line that two `andon up` started at once, and how each ended."""
    with scratch_folder() as folder:
        copy_project(folder, MODELS)
        line = LineUnderTest(Settings(project=folder, port_base=free_port_block(), image="off"))
        command, environment = [str(ANDON), "up"], line.environment()
        begun = [
            subprocess.Popen(
                command, cwd=folder, env=environment, text=True, stdout=-1, stderr=subprocess.STDOUT
            )
            for _ in range(2)
        ]
        try:
            said = [it.communicate(timeout=LONG)[0] for it in begun]
            yield (
                line,
                [
                    subprocess.CompletedProcess(command, it.returncode, text)
                    for it, text in zip(begun, said, strict=True)
                ],
            )
        finally:
            line.close()


@pytest.fixture(scope="module")
def line(ups) -> LineUnderTest:
    return ups[0]


def test_two_ups_at_once_start_one_platform(ups):
    line, ended = ups
    assert [it.returncode for it in ended] == [0, 0], [it.stdout for it in ended]
    assert ["waiting for another `andon up`" in it.stdout for it in ended].count(True) == 1
    assert sorted(it.name for it in processes(line.settings)) == sorted(PROGRAMS)
    assert all_well(line.settings)


def test_two_models_are_delivered_side_by_side(line):
    for model in MODELS:
        hurry(line, model)
    begun = [line.runs.start("deliver", {"model": it}) for it in MODELS]
    for run_id in begun:
        wait_for(line, run_id, "COMPLETED")
    assert [line.champion(it) for it in MODELS] == ["1", "1"]
    one, other = (visits(line, it) for it in begun)
    assert any(overlap(a, b) for a in one for b in other)


def overlap(one: Visit, other: Visit) -> bool:
    return one.began < other.ended and other.began < one.ended


def test_deliveries_of_one_model_take_turns_in_the_order_they_came(line):
    """Somebody is at work; three queue up. The second outlives its worker, and dies unseen."""
    rewrite(line, "tumor", "C=0.5,", "C=0.25,")
    begun: list[str] = []
    with (
        psycopg.connect(database.url(line.settings, "ledger", driver="")) as watcher,
        lock(line.ledger, "line/tumor"),
    ):
        watcher.autocommit = True
        for place in (1, 2, 3):
            begun.append(line.runs.start("deliver", {"model": "tumor"}))
            wait_until(lambda n=place: waiting(watcher) == n, LONG, f"{place} wait")
        assert [visits(line, it) for it in begun] == [[], [], []]
        kill_program(line.settings, "worker")
        wait_until(lambda: all_well(line.settings), LONG, "another worker is there")
        kill_run(line, begun[1])
    first, second, third = begun
    wait_for(line, first, "COMPLETED")
    wait_for(line, third, "COMPLETED")
    assert max(it.ended for it in visits(line, first)) < min(it.began for it in visits(line, third))
    made = [it for it in line.ledger.releases("tumor") if it.version == "2"]
    assert {it.run_id for it in made} == {first}
    assert line.champion("tumor") == "2"

    line.runs.start("reconcile", {})  # the one that its schedule starts may come first
    wait_until(lambda: line.runs.state(second)["type"] == "CRASHED", LONG, "its end is noticed")
    wait_until(lambda: on_ledger(line, second).ended_at, LONG, "its end is written down")
    run = on_ledger(line, second)
    assert run.outcome == "crashed" and "no worker was there" in run.message


def on_ledger(line: LineUnderTest, run_id: str) -> Run:
    (run,) = [it for it in line.ledger.runs("tumor") if it.id == run_id]
    return run
