"""A person at the line's commands: real steering on a real ledger, and fakes of the world."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from driver_world import PLACE, DriverWorld, Killed, kill, untapped
from rich.console import Console, RenderableType

from andon.adapters.ledger import Candidate
from andon.settings import Settings
from deployments import steering
from deployments.parts import Parts
from deployments.steering import Asked

NOBODY = "http://127.0.0.1:1"  # where no MLflow listens


class Desk:
    """Commands of one person, and what the terminal said."""

    def __init__(self, world: DriverWorld) -> None:
        self.world = world
        world.settings = Settings(project=world.settings.project, mlflow_url=NOBODY)
        self.out = Console(file=io.StringIO(), width=100)

    @property
    def parts(self) -> Parts:
        """Those of a new process."""
        it = self.world
        return Parts(it.settings, it.ledger, it.target, it.gateway, it.plain_driver())

    def asked(self, note: str = "") -> Asked:
        return Asked("churn", "production", "ada", note)

    def rollback(self, to: str = "") -> str:
        return self._said(
            lambda: steering.roll_back(self.parts, self.out, self.asked(), to, time.time())
        )

    def say(self, word: Callable[..., Any], note: str = "", **more: Any) -> str:
        """abort, pause, resume or answer."""
        return self._said(partial(word, self.parts, self.out, self.asked(note), **more))

    def _said(self, act: Callable[[], object]) -> str:
        assert isinstance(self.out.file, io.StringIO)
        before = len(self.out.file.getvalue())
        act()
        return self.out.file.getvalue()[before:]

    def deliver(self, *versions: str, **changes: Any) -> None:
        """Release versions, each with its bundle in the store."""
        for version in versions:
            self.bundle(version)
            release, _ = self.world.release(version, **changes)
            assert release.rollout.ended, release.rollout

    def bundle(self, version: str) -> Candidate:
        candidate = self.world.candidate(version)
        (self.world.settings.state / candidate.bundle).mkdir(parents=True, exist_ok=True)
        return candidate

    def leave(self, state: str, version: str, **changes: Any) -> None:
        """Begin a release, whose driver is killed when it sleeps in this state."""
        self.bundle(version)

        def tap(name: str) -> None:
            found = self.world.ledger.unfinished(*PLACE)
            if name == "sleep" and found and f"{found.rollout}" == state:
                kill()

        self.world.tap = tap
        with pytest.raises(Killed):
            self.world.release(version, **changes)
        self.world.tap = untapped


def text(*shown: RenderableType, width: int = 100) -> str:
    """What a terminal without colours shows."""
    console = Console(file=io.StringIO(), width=width)
    console.print(*shown, sep="\n")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
