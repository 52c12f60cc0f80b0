"""Real MLflow servers, plain and with logins, and a wire to one that can be cut."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import support

from andon.adapters.loopback import is_free

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
        with near, socket.create_connection(self._target) as far, contextlib.suppress(OSError):
            fate = ""
            back = threading.Thread(target=lambda: None)
            back.start()
            while data := near.recv(1 << 16):
                first = data.split(b"\r\n", 1)[0]
                if first.endswith(b"HTTP/1.1"):
                    self.requests.append(first.decode())
                    fate = self.cut(first)
                    if fate == "early":
                        return
                far.sendall(data)
                if fate == "late":
                    self._drain(near, far)
                    return
                if not back.is_alive():
                    back = threading.Thread(target=_pump, args=(far, near), daemon=True)
                    back.start()

    @staticmethod
    def _drain(near: socket.socket, far: socket.socket) -> None:
        """The rest of the request goes on, and its answer goes nowhere."""
        near.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while data := near.recv(1 << 16):
                far.sendall(data)
        far.recv(1 << 16)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)
