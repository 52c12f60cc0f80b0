"""A place with a ledger of its own, and monitor runs whose verdicts are given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml
from prefect.logging import disable_run_logger

import tasks.act
from andon.adapters import database
from andon.adapters.files import load_settings
from andon.adapters.ledger import Alert, Incident, Ledger
from andon.rollout import Phase, Rollout
from andon.spec import Step
from andon.verdict import Outcome, Verdict
from tasks.act import act_on
from tasks.line import Job, _ledger, ledger_of
from tasks.results import Watched

FAIL, PASS, UNKNOWN = Outcome.FAIL, Outcome.PASS, Outcome.INCONCLUSIVE


@dataclass
class Place:
    """A model of its own in production; Prefect is a list of the alerts that were posted."""

    project: Path
    ledger: Ledger
    model: str = field(default_factory=lambda: f"m{uuid4().hex[:12]}")
    posted: list[Alert] = field(default_factory=list)
    labelled: int = 5_000
    away: bool = False

    def spec(self, monitors: list[dict[str, Any]], **more: Any) -> None:
        folder = self.project / "models" / self.model
        folder.mkdir(parents=True, exist_ok=True)
        said = {"data": "d.csv", "target": "y", "task": "binary", "monitors": monitors, **more}
        (folder / "model.yaml").write_text(yaml.safe_dump(said))

    def send(self, alert: Alert) -> None:
        if self.away:
            raise httpx.ConnectError("nobody answers")
        self.posted.append(alert)

    def see(self, version: str = "", **outcomes: Outcome) -> None:
        """A monitor run: `drift=FAIL` and so on."""
        job = Job(run_id="r", flow="monitor", model=self.model, trigger="test")
        act_on.fn(job, "production", watched(version, outcomes))

    def serve(self, version: str, run_id: str = "r") -> None:
        """A version becomes champion."""
        rollout = Rollout(
            candidate=f"v{version}", champion=None, steps=(Step(weight=100),), since=0.0
        )
        opened = self.ledger.open_release(
            rollout, environment="production", model=self.model, version=version, kind="release",
            trigger="t", run_id=run_id,
        )  # fmt: skip
        self.ledger.save_release(opened, rollout.model_copy(update={"phase": Phase.PROMOTED}))

    def register(self, *versions: str) -> None:
        """Versions with a bundle each."""
        for version in versions:
            self.ledger.add_candidate(
                model=self.model, version=version, build=f"b{version}", snapshot="s", git_sha="g",
                git_dirty=False, bundle=f"bundles/{version}", digest="d", image=None, metrics={},
                trigger="t", run_id="r",
            )  # fmt: skip
            (load_settings().state / "bundles" / version).mkdir(parents=True, exist_ok=True)

    @property
    def alerts(self) -> list[Alert]:
        return self.ledger.alerts(self.model)

    @property
    def incidents(self) -> list[Incident]:
        return self.ledger.incidents(self.model)

    @property
    def open(self) -> Incident:
        (found,) = self.ledger.open_incidents(self.model, "production")
        return found


def watched(version: str, outcomes: dict[str, Outcome]) -> Watched:
    return Watched(
        windows=dict.fromkeys(outcomes, (1.0, 2.0)),
        rows=dict.fromkeys(outcomes, 900),
        verdicts={
            kind: (Verdict(check=f"{kind}: age", outcome=it, value=0.3, n=900, detail="moved"),)
            for kind, it in outcomes.items()
        },
        version=version,
    )


@contextmanager
def place_on(
    request: pytest.FixtureRequest, folder: Path, patch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """On SQLite or on a real PostgreSQL, as the fixture's parameter says."""
    patch.setenv("ANDON_PROJECT", str(folder))
    (folder / "andon.yaml").touch()
    url = f"sqlite:///{folder / 'ledger.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    patch.setattr(database, "url", lambda *_: url)
    found = Place(folder, ledger_of(load_settings()))
    patch.setattr(tasks.act, "send", found.send)
    patch.setattr(tasks.act, "count_labelled", lambda *_, **__: found.labelled)
    found.spec([{"kind": "drift"}])
    with disable_run_logger():
        yield found
    found.ledger.engine.dispose()
    _ledger.cache_clear()


class Killed(Exception):
    """The process is gone."""


class Mortal:
    """A ledger, of which the process that uses it dies at a call: before it, or right after."""

    def __init__(self, ledger: Ledger, at: int, *, done: bool) -> None:
        self._ledger, self.left, self._done = ledger, at, done

    def call(self, work: Any, *given: Any, **named: Any) -> Any:
        self.left -= 1
        if self.left == 0 and not self._done:
            raise Killed
        found = work(*given, **named)
        if self.left == 0:
            raise Killed
        return found

    def kills(self, patch: pytest.MonkeyPatch, module: Any) -> None:
        """The stations of a module work with it."""
        real = module.line_for

        def mortal(model: str) -> Any:
            line = real(model)
            return type(line)(line.settings, line.spec, self)

        patch.setattr(module, "line_for", mortal)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._ledger, name)
        if not callable(found):
            return found
        return lambda *given, **named: self.call(found, *given, **named)
