"""Real MLflow servers, plain and with logins, and a wire to one that can be cut."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pandas as pd
import support
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from andon.adapters.loopback import is_free
from andon.adapters.mlflow_files import Extras
from andon.adapters.mlflow_registry import BUILD, SERVED, Build, Rows
from andon.registered import parameters

MD5 = "0123456789abcdef0123456789abcdef"
ADMIN = ("admin", "a-password-of-12")


def free_port() -> int:
    base = support.free_port_block()
    return next(port for port in range(base, base + support.PORTS) if is_free(port))


@contextmanager
def server(folder: Path, *, port: int = 0, login: bool = False) -> Iterator[str]:
    """As the platform runs it, on SQLite; yields its URL."""
    port = port or free_port()
    app = "mlflow.server.auth:create_app" if login else "mlflow.server.fastapi_app:app"
    (folder / "auth.ini").write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/auth.db\n"
        f"admin_username = {ADMIN[0]}\nadmin_password = {ADMIN[1]}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "auth_cache_ttl_seconds = 600\n"  # a login costs a tenth of a second and more
    )
    environment = {
        **os.environ,
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder}/mlflow.db",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "mlartifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key of the tests",
    }
    command = [sys.executable, "-P", "-m", "uvicorn", app, "--host", "127.0.0.1"]
    command += ["--port", str(port), "--log-level", "warning", *(["--factory"] if login else [])]
    with (folder / "server.log").open("a") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
    url = f"http://127.0.0.1:{port}"
    try:
        support.wait_until(lambda: answers(url), 120, "MLflow answers")
        yield url
    finally:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        place = f"{url}/api/2.0/mlflow/experiments/search"
        said = httpx.post(place, json={"max_results": 1}, timeout=60, trust_env=False)
        return said.status_code in (200, 401)
    return False


class Wire:
    """A TCP proxy; `cut` decides on the bytes of a request, before or after it was answered.

    A request that is cut `late` reached the server and did its work: only the answer is lost.
    """

    def __init__(self, url: str) -> None:
        self._target = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cut: Callable[[bytes], str] = lambda request: ""
        self.requests: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        """One connection: requests are told apart by their first line."""
        lost, over = threading.Event(), threading.Event()
        with near, socket.create_connection(self._target) as far, contextlib.suppress(OSError):
            threading.Thread(target=_pump, args=(far, near, lost, over), daemon=True).start()
            near.settimeout(0.05)
            while not over.is_set():
                try:
                    data = near.recv(1 << 16)
                except TimeoutError:
                    continue
                first = data.split(b"\r\n", 1)[0]
                if first.endswith(b"HTTP/1.1"):
                    self.requests.append(first.decode())
                    fate = self.cut(first)
                    if fate == "late":
                        lost.set()
                    if fate == "early":
                        return
                if not data:
                    return
                far.sendall(data)


def _pump(
    source: socket.socket, target: socket.socket, lost: threading.Event, over: threading.Event
) -> None:
    """Answers go back, until one is to be lost."""
    with contextlib.suppress(OSError):
        while (data := source.recv(1 << 16)) and not lost.is_set():
            target.sendall(data)
    over.set()


def log_in(monkeypatch, user: str, password: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)


def build(model: str = "", key: str = "k1", served: str = "s1", **other: Any) -> Build:
    frame = pd.DataFrame({"age": np.arange(40.0), "visits": np.arange(40.0) % 7})
    frame["plan"] = ["a", "b", None, "c"] * 10
    numbers = frame[["age", "visits"]]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.25))
    pipeline.fit(numbers, np.where(frame["age"] > 20, "yes", "no"))
    inputs = tuple(
        Rows(context, f"rows, {part}", MD5, {"from": "data/rows.csv"}, {"age": "double"}, rows)
        for context, part, rows in (("training", "learn", 32), ("evaluation", "held out", 8))
    )
    given = {
        "model": model or f"m-{uuid4().hex[:8]}",
        "key": key,
        "estimator": pipeline,
        "trusted": ("numpy.dtype",),
        "params": parameters(pipeline.get_params(deep=True)),
        "metrics": {"roc_auc": 0.91, "accuracy": 0.8},
        "tags": {SERVED: served, "andon.snapshot": MD5, "mlflow.source.git.commit": "abc"},
        "example": numbers.head(3),
        "inputs": inputs,
        "requirements": ("scikit-learn",),
    }
    return Build(**{**given, **other})


def client(url: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(url, url)


def versions(url: str, model: str) -> list[Any]:
    return list(client(url).search_model_versions(f"name = '{model}'"))


def runs(url: str, model: str) -> list[Any]:
    asked = client(url)
    return list(asked.search_runs([asked.get_experiment_by_name(model).experiment_id]))


def models(url: str, model: str) -> list[Any]:
    asked = client(url)
    found = asked.search_logged_models([asked.get_experiment_by_name(model).experiment_id])
    return list(found)


def all_is_whole(url: str, made: Build, versions_in_all: int = 1) -> None:
    """One version of the build, nothing that runs or was left half-way, and everything on it."""
    mine = [it for it in versions(url, made.model) if it.tags[SERVED] == made.served]
    (version,) = [it for it in mine if it.tags[BUILD] == made.key]
    assert len(versions(url, made.model)) == versions_in_all
    assert {it.info.status for it in runs(url, made.model)} <= {"FINISHED", "KILLED"}
    assert [it.status for it in models(url, made.model)] == ["READY"] * versions_in_all
    run = client(url).get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert made.metrics.items() <= run.data.metrics.items()
    assert made.params.items() <= run.data.params.items()
    contexts = {it.tags[0].value: it.dataset for it in run.inputs.dataset_inputs}
    assert set(contexts) == {"training", "evaluation"}
    assert {it.digest for it in contexts.values()} == {MD5}
    assert json.loads(contexts["training"].profile) == {"num_rows": 32, "num_columns": 1}


def download(url: str, uri: str, into: Path) -> Path:
    import mlflow

    mlflow.set_tracking_uri(url)
    mlflow.set_registry_uri(url)
    return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(into)))


def some_extras(tmp_path: Path) -> Extras:
    for name, text in {
        "bundle/manifest.json": "{}",
        "a/card.md": "# Card\n\nfor **people**",
        "a/plots/roc.svg": "<svg/>",
        "a/evaluation.json": "1",
        "a/held_out.parquet": "rows are not shown",
        "b/evaluation.json": "2",
        "one.html": "<p>",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    files = ("a", "b", "one.html", "nothing")
    return Extras(
        tags={"andon.bundle": "digest"},
        bundle=tmp_path / "bundle",
        files=tuple(tmp_path / it for it in files),
        description="# Card\n\nfor **people**",
    )
