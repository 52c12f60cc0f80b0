"""The platform up, down, and how it is."""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager

from andon.adapters.database import ensure_databases
from andon.adapters.docker_target import DockerTarget, was_used
from andon.adapters.process_target import PREFIX
from andon.adapters.sockets import socket_folder, stand_in
from andon.adapters.supervisor import Info, Program, Supervisor
from andon.errors import PlatformError, TargetError
from andon.settings import Settings
from deployments.platform import daemon, gateway, layout, postgres, preflight, ready, strays
from deployments.platform.programs import platform

Report = Callable[[str, float | None], None]

STOP_SECONDS = 60.0
POLL_SECONDS = 0.1
AT_REST = frozenset({"STOPPED", "EXITED", "FATAL", "UNKNOWN"})


def up(settings: Settings, report: Report) -> None:
    """Start what is not up and wait until all of it works; repairs what is down.

    `report` is told what happened and how much of the whole is done (0…1). Raises PlatformError
    if it cannot run here, or when a program does not come up, with the end of its log.
    """
    report("checking ports, disk and state", 0.0)
    preflight.check(settings)
    layout.make(settings)
    with _alone(settings, report):
        supervisor, programs = Supervisor(settings), platform(settings)
        _prepare(settings, supervisor, report)
        if not supervisor.running():
            _clean_start(settings, supervisor, programs, report)
        for program in programs:
            supervisor.add(program)
        _bring_up(settings, supervisor, programs, report)


def down(settings: Settings, report: Report) -> None:
    """Stop everything, prediction servers and supervisord too; nothing is left, or it raises.

    The next `up` starts the same prediction servers again.
    """
    if not settings.state.is_dir():
        return
    layout.make(settings)
    with _alone(settings, report):
        supervisor = Supervisor(settings)
        if supervisor.running():
            _stop_all(supervisor, report)
        strays.sweep(settings)
        problem = _stop_containers(settings, report)  # when nobody is left who starts them
        left = strays.marked(settings)
        if left:
            raise PlatformError(f"these did not end: {[process.pid for process in left]}")
        if problem:
            raise PlatformError(f"all but the containers is stopped; of them: {problem}")
    if socket_folder(settings).parent != settings.state:
        shutil.rmtree(socket_folder(settings), ignore_errors=True)
        stand_in(settings).unlink(missing_ok=True)
    report("stopped", 1.0)


def processes(settings: Settings) -> list[Info]:
    """Every program of the platform and every prediction server, as supervisord sees it."""
    supervisor = Supervisor(settings)
    found = {info.name: info for info in supervisor.all()} if supervisor.running() else {}
    names = [program.name for program in platform(settings)]
    absent = [Info(name, "STOPPED", 0, 0, "not started") for name in names if name not in found]
    order = {name: position for position, name in enumerate(names)}
    return sorted(
        [*found.values(), *absent], key=lambda info: (order.get(info.name, len(order)), info.name)
    )


def _prepare(settings: Settings, supervisor: Supervisor, report: Report) -> None:
    """What the programs find when they start."""
    if gateway.write(settings) and supervisor.running():
        supervisor.stop("gateway")  # it reads its entry points only at its start
    if settings.mlflow_url is not None:
        supervisor.file("mlflow").unlink(missing_ok=True)
    if settings.database_url is not None:
        supervisor.file("postgres").unlink(missing_ok=True)
        return
    if not postgres.cluster(settings).is_dir():
        report("creating the database cluster", None)
    for folder in postgres.prepare(settings):
        report(f"{folder}: PostgreSQL's user may now pass through (chmod o+x)", None)


def _clean_start(
    settings: Settings, supervisor: Supervisor, programs: list[Program], report: Report
) -> None:
    """A supervisord, and no process of an earlier one."""
    swept = strays.sweep(settings)
    if swept:
        report(f"ended {swept} processes that a killed supervisord had left", None)
    for program in programs:
        supervisor.write(program)
    daemon.start(settings)


def _bring_up(
    settings: Settings, supervisor: Supervisor, programs: list[Program], report: Report
) -> None:
    """The database first, then the rest at once: they are slow to import, not to start."""
    names = [program.name for program in programs]
    given_up = threading.Event()
    _start(supervisor, [name for name in names if name in ("postgres", "gateway")])
    if "postgres" in names:
        ready.wait(settings, "postgres", given_up)
    ensure_databases(settings)
    report("the databases are ready", 1 / (len(names) + 1))
    servers = [info.name for info in supervisor.all() if info.name.startswith(PREFIX)]
    _start(supervisor, names + servers)
    rest = [name for name in names if name != "postgres"]
    with ThreadPoolExecutor(len(rest)) as pool:
        waits = {pool.submit(ready.wait, settings, name, given_up): name for name in rest}
        try:
            for done, wait in enumerate(as_completed(waits), start=2):
                wait.result()
                report(f"{waits[wait]} is ready", done / (len(names) + 1))
        finally:
            given_up.set()
    report("up", 1.0)


def _start(supervisor: Supervisor, names: list[str]) -> None:
    for name in names:
        info = supervisor.info(name)
        if info is not None and not info.up:
            supervisor.start(name)


def _stop_containers(settings: Settings, report: Report) -> str:
    """Stop and remove those of this line; returns what hindered it."""
    if not was_used(settings):
        return ""
    target = DockerTarget(settings)
    try:
        for name in sorted(target.names()):
            report(f"stopping container {name}", 0.0)
            target.stop(name)
    except TargetError as error:
        return str(error)
    return ""


def _stop_all(supervisor: Supervisor, report: Report) -> None:
    """Everybody else before the database, so that it has no clients to wait for."""
    names = [info.name for info in supervisor.all() if info.up and info.name != "postgres"]
    report(f"stopping {', '.join(names)}", 0.0)
    for name in names:
        supervisor.stop(name, wait=False)
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        resting = {info.name for info in supervisor.all() if info.state in AT_REST}
        if resting >= set(names):
            break
        time.sleep(POLL_SECONDS)
    if supervisor.info("postgres") is not None:
        report("stopping postgres", 0.8)
        supervisor.stop("postgres")
    supervisor.shutdown()
    while supervisor.running() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


@contextmanager
def _alone(settings: Settings, report: Report) -> Iterator[None]:
    """One `up` or `down` of a state folder at a time; the next one waits."""
    descriptor = os.open(settings.state / "run" / "up.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another `andon up` or `andon down` to end", None)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
