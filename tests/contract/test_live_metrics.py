"""Metrics of a training, on a real MLflow server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import free_port_block, scratch_folder, wait_until

from andon.adapters.live_metrics import LiveRun
from andon.settings import Settings


@pytest.fixture(scope="module")
def mlflow() -> Iterator[Settings]:
    with scratch_folder() as folder:
        settings = Settings(project=folder, port_base=free_port_block())
        environment = {
            **os.environ,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder / 'mlflow.db'}",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": str(folder / "artifacts"),
        }
        command = (sys.executable, "-m", "uvicorn", "mlflow.server.fastapi_app:app")
        port = ("--port", str(settings.mlflow_port))
        log = (folder / "log").open("w")
        server = subprocess.Popen(
            [*command, *port], env=environment, cwd=folder, stdout=log, stderr=log
        )
        try:
            wait_until(lambda: _up(settings, server, folder), 120, "MLflow answers")
            yield settings
        finally:
            server.kill()
            server.wait()
            log.close()


@pytest.fixture(autouse=True)
def patient(monkeypatch) -> None:
    monkeypatch.setattr("andon.adapters.live_metrics.ANSWER_SECONDS", 60)


def _up(settings: Settings, server: subprocess.Popen[bytes], folder: Path) -> bool:
    assert server.poll() is None, (folder / "log").read_text()
    try:
        return httpx.get(f"{settings.registry_url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def ask(settings: Settings, path: str, **body: Any) -> Any:
    url = f"{settings.registry_url}/api/2.0/mlflow/{path}"
    return httpx.post(url, json=body, timeout=60).raise_for_status().json()


def runs(settings: Settings, build: str) -> list[Any]:
    found = ask(settings, "experiments/search", max_results=100)["experiments"]
    ids = [it["experiment_id"] for it in found]
    wanted = f"tags.`andon.build` = '{build}'"
    return ask(settings, "runs/search", experiment_ids=ids, filter=wanted).get("runs", [])


def test_a_run_gets_metrics_by_step_and_stays_open_for_the_registry(mlflow):
    warned: list[str] = []
    live = LiveRun(mlflow, "m", "b1", warned.append)
    live.start()
    for step in range(1_500):
        live.log({"loss": 1 / (step + 1)}, step)
    live.flush()
    (run,) = runs(mlflow, "b1")
    assert run["info"]["status"] == "RUNNING"
    assert run["info"]["run_name"] == "b1"
    url = f"{mlflow.registry_url}/api/2.0/mlflow/metrics/get-history"
    asked = {"run_id": run["info"]["run_id"], "metric_key": "loss", "max_results": 2_000}
    history = httpx.get(url, params=asked, timeout=60).json()["metrics"]
    assert sorted(int(it.get("step", 0)) for it in history) == list(range(1_500))
    assert warned == []


def test_a_killed_attempt_is_gone_on_with_and_a_failed_one_is_over(mlflow):
    for _ in range(2):
        again = LiveRun(mlflow, "m", "b2", pytest.fail)
        again.start()
        again.log({"score": 0.5}, 1)
        again.flush()
    assert len(runs(mlflow, "b2")) == 1
    again.fail()
    assert [it["info"]["status"] for it in runs(mlflow, "b2")] == ["FAILED"]
    LiveRun(mlflow, "m", "b2", pytest.fail).start()
    assert len(runs(mlflow, "b2")) == 2


def test_numbers_that_are_not_finite_stop_nothing(mlflow):
    live = LiveRun(mlflow, "m", "b3", pytest.fail)
    live.start()
    live.log({"loss": float("nan"), "score": float("inf"), "fine": 1.0}, 0)
    live.flush()
    (run,) = runs(mlflow, "b3")
    assert "fine" in {it["key"] for it in run["data"]["metrics"]}


def test_who_does_not_answer_is_told_of_once(tmp_path):
    warned: list[str] = []
    live = LiveRun(Settings(project=tmp_path, port_base=free_port_block()), "m", "b", warned.append)
    live.start()
    live.log({"a": 1.0}, 0)
    live.flush()
    live.fail()
    assert len(warned) == 1
    assert "no live metrics: MLflow at http://127.0.0.1" in warned[0]
