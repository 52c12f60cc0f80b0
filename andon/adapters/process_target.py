"""Prediction servers as supervised processes of this machine."""

from __future__ import annotations

import fcntl
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from andon.adapters.identity import RETRIES, SETTLED_SECONDS, STOP_SECONDS, identified, of_another
from andon.adapters.loopback import is_free
from andon.adapters.supervisor import Info, Program, Supervisor
from andon.adapters.usage import of_tree
from andon.errors import PlatformError, TargetError
from andon.ports import Server, ServerSpec, Usage
from andon.settings import Settings

PREFIX = "serve-"
FIRST_PORT, PORTS = 100, 100  # port_base + 100 … port_base + 199
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
            return of_another(spec, url, kept["digest"])
        if not info.up:
            return Server(spec.name, "failed", url, self._why(info))
        if info.state == "BACKOFF":  # it ended, and is about to be started again
            return Server(spec.name, "starting", url, self._why(info))
        return identified(spec, url, info.state, f"pid {info.pid}")

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
        try:
            info = self._supervisor.info(PREFIX + name)
        except PlatformError:
            return None
        return of_tree(info.pid) if info is not None and info.pid else None

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
            stop_seconds=STOP_SECONDS,
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


@contextmanager
def _as_target_error(name: str) -> Iterator[None]:
    try:
        yield
    except PlatformError as error:
        raise TargetError(f"{name}: {error}") from error
