"""What people do to releases on a real platform, with Prefect stopped where it is not needed."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from line_under_test import ANDON, LONG, LineUnderTest, commit, copy_project
from support import free_port_block, scratch_folder, wait_until
from survival import Steady, all_well, kill_run, rewrite

from andon.adapters.supervisor import Supervisor
from andon.rollout import Phase
from andon.settings import Settings

pytestmark = pytest.mark.slow

MODEL = "tumor"
NOT_NEEDED = ("prefect", "worker", "mlflow")
STEPS = [
    {"weight": 10, "for": "10m", "min_requests": 5, "gate": ["errors"]},
    {"approve": "managers", "within": "1h"},
    {"weight": 100, "for": 0, "min_requests": 5, "gate": ["errors"]},
]


@pytest.fixture(scope="module")
def line() -> Iterator[LineUnderTest]:
    """Two versions in production, the first of them kept warm."""
    with scratch_folder() as folder:
        copy_project(folder, (MODEL,))
        found = LineUnderTest(Settings(project=folder, port_base=free_port_block(), image="off"))
        try:
            found.andon("up")
            found.andon("deliver", MODEL)
            rewrite(found, MODEL, "C=0.5,", "C=0.25,")
            found.andon("deliver", MODEL)
            yield found
        finally:
            found.close()


def plan(line: LineUnderTest, steps: list[dict[str, object]]) -> None:
    path = line.project / "models" / MODEL / "model.yaml"
    release = {"staging": {"requests": 5}, "production": {"strategy": "canary", "steps": steps}}
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "release": release}))
    commit(line.project, "another plan")


def answers(line: LineUnderTest) -> str:
    return line.ask(MODEL, line.sample(MODEL)).headers["X-Andon-Version"]


def test_a_rollback_and_the_way_forward_need_no_prefect(line):
    supervisor = Supervisor(line.settings)
    for name in NOT_NEEDED:
        supervisor.stop(name)
    with Steady(line, MODEL) as traffic:
        said = line.andon("rollback", MODEL, "--by", "ada").stdout
        print(said)
        assert "v2 → v1, which runs" in said
        assert "v1 has all the traffic, confirmed by the gateway after" in said
        assert "MLflow's aliases are not as the ledger says" in said
        assert answers(line) == "1"
    assert traffic.failures == []
    (run,) = [it for it in line.ledger.runs(MODEL) if it.flow == "rollback"]
    assert (run.outcome, run.trigger) == ("completed", "ada, andon rollback")
    refused = line.andon("rollback", MODEL, check=False)
    assert refused.returncode == 1 and "no earlier version" in refused.stderr
    line.andon("up")
    wait_until(lambda: all_well(line.settings), LONG, "the platform is whole again")


def test_forward_again_within_the_window_takes_no_steps(line):
    plan(line, STEPS)
    line.andon("release", MODEL, "2")
    release = line.ledger.releases(MODEL, "production")[0]
    assert (release.version, release.rollout.phase) == ("2", Phase.PROMOTED)
    assert len(release.rollout.steps) == 1


def start_release(line: LineUnderTest) -> str:
    """A release of v3 that stands at its first step, for ten minutes."""
    run_id = line.runs.start("release", {"model": MODEL, "version": "3"})
    wait_until(lambda: at(line) == "step 1/3 at 10 %", LONG, "it is at its first step")
    return run_id


def at(line: LineUnderTest) -> str:
    found = line.ledger.unfinished("production", MODEL)
    return f"{found.rollout}" if found else ""


@pytest.fixture(scope="module")
def third(line: LineUnderTest) -> LineUnderTest:
    """A third version that is registered, and was aborted on its first way."""
    rewrite(line, MODEL, "C=0.25,", "C=0.3,")
    run_id = line.runs.start("deliver", {"model": MODEL})
    wait_until(lambda: at(line) == "step 1/3 at 10 %", LONG, "it is at its first step")
    said = line.andon("abort", MODEL, "--by", "ada", "--note", "for later").stdout
    assert "aborted by ada: for later" in said
    assert answers(line) == "2"
    list(line.runs.follow(run_id, LONG))
    assert line.runs.state(run_id)["type"] == "FAILED"
    return line


class Watcher:
    """`andon status --watch` beside what happens."""

    def __init__(self, line: LineUnderTest, file: Path) -> None:
        self._file = file
        with file.open("w") as out:
            self._process = subprocess.Popen(
                [str(ANDON), "status", "--watch"], cwd=line.project, env=line.environment(),
                stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def wait_for(self, *words: str) -> None:
        wait_until(lambda: all(it in self.said for it in words), LONG, f"{words} in the picture")

    @property
    def said(self) -> str:
        return self._file.read_text()

    def end(self) -> int:
        self._process.send_signal(signal.SIGINT)
        return self._process.wait(LONG)


def test_a_release_is_watched_paused_resumed_and_aborted(third, tmp_path):
    line, watcher = third, Watcher(third, tmp_path / "watched")
    run_id = start_release(line)
    watcher.wait_for("production/tumor  rollout  v3", "▶  10 %", "v2 90 %, v3 10 %")
    line.andon("pause", MODEL, "--by", "ada", "--note", "lunch")
    watcher.wait_for("‖  10 %", "paused by ada: lunch; `andon resume tumor`; rolled back at")
    again = line.andon("pause", MODEL, check=False)
    assert again.returncode == 1 and "paused by ada: lunch" in again.stderr
    Supervisor(line.settings).stop("postgres")
    watcher.wait_for("the ledger's database does not answer since")
    Supervisor(line.settings).start("postgres")
    wait_until(lambda: all_well(line.settings), LONG, "the database is back")
    line.andon("resume", MODEL, "--by", "ada")
    watcher.wait_for("step 1/3 at 10 %: resumed by ada")
    refused = line.andon("approve", MODEL, "--by", "ada", check=False)
    assert refused.returncode == 1 and "nobody's approval is waited for" in refused.stderr
    line.andon("abort", MODEL, "--by", "ada")
    watcher.wait_for("rolled back: aborted by ada")
    assert watcher.end() == 0
    assert "Traceback" not in watcher.said
    list(line.runs.follow(run_id, LONG))
    history = line.andon("history", MODEL).stdout
    assert "paused by ada: lunch; resumed by ada; rolled back: aborted by ada" in history


def test_a_rollback_in_mid_release_whose_driver_was_killed_is_back_to_the_champion(third):
    run_id = start_release(third)
    kill_run(third, run_id)
    with Steady(third, MODEL) as traffic:
        said = third.andon("rollback", MODEL, "--by", "ada").stdout
        assert "back to the champion, v2" in said
        assert answers(third) == "2"
    assert traffic.failures == []
    assert third.ledger.unfinished("production", MODEL) is None
    assert f"serve-production-{MODEL}-v3" not in third.andon("status").stdout
