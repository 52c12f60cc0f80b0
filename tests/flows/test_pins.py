"""Guards the pins: the versions locked together still start, deploy and react (that a cron run is
scheduled is seen on the whole platform, in e2e).

Each of these was broken by some release of a library that the lock holds back (see pyproject.toml).
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import uuid

import httpx
import pytest
from prefect.settings import PREFECT_API_URL
from support import REPOSITORY, wait_until

pytestmark = pytest.mark.usefixtures("prefect")


@pytest.fixture(scope="module")
def api(prefect, tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(REPOSITORY / "prefect.yaml", folder)
    with httpx.Client(base_url=PREFECT_API_URL.value(), timeout=30) as client:
        pool = {"name": "local", "type": "process"}
        client.post("/work_pools/", json=pool).raise_for_status()
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
            cwd=folder, capture_output=True, text=True, check=False,
            env={**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value()},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        yield client


def deployment(api: httpx.Client, name: str) -> dict:
    return api.get(f"/deployments/name/{name}/{name}").raise_for_status().json()


@pytest.mark.parametrize(
    "name", ["deliver", "release", "guard", "monitor", "probe", "retrain", "rollback", "reconcile"]
)
def test_every_flow_is_deployed(api, name):
    found = deployment(api, name)
    assert found["entrypoint"] == f"flows.{name}:{name}"
    assert found["enforce_parameter_schema"]


@pytest.mark.parametrize("bad", ["Not A Name", "", "x" * 41, 7])
def test_a_form_refuses_a_model_that_cannot_be_one(api, bad):
    path = f"/deployments/{deployment(api, 'deliver')['id']}/create_flow_run"
    answer = api.post(path, json={"parameters": {"model": bad}})
    assert answer.status_code in (409, 422), answer.text


@pytest.mark.parametrize("flow", ["retrain", "rollback"])
def test_an_alert_event_starts_what_it_asks_for_with_its_parameters(api, flow):
    alert = uuid.uuid4()
    event = {
        "id": str(alert), "event": f"andon.alert.{flow}", "occurred": "2026-01-01T00:00:00Z",
        "resource": {
            "prefect.resource.id": "andon.model.churn", "andon.model": "churn",
            "andon.environment": "staging",
        },
        "payload": {"alert_id": alert.hex},
    }  # fmt: skip
    import datetime as dt

    event["occurred"] = dt.datetime.now(dt.UTC).isoformat()
    wanted = deployment(api, flow)["id"]
    runs: list[dict] = []

    def started() -> bool:
        api.post("/events", json=[event]).raise_for_status()
        body = {"deployments": {"id": {"any_": [wanted]}}}
        runs[:] = api.post("/flow_runs/filter", json=body).raise_for_status().json()
        return bool(runs)

    wait_until(started, 120, f"a run of {flow} by the automation")
    assert runs[0]["parameters"]["model"] == "churn"
    assert runs[0]["parameters"]["alert_id"] == alert.hex
    if flow == "rollback":
        assert runs[0]["parameters"]["environment"] == "staging"


def test_a_guard_that_crashes_starts_reconcile(api):
    path = f"/deployments/{deployment(api, 'guard')['id']}/create_flow_run"
    run = api.post(path, json={"parameters": {"model": "churn"}}).raise_for_status().json()
    wanted = deployment(api, "reconcile")["id"]
    states = itertools.cycle(("CRASHED", "SCHEDULED"))

    def started() -> bool:
        body = {"state": {"type": next(states)}, "force": True}
        api.post(f"/flow_runs/{run['id']}/set_state", json=body).raise_for_status()
        body = {"deployments": {"id": {"any_": [wanted]}}}
        found = api.post("/flow_runs/filter", json=body).raise_for_status().json()
        return any(not it["auto_scheduled"] for it in found)

    wait_until(started, 120, "a run of reconcile by the automation")
