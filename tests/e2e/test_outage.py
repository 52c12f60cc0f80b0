"""What the line is made of gets killed while traffic flows."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import psycopg
import pytest
from line_under_test import LONG, LineUnderTest
from support import wait_until
from survival import (
    Steady,
    all_well,
    hurry,
    kill_program,
    retry,
    retry_quickly,
    rewrite,
    visits,
    wait_for,
    waiting,
)

from andon.adapters import database
from andon.adapters.ledger import lock
from andon.rollout import Phase
from deployments.runs import ENDED

pytestmark = pytest.mark.slow

MODEL = "tumor"
SERVER = f"serve-production-{MODEL}-v1"


@pytest.fixture(scope="module")
def delivered(line: LineUnderTest) -> LineUnderTest:
    hurry(line, MODEL, 1)
    line.andon("deliver", MODEL)
    return line


@pytest.fixture
def steady(delivered: LineUnderTest) -> Iterator[Steady]:
    with Steady(delivered, MODEL) as traffic:
        yield traffic


@pytest.mark.parametrize("program", ["prefect", "postgres", "mlflow", "worker"])
def test_traffic_does_not_notice_when_the_control_plane_is_killed(line, steady, program):
    kill_program(line.settings, program)
    wait_until(lambda: all_well(line.settings), LONG, f"everything works without the old {program}")
    back = len(steady.answers)
    wait_until(lambda: len(steady.answers) > back + 30, LONG, "traffic flows")
    assert steady.failures == []


@pytest.mark.parametrize("program", ["gateway", SERVER])
def test_traffic_recovers_by_itself_when_what_serves_is_killed(line, steady, program):
    kill_program(line.settings, program)
    killed = len(steady.answers)
    wait_until(lambda: steady.flows_again(killed), 60, f"traffic flows without the old {program}")
    assert all_well(line.settings)
    assert {it.version for it in steady.answers if not it.failed} == {"1"}
    assert line.champion(MODEL) == "1"


def test_who_waits_for_its_turn_when_the_database_is_killed_is_told_and_can_be_retried(
    line, steady
):
    with (
        psycopg.connect(database.url(line.settings, "ledger", driver="")) as watcher,
        lock(line.ledger, f"line/{MODEL}"),
    ):
        watcher.autocommit = True
        run_id = line.runs.start("deliver", {"model": MODEL})
        wait_until(lambda: waiting(watcher) == 1, LONG, "the delivery waits")
        kill_program(line.settings, "postgres")
        wait_for(line, run_id, "FAILED")
    (run,) = [it for it in line.ledger.runs(MODEL) if it.id == run_id]
    assert run.outcome == "failed"
    assert f"database went away while this waited for line/{MODEL}" in run.message
    retry_quickly(line, run_id)
    wait_for(line, run_id, "COMPLETED")
    assert steady.failures == []


def test_a_delivery_goes_on_when_the_database_is_killed_under_it(line, steady):
    """Once in the middle of its own work, once in the middle of the canary."""
    data = line.project / "models" / MODEL / "data" / "tumor.parquet"
    pl.read_parquet(data).head(-9).write_parquet(data)
    line.track(MODEL)
    rewrite(line, MODEL, "C=0.5,", "C=0.25,")
    run_id = line.runs.start("deliver", {"model": MODEL})
    for station in ("validate", "release to production"):
        wait_until(lambda at=station: is_at(line, run_id, at), LONG, f"it is at {station}")
        kill_program(line.settings, "postgres")
        wait_until(lambda: all_well(line.settings), LONG, "the database is back")
    list(line.runs.follow(run_id, LONG))
    if line.runs.state(run_id)["type"] != "COMPLETED":
        print(f"it wanted a retry: {line.runs.state(run_id)['message']}")
        retry(line, run_id)
    wait_for(line, run_id, "COMPLETED")
    assert steady.failures == []
    found = [it for it in line.ledger.releases(MODEL, "production") if it.version == "2"]
    assert [it.rollout.phase for it in found] == [Phase.PROMOTED]
    assert line.ask(MODEL, line.sample(MODEL)).headers["X-Andon-Version"] == "2"


def is_at(line: LineUnderTest, run_id: str, station: str) -> bool:
    assert line.runs.state(run_id)["type"] not in ENDED, line.runs.state(run_id)["message"]
    return any((it.station, it.state) == (station, "Running") for it in visits(line, run_id))


def test_a_delivery_after_all_that_works(line, steady):
    said = line.andon("deliver", MODEL).stdout
    assert ["reused" in row for row in said.splitlines() if "✓ train" in row] == [True]
    assert line.champion(MODEL) == "2"
    assert steady.failures == []
    assert all_well(line.settings)
