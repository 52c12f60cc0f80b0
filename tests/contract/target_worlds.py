"""A target with bundles of every kind: one in memory, one of real supervised processes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Protocol

import httpx
from helpers import TINY_SERVER, write_bundle
from support import wait_until

from andon.adapters.fakes import FakeTarget
from andon.adapters.process_target import ProcessTarget
from andon.ports import Server, ServerSpec, Target
from andon.settings import Settings


class World(Protocol):
    target: Target

    def bundle(self, version: str, mode: str = "good", digest: str = "") -> ServerSpec:
        """A bundle of this version; its mode is one of `tiny_server.py`, or "impostor"."""

    def kill(self, server: Server) -> None:
        """SIGKILL; whoever supervises it brings it back."""

    def forgetful(self) -> Target:
        """The same target, as a new process of the line sees it."""


def ready(target: Target, spec: ServerSpec) -> Server:
    """Wait until it is."""
    wait_until(lambda: target.look(spec).state == "ready", 60, f"{spec.name} is ready")
    return target.look(spec)


class FakeWorld:
    def __init__(self, folder: Path) -> None:
        self.target = FakeTarget()
        self._folder = folder

    def bundle(self, version: str, mode: str = "good", digest: str = "") -> ServerSpec:
        knobs = {
            "crash": self.target.crashing,
            "stuck": self.target.stuck,
            "impostor": self.target.impostors,
        }
        for knob in knobs.values():
            knob.discard(version)
        if mode != "good":
            knobs[mode].add(version)
        return ServerSpec(
            "production", "churn", version, self._folder / version, digest or f"digest-{version}"
        )

    def kill(self, server: Server) -> None:
        self.target.kill(server.name)

    def forgetful(self) -> Target:
        return self.target

    def close(self) -> None:
        pass


class ProcessWorld:
    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings, self._folder = settings, folder
        self.target = self.forgetful()

    def bundle(self, version: str, mode: str = "good", digest: str = "") -> ServerSpec:
        spec = ServerSpec(
            "production", "churn", version, self._folder / version, digest or f"digest-{version}"
        )
        said = "of-another" if mode == "impostor" else spec.digest
        mode = "good" if mode == "impostor" else mode
        write_bundle(spec.bundle, mode=mode, model=spec.model, version=version, digest=said)
        return spec

    def kill(self, server: Server) -> None:
        pid = httpx.get(f"{server.url}/healthz").json()["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not _is_running(pid), 60, f"process {pid} is gone")

    def forgetful(self) -> ProcessTarget:
        return ProcessTarget(self._settings, command=(sys.executable, str(TINY_SERVER)))

    def close(self) -> None:
        for name in self.target.names():
            self.target.stop(name)


def _is_running(pid: int) -> bool:
    """A process that was killed and not yet waited for does not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
