"""The real platform: it comes up, survives what is done to it, and goes without a trace."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from support import REPOSITORY, free_port_block, running, scratch_folder, wait_until

from andon.adapters.database import DATABASES, ensure_databases, problem, url
from andon.adapters.process_target import ProcessTarget
from andon.adapters.supervisor import Supervisor
from andon.errors import PlatformError
from andon.ports import ServerSpec
from andon.settings import Settings
from deployments.platform import ready, strays
from deployments.platform.programs import QUIET, line_environment
from deployments.platform.up import down, processes, up

pytestmark = pytest.mark.slow

NAMES = ["postgres", "gateway", "pages", "prefect", "mlflow", "worker"]
TINY_SERVER = REPOSITORY / "tests" / "contract" / "tiny_server.py"
PROBE_FLOW = """
import json, os, pathlib, time
from prefect import flow

@flow
def probe(seconds: float = 0.0, out: str = "probe.json"):
    print("a line that must reach the log")
    known = {"environ": dict(os.environ), "cwd": os.getcwd(), "pid": os.getpid()}
    pathlib.Path(out).write_text(json.dumps(known))
    time.sleep(seconds)
    print("the end")
"""


def quiet(message: str, fraction: float | None) -> None:
    pass


@pytest.fixture(scope="module")
def settings():
    with scratch_folder() as folder:
        shutil.copy(REPOSITORY / "andon.yaml", folder)
        (folder / "probe_flow.py").write_text(PROBE_FLOW)
        settings = Settings(project=folder, port_base=free_port_block())
        started = time.monotonic()
        with running(settings):
            print(f"cold up: {time.monotonic() - started:.1f} s")
            yield settings


@pytest.fixture(scope="module")
def api(settings):
    with httpx.Client(base_url=settings.prefect_api_url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def deployment(api) -> str:
    flow = api.post("/flows/", json={"name": "probe"}).json()["id"]
    body = {
        "name": "probe",
        "flow_id": flow,
        "entrypoint": "probe_flow:probe",
        "work_pool_name": "local",
        "pull_steps": [],
    }
    return api.post("/deployments/", json=body).raise_for_status().json()["id"]


def pids(settings: Settings) -> dict[str, int]:
    return {info.name: info.pid for info in processes(settings)}


def problems(settings: Settings) -> dict[str, str]:
    supervisor = Supervisor(settings)
    found = {name: ready.problem(settings, name, supervisor.info(name)) for name in NAMES}
    return {name: why for name, why in found.items() if why}


def create_run(api: httpx.Client, deployment: str, **parameters: Any) -> str:
    body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
    answer = api.post(f"/deployments/{deployment}/create_flow_run", json=body)
    return answer.raise_for_status().json()["id"]


def state_of(api: httpx.Client, run: str) -> str:
    return api.get(f"/flow_runs/{run}").raise_for_status().json()["state_type"]


def wait_for_file(path: Path) -> dict[str, Any]:
    wait_until(lambda: path.exists() and path.read_text(), 120, f"{path.name} is written")
    return json.loads(path.read_text())


def test_everything_works_after_up(settings):
    assert [info.name for info in processes(settings)] == NAMES
    assert problems(settings) == {}


def test_up_again_touches_nothing(settings):
    before, told = pids(settings), []
    up(settings, lambda message, fraction: told.append(fraction))
    assert pids(settings) == before
    fractions = [fraction for fraction in told if fraction is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_flow_runs_get_what_they_need(settings, api, deployment):
    run = create_run(api, deployment)
    wait_until(lambda: state_of(api, run) == "COMPLETED", 120, "the run is completed")
    seen = json.loads((settings.project / "probe.json").read_text())
    assert seen["cwd"] == str(settings.project)
    expected = {key: value for key, value in line_environment(settings).items() if key not in QUIET}
    assert {key: seen["environ"].get(key) for key in expected} == expected
    assert seen["environ"]["PATH"].startswith(str(Path(sys.executable).parent))
    log = settings.state / "logs" / "flow-runs.log"
    assert "a line that must reach the log" in log.read_text()


def test_mlflow_keeps_artifacts_in_the_state_folder(settings):
    place = f"{settings.registry_url}/api/2.0/mlflow-artifacts/artifacts/probe/a.txt"
    httpx.put(place, content=b"hello", trust_env=False).raise_for_status()
    assert (settings.state / "mlartifacts" / "probe" / "a.txt").read_bytes() == b"hello"
    assert httpx.get(place, trust_env=False).content == b"hello"


def test_the_prefect_ui_calls_this_server(settings):
    said = httpx.get(f"http://127.0.0.1:{settings.prefect_port}/ui-settings", trust_env=False)
    assert said.json()["api_url"] == settings.prefect_api_url


def test_missing_databases_are_created_on_an_external_server(settings):
    """The embedded one plays the external one: a URL is all that is known of it."""
    external = settings.model_copy(update={"database_url": url(settings, "postgres", driver="")})
    with psycopg.connect(external.database_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE ledger")
    ensure_databases(external)
    for name in DATABASES:
        with psycopg.connect(url(external, name, driver="")) as connection:
            assert connection.info.dbname == name
    assert problem(external) is None


def test_a_database_server_that_is_not_there_is_named(settings):
    gone = url(settings, "postgres", driver="").replace("5432", "5433")
    with pytest.raises(PlatformError, match=r"s\.PGSQL\.5433"):
        ensure_databases(settings.model_copy(update={"database_url": gone}))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_killed_comes_back(settings, name):
    killed = pids(settings)[name]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: pids(settings)[name] not in (killed, 0), 120, f"{name} runs again")
    wait_until(lambda: not problems(settings), 120, f"everything works after {name} was killed")


def test_a_flow_run_outlives_its_worker(settings, api, deployment):
    out = settings.project / "outlive.json"
    run = create_run(api, deployment, seconds=8, out=str(out))
    wait_for_file(out)
    os.kill(pids(settings)["worker"], signal.SIGKILL)
    wait_until(lambda: state_of(api, run) == "COMPLETED", 120, "the run is completed")
    wait_until(lambda: not problems(settings), 120, "the worker is back")


def test_a_flow_run_that_died_with_its_worker_is_crashed(settings, api, deployment):
    """Else it stays Running for ever, and holds its deployment's slot."""
    out = settings.project / "die.json"
    run = create_run(api, deployment, seconds=600, out=str(out))
    seen = wait_for_file(out)
    os.kill(pids(settings)["worker"], signal.SIGKILL)
    os.kill(seen["pid"], signal.SIGKILL)
    wait_until(lambda: state_of(api, run) == "CRASHED", 120, "the run is crashed")


def test_a_killed_supervisord_leaves_no_doubles(settings):
    server = start_server(settings)
    before = strays.marked(settings)
    os.kill(int((settings.state / "run" / "supervisord.pid").read_text()), signal.SIGKILL)
    wait_until(lambda: not Supervisor(settings).running(), 20, "supervisord is dead")
    up(settings, quiet)
    assert not [process for process in before if process.is_running()]
    assert problems(settings) == {}
    ours = set(pids(settings).values())
    children = psutil.Process(int((settings.state / "run" / "supervisord.pid").read_text()))
    assert {child.pid for child in children.children()} == ours
    assert max(Counter(info.name for info in processes(settings)).values()) == 1
    target = ProcessTarget(settings, (sys.executable, str(TINY_SERVER)))
    wait_until(lambda: target.look(server).state == "ready", 60, "the prediction server is back")


def test_a_program_that_cannot_start_is_named_with_the_end_of_its_log(settings, monkeypatch):
    monkeypatch.setenv("TRAEFIK_BIN", sys.executable)  # it does not know Traefik's options
    with pytest.raises(PlatformError) as caught:
        up(settings, quiet)
    assert "gateway does not come up" in str(caught.value)
    assert "unknown option" in str(caught.value)
    monkeypatch.delenv("TRAEFIK_BIN")
    up(settings, quiet)
    assert problems(settings) == {}


def test_down_leaves_nothing_and_up_brings_the_servers_back(settings):
    server = start_server(settings)
    before = strays.marked(settings)
    down(settings, quiet)
    assert strays.marked(settings) == []
    assert not [process for process in before if process.is_running()]
    assert {info.state for info in processes(settings)} == {"STOPPED"}
    down(settings, quiet)
    up(settings, quiet)
    target = ProcessTarget(settings, (sys.executable, str(TINY_SERVER)))
    wait_until(lambda: target.look(server).state == "ready", 60, "the prediction server is back")


def start_server(settings: Settings) -> ServerSpec:
    identity = {"model": "churn", "version": "1", "digest": "d", "mode": "good"}
    bundle = settings.project / "bundle"
    bundle.mkdir(exist_ok=True)
    (bundle / "identity.json").write_text(json.dumps(identity))
    spec = ServerSpec("staging", "churn", "1", bundle, "d")
    target = ProcessTarget(settings, (sys.executable, str(TINY_SERVER)))
    target.start(spec)
    wait_until(lambda: target.look(spec).state == "ready", 60, "the prediction server is ready")
    return spec
