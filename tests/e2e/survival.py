"""What the tests of survival do to a line: traffic, changes, holds, kills and retries."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import yaml
from line_under_test import LONG, LineUnderTest, commit
from support import wait_until

from andon.adapters import database
from andon.adapters.supervisor import Supervisor
from andon.settings import Settings
from deployments.platform import ready
from deployments.platform.up import processes

PROGRAMS = ("postgres", "gateway", "pages", "prefect", "mlflow", "worker")
EVERY = 0.03  # seconds between two requests


def hurry(line: LineUnderTest, model: str, seconds: float = 0) -> None:
    """Give a model a short way through production."""
    path = line.project / "models" / model / "model.yaml"
    steps = [{"weight": it, "seconds": seconds, "min_requests": 20} for it in (20, 100)]
    plan = {"production": {"strategy": "canary", "steps": steps}}
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "release": plan}))
    commit(line.project, f"a short way for {model}")


def ask_first(line: LineUnderTest, model: str, **changes: Any) -> None:
    """Give a model a short way through production with a person in the middle."""
    steps = [
        {"weight": 20, "seconds": 0, "min_requests": 20},
        {"approve": "release-managers", "within": 600},
        {"weight": 100, "seconds": 0, "min_requests": 20},
    ]
    path = line.project / "models" / model / "model.yaml"
    spec = yaml.safe_load(path.read_text())
    spec["release"] = {"production": {"strategy": "canary", "steps": steps, **changes}}
    spec["metric"]["margin"] = 0.2  # so few rows settle nothing finer
    path.write_text(yaml.safe_dump(spec))
    commit(line.project, f"a person decides on {model}")


def rewrite(line: LineUnderTest, model: str, old: str, new: str) -> None:
    """Change a model's code, and commit."""
    code = line.project / "models" / model / "pipeline.py"
    text = code.read_text()
    assert old in text
    code.write_text(text.replace(old, new))
    commit(line.project, f"{old} becomes {new} in {model}")


@dataclass(frozen=True)
class Answer:
    """What one request got; `failed` is empty if it was answered."""

    at: float
    version: str
    failed: str


class Steady(threading.Thread):
    """One request after the other to a model's champion, until the block ends."""

    def __init__(self, line: LineUnderTest, model: str) -> None:
        super().__init__(daemon=True)
        self.answers: list[Answer] = []
        self._url = f"{line.settings.gateway_url}/production/{model}/predict"
        self._body = {"records": [line.sample(model)]}
        self._ended = threading.Event()

    def __enter__(self) -> Steady:
        self.start()
        wait_until(lambda: self.answers, 30, "the first answer")
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join(30)

    def run(self) -> None:
        # Always the same row: a monitor that comes by must not take that for drift.
        probe = {"X-Andon-Probe": "1"}
        with httpx.Client(timeout=20, trust_env=False, headers=probe) as client:
            while not self._ended.wait(EVERY):
                self.answers.append(self._ask(client))

    def _ask(self, client: httpx.Client) -> Answer:
        at = time.time()
        try:
            reply = client.post(self._url, json=self._body)
        except httpx.HTTPError as error:
            return Answer(at, "", f"{type(error).__name__}: {error}")
        failed = "" if reply.is_success else f"{reply.status_code} {reply.text[:200]}"
        return Answer(at, reply.headers.get("X-Andon-Version", ""), failed)

    @property
    def failures(self) -> list[Answer]:
        return [it for it in self.answers if it.failed]

    def flows_again(self, since: int, in_a_row: int = 30) -> bool:
        """Whether the latest requests after the `since`th were all answered."""
        latest = self.answers[since:][-in_a_row:]
        return len(latest) == in_a_row and not any(it.failed for it in latest)


class Hold:
    """Stops whoever writes a Prefect artifact: a station that has done its work cannot say so.

    A trigger in Prefect's database waits for an advisory lock with the artifact's key.
    """

    def __init__(self, settings: Settings) -> None:
        self._url = database.url(settings, "prefect", driver="")
        with psycopg.connect(self._url) as tx:
            tx.execute(
                # Of a page that moves, only the last is a station's end.
                "CREATE OR REPLACE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS "
                "'BEGIN IF NEW.description IS NULL OR NEW.description NOT LIKE ''%so far'' THEN "
                "PERFORM pg_advisory_xact_lock_shared(hashtext(NEW.key)); END IF; "
                "RETURN NEW; END'"
            )
            tx.execute(
                "CREATE OR REPLACE TRIGGER hold BEFORE INSERT ON artifact "
                "FOR EACH ROW EXECUTE FUNCTION hold()"
            )

    @contextmanager
    def at(self, key: str) -> Iterator[Callable[[], bool]]:
        """Hold this artifact while the block runs; yields whether somebody stands there."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute("SELECT pg_advisory_lock(hashtext(%s))", (key,))
            yield lambda: waiting(connection) == 1


def waiting(connection: psycopg.Connection[Any]) -> int:
    """How many wait for an advisory lock of this database."""
    found = connection.execute(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = "
        "(SELECT oid FROM pg_database WHERE datname = current_database())"
    ).fetchone()
    assert found
    return int(found[0])


def kill_run(line: LineUnderTest, run_id: str) -> None:
    """kill -9 of the flow run's process, until its worker has done with it.

    The worker says twice that a run crashed, a second apart: who retries in between is told, too.
    """
    (found,) = [it for it in psutil.process_iter() if _is_run(it, run_id)]
    (worker,) = [it.pid for it in processes(line.settings) if it.name == "worker"]
    log, mark = line.settings.state / "logs" / "worker.log", "flow_runs.worker - Check whether"
    before = log.read_text().count(mark)
    is_its = worker in [it.pid for it in found.parents()]
    found.kill()
    if is_its:
        wait_until(lambda: log.read_text().count(mark) > before, LONG, "the worker is through")


def _is_run(process: psutil.Process, run_id: str) -> bool:
    try:
        alive = process.status() != psutil.STATUS_ZOMBIE
        return alive and process.environ().get("PREFECT__FLOW_RUN_ID") == run_id
    except psutil.Error:
        return False


def kill_program(settings: Settings, name: str) -> None:
    """kill -9 of a program of the platform, or of a prediction server."""
    (pid,) = [it.pid for it in processes(settings) if it.name == name]
    psutil.Process(pid).kill()
    wait_until(
        lambda: [it.pid for it in processes(settings) if it.name == name] != [pid],
        LONG,
        f"the supervisor sees that {name} is dead",
    )


def all_well(settings: Settings) -> bool:
    """Whether every program of the platform does its work."""
    supervisor = Supervisor(settings)
    return not any(ready.problem(settings, it, supervisor.info(it)) for it in PROGRAMS)


def retry(line: LineUnderTest, run_id: str) -> None:
    """`prefect flow-run retry`, as a person would."""
    prefect = str(Path(sys.executable).parent / "prefect")
    done = subprocess.run(
        [prefect, "flow-run", "retry", run_id],
        cwd=line.project,
        env=line.environment(),
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def retry_quickly(line: LineUnderTest, run_id: str) -> None:
    """The call that `prefect flow-run retry` makes, without its two seconds of imports."""
    body = {"state": {"type": "SCHEDULED", "name": "Scheduled"}, "force": True}
    url = f"{line.settings.prefect_api_url}/flow_runs/{run_id}/set_state"
    httpx.post(url, json=body, timeout=30, trust_env=False).raise_for_status()


def wait_for(line: LineUnderTest, run_id: str, kind: str) -> None:
    """Until the run is in a state of this kind, which is to be its end."""
    list(line.runs.follow(run_id, LONG))
    state = line.runs.state(run_id)
    assert state["type"] == kind, state["message"]


@dataclass(frozen=True)
class Visit:
    """A flow run's stay at a station; times are epoch seconds."""

    station: str
    state: str
    began: float
    ended: float


def visits(line: LineUnderTest, run_id: str) -> list[Visit]:
    """The stations of a flow run, of all its attempts, as Prefect shows them."""
    body = {"task_runs": {"flow_run_id": {"any_": [run_id]}}, "limit": 200}
    url = f"{line.settings.prefect_api_url}/task_runs/filter"
    found = httpx.post(url, json=body, timeout=30, trust_env=False).raise_for_status().json()
    made = [
        Visit(it["name"], it["state_name"], _epoch(it["start_time"]), _epoch(it["end_time"]))
        for it in found
    ]
    return sorted(made, key=lambda it: it.began)


def _epoch(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0
