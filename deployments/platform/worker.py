"""The Prefect worker: puts right what its predecessor left behind, then works.

A worker that is killed leaves runs that nobody ends: those whose process died with it stay
Running, those it had just claimed stay Pending, and both hold their deployment's slot for ever.
Flow runs are processes of this machine, so it can be told which of them live.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from andon.adapters.files import load_settings
from andon.settings import Settings
from deployments.platform.programs import POOL, WORKER
from deployments.platform.strays import marked

FLOW_RUN = "PREFECT__FLOW_RUN_ID"
PAGE = 200
LOG_BYTES = 10_000_000
POLL_SECONDS = 0.2


def main() -> None:
    """Wait for the server, prepare, and become `prefect worker start`."""
    settings = load_settings()
    # The worker's own files only: in /tmp they would be in a folder that all users share.
    temporary = settings.state / "prefect" / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(temporary)
    from prefect.cli import app  # 2 s: while the server starts
    from prefect.workers.process import ProcessWorker

    with httpx.Client(base_url=settings.prefect_api_url, timeout=30, trust_env=False) as api:
        _wait_for(api)
        _rotate(_log(settings))
        ensure_pool(api, pool_template(settings, ProcessWorker.get_default_base_job_template()))
        reconcile(settings, api)
    sys.argv = ["prefect", "worker", "start", "--type", "process", "--pool", POOL, "--name", WORKER]
    app()


def pool_template(settings: Settings, default: dict[str, Any]) -> dict[str, Any]:
    """Flow runs work in the project and write to a file of their own.

    Through a pipe to the worker, a `print` would fail once that worker was killed. With a command
    Prefect also skips a process that would prepare a workspace, which saves a second.
    """
    properties = default["variables"]["properties"]
    python, log = shlex.quote(sys.executable), shlex.quote(str(_log(settings)))
    script = f"exec {python} -m prefect.engine >> {log} 2>&1"
    properties["command"]["default"] = shlex.join(["/bin/sh", "-c", script])
    properties["working_dir"]["default"] = str(settings.project)
    properties["stream_output"]["default"] = False
    return default


def ensure_pool(api: httpx.Client, template: dict[str, Any]) -> None:
    """Create the work pool, or bring its template up to date."""
    answer = api.patch(f"/work_pools/{POOL}", json={"base_job_template": template})
    if answer.status_code == httpx.codes.NOT_FOUND:
        pool = {"name": POOL, "type": "process", "base_job_template": template}
        answer = api.post("/work_pools/", json=pool)
    answer.raise_for_status()


def reconcile(settings: Settings, api: httpx.Client) -> None:
    """Runs without a process: those that had begun are Crashed, the others are due again."""
    alive = _living_runs(settings)
    for run in _unfinished(api):
        if run["id"] in alive:
            continue
        if run["state"]["type"] == "PENDING":
            state = {"type": "SCHEDULED", "name": "Scheduled"}
            why = "The worker died before it had started this run."
        else:
            state = {"type": "CRASHED", "name": "Crashed"}
            why = "The process of this run died together with the worker."
        body = {"state": {**state, "message": why}, "force": True}
        api.post(f"/flow_runs/{run['id']}/set_state", json=body).raise_for_status()
        print(f"{run['name']}: {state['name']}: {why}", flush=True)


def _unfinished(api: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    states = {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}
    while True:
        body = {
            "flow_runs": {"state": states},
            "work_pools": {"name": {"any_": [POOL]}},
            "sort": "ID_DESC",
            "limit": PAGE,
            "offset": len(found),
        }
        page = api.post("/flow_runs/filter", json=body).raise_for_status().json()
        found += page
        if len(page) < PAGE:
            return found


def _living_runs(settings: Settings) -> set[str]:
    found = set()
    for process in marked(settings):
        try:
            found.add(process.environ().get(FLOW_RUN, ""))
        except psutil.Error:
            continue
    return found


def _wait_for(api: httpx.Client) -> None:
    """Without a deadline: supervisord brings the server up again and again."""
    while True:
        try:
            if api.get("/ready").is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(POLL_SECONDS)


def _log(settings: Settings) -> Path:
    return settings.state / "logs" / "flow-runs.log"


def _rotate(log: Path) -> None:
    if log.is_file() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))


if __name__ == "__main__":
    main()
