"""A client of supervisord: the programs of one line, each with its file in `conf.d/`."""

from __future__ import annotations

import http.client
import os
import shlex
import socket
import tempfile
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from andon.adapters.sockets import supervisor_socket
from andon.errors import PlatformError
from andon.settings import Settings

# supervisord answers at once, but for a stop, which waits for the program's `stopwaitsecs`.
ANSWER_SECONDS = 90
BAD_NAME, ALREADY_ADDED, ALREADY_STARTED, NOT_RUNNING = 10, 90, 60, 70
UP = frozenset({"STARTING", "RUNNING", "BACKOFF"})


@dataclass(frozen=True)
class Program:
    """A program file. `settled_seconds`: who dies earlier counts as failed to start."""

    name: str
    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    autostart: bool = False
    settled_seconds: int = 1
    retries: int = 30
    stop_signal: str = "TERM"
    stop_seconds: int = 15
    stop_group: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)

    def text(self, log: Path) -> str:
        """The file: `notes` are kept as comments, for whoever wrote them to find again."""
        lines = [f"; {key}={value}" for key, value in sorted(self.notes.items())]
        options = {
            "command": shlex.join(self.command),
            "directory": str(self.folder),
            "environment": ",".join(f'{k}="{v}"' for k, v in sorted(self.environment.items())),
            "autostart": str(self.autostart).lower(),
            "autorestart": "true",
            "startsecs": str(self.settled_seconds),
            "startretries": str(self.retries),
            "stopsignal": self.stop_signal,
            "stopwaitsecs": str(self.stop_seconds),
            "stopasgroup": str(self.stop_group).lower(),
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": str(log),
            "stdout_logfile_maxbytes": "10MB",
            "stdout_logfile_backups": "3",
        }
        if self.user:
            options["user"] = self.user
        lines.append(f"[program:{self.name}]")
        lines += [f"{key}={value.replace('%', '%%')}" for key, value in options.items() if value]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Info:
    """A program as supervisord sees it; `started` is in epoch seconds, 0: never."""

    name: str
    state: str
    pid: int
    started: int
    detail: str

    @property
    def up(self) -> bool:
        """Running, or being brought up again and again."""
        return self.state in UP


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = str(path)

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _Connection(self._path)
        self._connection = host, connection  # what `close` closes
        return connection


class Supervisor:
    """Every method raises PlatformError when supervisord is not running."""

    def __init__(self, settings: Settings) -> None:
        self._socket = supervisor_socket(settings)
        self._folder = settings.state / "conf.d"
        self._logs = settings.state / "logs"

    def running(self) -> bool:
        """Whether a supervisord answers for this state folder."""
        try:
            self._call("getState")
        except PlatformError:
            return False
        return True

    def file(self, name: str) -> Path:
        """The program's file, there or not."""
        return self._folder / f"{name}.conf"

    def log(self, name: str) -> Path:
        """The program's log: what it wrote to stdout and stderr."""
        return self._logs / f"{name}.log"

    def tail(self, name: str, lines: int = 20) -> str:
        """The end of its log, for messages."""
        try:
            with self.log(name).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
                text = file.read().decode("utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.strip().splitlines()[-lines:])

    def write(self, program: Program) -> bool:
        """Write its file, atomically; returns whether that changed anything."""
        path, text = self.file(program.name), program.text(self.log(program.name))
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            return False
        descriptor, temporary = tempfile.mkstemp(prefix=".", dir=self._folder)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
        return True

    def add(self, program: Program) -> None:
        """Make supervisord know it as it is written here; one that runs differently is stopped."""
        if self.write(program) and self.info(program.name) is not None:
            self._forget(program.name)
        if self.info(program.name) is None:
            self._call("reloadConfig")
            self._call("addProcessGroup", program.name, fine=ALREADY_ADDED)

    def remove(self, name: str) -> None:
        """Stop it, gracefully, and delete its file; nothing happens if it is absent."""
        self._forget(name)
        self.file(name).unlink(missing_ok=True)

    def start(self, name: str) -> None:
        """Start it unless it is up; does not wait for it."""
        self._call("startProcess", name, False, fine=ALREADY_STARTED)

    def stop(self, name: str, wait: bool = True) -> None:
        """Stop it with its own signal, killing it after its own time."""
        self._call("stopProcess", name, wait, fine=NOT_RUNNING)

    def info(self, name: str) -> Info | None:
        """How it is now; None if supervisord does not know it."""
        found = self._call("getProcessInfo", name, fine=BAD_NAME)
        return _info(found) if found else None

    def all(self) -> list[Info]:
        """All programs that supervisord knows."""
        return [_info(found) for found in self._call("getAllProcessInfo")]

    def shutdown(self) -> None:
        """End supervisord and all that it runs; does not wait."""
        self._call("shutdown")

    def _forget(self, name: str) -> None:
        if self.info(name) is not None:
            self.stop(name)
            self._call("removeProcessGroup", name, fine=BAD_NAME)

    def _call(self, method: str, *arguments: Any, fine: int | None = None) -> Any:
        """Call supervisord; a fault with the code `fine` is an answer: None."""
        transport = _Transport(self._socket)
        try:
            proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
            return getattr(proxy, f"supervisor.{method}")(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == fine:
                return None
            raise PlatformError(f"supervisord: {method} {arguments}: {fault.faultString}") from None
        except (OSError, http.client.HTTPException) as error:
            raise PlatformError(
                f"{self._socket}: supervisord does not answer ({error}): run `andon up`"
            ) from None
        finally:
            transport.close()


def _info(found: Mapping[str, Any]) -> Info:
    return Info(
        name=found["name"],
        state=found["statename"],
        pid=found["pid"],
        started=found["start"],
        detail=found["spawnerr"] or found["description"],
    )
