"""Live traffic drifts, and the line heals itself, though its first retraining is killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from line_under_test import LONG, LineUnderTest, commit, copy_project
from support import free_port_block, scratch_folder, wait_until
from survival import Hold, hurry, kill_run, wait_for

from andon.adapters.ledger import Incident
from andon.settings import Settings
from deployments.demo.traffic import Traffic
from deployments.runs import ENDED
from serving.bundle import read_signature

pytestmark = pytest.mark.slow

MODEL, WINDOW = "churn", 600
CHANGES: dict[str, Any] = {
    "monitors": [{"kind": "data"}, {"kind": "drift", "window_rows": WINDOW, "min_rows": 300}],
    "monitor_cron": None,  # the test is the clock
    "retraining": {"min_rows": 500},
    "metric": {"limit": 0.6, "margin": 0.1},  # so few rows settle nothing finer
    "slices": {"columns": []},
}


@pytest.fixture(scope="module")
def line() -> Iterator[LineUnderTest]:
    with scratch_folder() as folder:
        copy_project(folder, (MODEL,))
        found = LineUnderTest(Settings(project=folder, port_base=free_port_block(), image="off"))
        hurry(found, MODEL)
        change(found, **CHANGES)
        try:
            found.andon("up")
            found.andon("deliver", MODEL)
            yield found
        finally:
            found.close()


def change(line: LineUnderTest, **keys: Any) -> None:
    """Change the model's spec, and commit."""
    path = line.project / "models" / MODEL / "model.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **keys}))
    commit(line.project, "another spec")


@pytest.fixture
def traffic(line: LineUnderTest) -> Iterator[Traffic]:
    release = line.ledger.champion("production", MODEL)
    bundle = line.settings.state / line.ledger.candidate_of(release).bundle
    made = Traffic(line.settings, MODEL, "churned", read_signature(bundle))
    made.start()
    yield made
    made.stop()


def look(line: LineUnderTest) -> None:
    """As the clock would."""
    run = line.runs.start("monitor", {"model": MODEL, "trigger": "the clock"})
    wait_for(line, run, "COMPLETED")


def incident(line: LineUnderTest) -> Incident:
    return line.ledger.incidents(MODEL)[-1]


def answering(line: LineUnderTest, other_than: str = "") -> str:
    """The run that takes the latest alert up."""

    def taken_up() -> bool:
        return line.ledger.alerts(MODEL)[-1].handled_by not in (None, other_than)

    wait_until(taken_up, LONG, "a run takes the alert up")
    return line.ledger.alerts(MODEL)[-1].handled_by


def comes_back_clear(line: LineUnderTest, traffic: Traffic) -> None:
    """Look again and again at rows of what serves now."""
    now = time.time()

    def closed() -> bool:
        rows = traffic.rows(since=now)
        wait_until(lambda: traffic.rows(since=now) >= rows + WINDOW, LONG, "rows to look at")
        look(line)
        return incident(line).state == "closed"

    wait_until(closed, LONG, "clear")


@pytest.mark.timeout(900)
def test_a_drift_is_healed_though_its_retraining_is_killed(line: LineUnderTest, traffic: Traffic):
    wait_until(lambda: traffic.rows() >= 2 * WINDOW, LONG, "rows like the training data")
    look(line)
    assert line.ledger.incidents(MODEL) == []
    traffic.drift()
    wait_until(lambda: traffic.rows(drifted=True) >= 2.2 * WINDOW, LONG, "drifted rows")
    with Hold(line.settings).at(f"{MODEL}-metrics") as reached:
        look(line)
        assert incident(line).state == "retraining"
        first = answering(line)
        wait_until(reached, LONG, "the retraining has trained")
        kill_run(line, first)
    wait_until(lambda: line.runs.state(first)["type"] in ENDED, LONG, "the worker has seen it")
    wait_for(line, line.runs.start("reconcile", {}), "COMPLETED")
    second = answering(line, other_than=first)
    assert second != first
    wait_for(line, second, "COMPLETED")
    assert line.champion(MODEL) == "2"
    assert incident(line).state == "retrained"
    comes_back_clear(line, traffic)
    told = [what for _, what in incident(line).story]
    assert [it.action for it in line.ledger.alerts(MODEL)] == ["retrain"]
    assert f"run {first} died; another one is asked for" in told
    assert any("as good on recent live rows" in it for it in told)
    shown = line.andon("incidents", "show", incident(line).id).stdout
    assert "v2 in production: promoted" in shown and "clear on" in shown
    assert [it for it in traffic.sent if it.failed] == []


@pytest.mark.timeout(600)
def test_a_policy_of_rollback_brings_the_version_before_back(line: LineUnderTest, traffic: Traffic):
    """The customers of old are back, of whom only the first version knows."""
    change(line, monitors=[{**CHANGES["monitors"][1], "action": "rollback"}])
    wait_until(lambda: traffic.rows() >= 2.2 * WINDOW, LONG, "rows that v2 does not know")
    look(line)
    assert incident(line).state in ("returning", "returned")
    wait_for(line, answering(line), "COMPLETED")
    assert line.champion(MODEL) == "1"
    assert incident(line).story[-1][1] == "rolled back to v1; waiting for a clear window"
    comes_back_clear(line, traffic)
    assert len(line.ledger.incidents(MODEL)) == 2
    assert [it for it in traffic.sent if it.failed] == []
