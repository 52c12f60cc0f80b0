"""Whether each program does its work, not only whether its process is there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any

from andon.adapters import database
from andon.adapters.loopback import ask
from andon.adapters.supervisor import Info, Supervisor
from andon.errors import PlatformError
from andon.settings import Settings
from deployments.platform.programs import POOL, WORKER

READY_SECONDS = 180.0
POLL_SECONDS = 0.2
# MLflow makes its tables while it answers the first request; asking again would not help.
ANSWER_SECONDS = 60.0
# A program that came up and died this often will not come up.
ATTEMPTS = 3


def wait(settings: Settings, name: str, given_up: threading.Event) -> None:
    """Until it is ready; raises PlatformError with the end of its log if it does not come up."""
    supervisor, deadline = Supervisor(settings), time.monotonic() + READY_SECONDS
    pids: set[int] = set()
    while not given_up.is_set():
        info = supervisor.info(name)
        why = problem(settings, name, info)
        if why is None:
            return
        pids |= {info.pid} - {0} if info else set()
        hopeless = info is None or info.state == "FATAL" or len(pids) > ATTEMPTS
        if hopeless or time.monotonic() > deadline:
            log, tail = supervisor.log(name), supervisor.tail(name)
            raise PlatformError(f"{name} does not come up: {why}\nThe end of {log}:\n{tail}")
        given_up.wait(POLL_SECONDS)


def problem(settings: Settings, name: str, info: Info | None) -> str | None:
    """Why it is not ready, or None if it is."""
    if info is None:
        return "supervisord does not know it"
    if info.state not in ("RUNNING", "STARTING"):
        return f"{info.state}: {info.detail}"
    try:
        return PROBES[name](settings, info)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"


def _postgres(settings: Settings, info: Info) -> str | None:
    return database.problem(settings)


def _prefect(settings: Settings, info: Info) -> str | None:
    _ask("GET", f"{settings.prefect_api_url}/ready")  # it asks its database
    return None


def _mlflow(settings: Settings, info: Info) -> str | None:
    path = "api/2.0/mlflow/experiments/search"
    _ask("POST", f"{settings.registry_url}/{path}", {"max_results": 1})
    return None


def _gateway(settings: Settings, info: Info) -> str | None:
    _ask("GET", f"{settings.gateway_admin_url}/ping")
    # Once it knows this route, it has read the watched folder.
    _ask("GET", f"{settings.gateway_admin_url}/api/http/routers/andon-admin@file")
    return None


def _pages(settings: Settings, info: Info) -> str | None:
    _ask("GET", f"{settings.pages_url}/healthz")
    return None


def _worker(settings: Settings, info: Info) -> str | None:
    url = f"{settings.prefect_api_url}/work_pools/{POOL}/workers/filter"
    for worker in _ask("POST", url, {}):
        seen = datetime.fromisoformat(worker["last_heartbeat_time"]).timestamp()
        if worker["name"] == WORKER and worker["status"] == "ONLINE" and seen >= info.started:
            return None
    return "no heartbeat yet"


def _ask(method: str, url: str, body: Any = None) -> Any:
    status, said = ask(method, url, body, seconds=ANSWER_SECONDS)
    if status != HTTPStatus.OK:
        raise OSError(f"{url}: HTTP {status}: {str(said)[:200]}")
    return said


PROBES: dict[str, Callable[[Settings, Info], str | None]] = {
    "postgres": _postgres,
    "gateway": _gateway,
    "pages": _pages,
    "prefect": _prefect,
    "mlflow": _mlflow,
    "worker": _worker,
}
