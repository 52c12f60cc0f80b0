"""Prediction servers as supervised processes of this machine."""

from __future__ import annotations

import fcntl
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import psutil

from andon.adapters.loopback import ask, is_free
from andon.adapters.supervisor import Info, Program, Supervisor
from andon.errors import PlatformError, TargetError
from andon.ports import Server, ServerSpec, Usage
from andon.settings import Settings

PREFIX = "serve-"
FIRST_PORT, PORTS = 100, 100  # port_base + 100 … port_base + 199
ANSWER_SECONDS = 2.0
# A server that dies within this time of its start counts as one that does not start at all.
SETTLED_SECONDS = 15
RETRIES = 2
SERVER = (sys.executable, "-P", "-m", "serving")


class ProcessTarget:
    """Implements `andon.ports.Target` with supervisord.

    A server's port and identity are kept in its program file alone, so that they survive whatever
    happens to us. `command` is what a server is started with, before its options.
    """

    def __init__(self, settings: Settings, command: Sequence[str] = SERVER) -> None:
        self._settings = settings
        self._command = command
        self._supervisor = Supervisor(settings)

    def start(self, spec: ServerSpec) -> Server:
        """Start it on a free port, or leave it alone if it is up."""
        name = PREFIX + spec.name
        with _as_target_error(spec.name), self._lock():
            kept = self._notes(name)
            if kept.get("digest") != spec.digest:
                kept = {"digest": spec.digest, "port": str(self._free_port())}
            self._supervisor.add(self._program(spec, kept))
            self._supervisor.start(name)
        return self.look(spec)

    def look(self, spec: ServerSpec) -> Server:
        """How it is, as supervisord and the server itself say."""
        name = PREFIX + spec.name
        with _as_target_error(spec.name):
            info = self._supervisor.info(name)
        kept = self._notes(name)
        if info is None or not kept:
            return Server(spec.name, "absent")
        url = f"http://127.0.0.1:{kept['port']}"
        if kept["digest"] != spec.digest:
            detail = f"digest: expected {spec.digest}, found {kept['digest']}"
            return Server(spec.name, "failed", url, detail)
        if not info.up:
            return Server(spec.name, "failed", url, self._why(info))
        if info.state == "BACKOFF":  # it ended, and is about to be started again
            return Server(spec.name, "starting", url, self._why(info))
        return _ask(spec, url, info)

    def stop(self, name: str) -> None:
        """SIGTERM, time to finish its requests, SIGKILL if it must be; then forget it."""
        with _as_target_error(name):
            self._supervisor.remove(PREFIX + name)

    def names(self) -> set[str]:
        """The servers that have a program file."""
        files = (self._settings.state / "conf.d").glob(f"{PREFIX}*.conf")
        return {path.stem.removeprefix(PREFIX) for path in files}

    def usage(self, name: str) -> Usage | None:
        """Of the server's process and its workers."""
        with _as_target_error(name):
            info = self._supervisor.info(PREFIX + name)
        return _used(info.pid) if info is not None and info.pid else None

    def _program(self, spec: ServerSpec, kept: dict[str, str]) -> Program:
        options = {
            "--bundle": spec.bundle,
            "--host": "127.0.0.1",
            "--port": kept["port"],
            "--environment": spec.environment,
            "--log-dir": self._settings.inference_log,
            "--feedback-dir": self._settings.feedback_log,
        }
        return Program(
            name=PREFIX + spec.name,
            command=[*self._command, *(str(part) for pair in options.items() for part in pair)],
            folder=self._settings.state,
            environment={"PYTHONUNBUFFERED": "1"},
            autostart=True,
            settled_seconds=SETTLED_SECONDS,
            retries=RETRIES,
            stop_group=True,
            notes=kept,
        )

    def _why(self, info: Info) -> str:
        tail = self._supervisor.tail(info.name)
        return f"{info.state}: {info.detail}" + (f"\n{tail}" if tail else "")

    def _notes(self, name: str) -> dict[str, str]:
        try:
            text = self._supervisor.file(name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        return dict(re.findall(r"^; (\w+)=(.*)$", text, re.MULTILINE))

    def _free_port(self) -> int:
        """One that no server of ours has, running or not, and that nobody listens on."""
        ours = {self._notes(PREFIX + name).get("port") for name in self.names()}
        first = self._settings.port_base + FIRST_PORT
        for port in range(first, first + PORTS):
            if str(port) not in ours and is_free(port):
                return port
        raise TargetError(
            f"no free port in {first}…{first + PORTS - 1}: stop servers that are not needed, or "
            "choose another ANDON_PORT_BASE"
        )

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Two runs that start servers at once must not choose one port."""
        path = self._settings.state / "run" / "target.lock"
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        except OSError as error:
            raise TargetError(f"{path}: {error.strerror}: run `andon up`") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _used(pid: int) -> Usage | None:
    """Memory that would be free if it ended (USS), CPU time of it and of all that it started."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        times = [it.cpu_times() for it in family]
        return Usage(
            cpu_seconds=sum(it.user + it.system for it in times),
            memory_bytes=sum(it.memory_full_info().uss for it in family),
            started=process.create_time(),
        )
    except psutil.Error:
        return None


def _ask(spec: ServerSpec, url: str, info: Info) -> Server:
    """Ready only if it says itself that it is what was asked for."""
    try:
        status, said = ask("GET", f"{url}/readyz", seconds=ANSWER_SECONDS)
    except OSError as error:
        return Server(spec.name, "starting", url, f"{info.state}: {error}")
    if status != HTTPStatus.OK or not isinstance(said, dict):
        return Server(spec.name, "starting", url, f"{info.state}: HTTP {status}: {said}")
    wrong = _differences(spec, said)
    if wrong:
        return Server(spec.name, "failed", url, f"another server answers at {url}: {wrong}")
    return Server(spec.name, "ready", url, f"pid {info.pid}")


def _differences(spec: ServerSpec, said: dict[str, Any]) -> str:
    keys = ("model", "version", "digest", "environment")
    expected = {key: str(getattr(spec, key)) for key in keys}
    return "; ".join(
        f"{key} is {said.get(key)!r}, expected {value!r}"
        for key, value in expected.items()
        if str(said.get(key)) != value
    )


@contextmanager
def _as_target_error(name: str) -> Iterator[None]:
    try:
        yield
    except PlatformError as error:
        raise TargetError(f"{name}: {error}") from error
