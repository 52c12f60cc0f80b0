"""A real project on a real platform: what the end-to-end tests deliver with."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from support import REPOSITORY

from andon.adapters import database
from andon.adapters.files import load_spec
from andon.adapters.ledger import Ledger, open_ledger
from andon.settings import Settings
from deployments.platform.programs import line_environment
from deployments.runs import Runs

ANDON = Path(sys.executable).parent / "andon"
QUICK = """
release:
  staging: {requests: 5}
  production:
    strategy: canary
    steps:
      - {weight: 20, seconds: 0, min_requests: 10}
      - {weight: 100, seconds: 0, min_requests: 10}
"""
LONG = 240.0  # seconds; for what never happens, not a speed limit


def copy_project(folder: Path, models: tuple[str, ...]) -> None:
    """Andon's own project with some of its models, as a git and DVC repository of its own."""
    shutil.copy(REPOSITORY / "prefect.yaml", folder)
    for model in models:
        source = REPOSITORY / "models" / model
        shutil.copytree(
            source, folder / "models" / model, ignore=shutil.ignore_patterns("__pycache__")
        )
    # No image unless a test asks for one; quick steps for the small models.
    (folder / "andon.yaml").write_text("image: 'off'\n")
    for model in set(models) - {"churn"}:
        with (folder / "models" / model / "model.yaml").open("a") as file:
            file.write(QUICK)
    (folder / ".gitignore").write_text(".andon/\n*.parquet\n__pycache__/\n")
    _run(folder, "git", "init", "-q")
    _run(folder, sys.executable, "-m", "dvc", "init", "-q")
    _run(folder, "git", "add", "-A")
    commit(folder, "the project")


def commit(folder: Path, message: str) -> None:
    """Commit everything."""
    _run(folder, "git", "add", "-A")
    author = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    _run(folder, "git", *author, "commit", "-q", "--allow-empty", "-m", message)


def _run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


@dataclass
class LineUnderTest:
    """The line of one project."""

    settings: Settings

    @property
    def project(self) -> Path:
        return self.settings.project

    @functools.cached_property
    def ledger(self) -> Ledger:
        return open_ledger(database.url(self.settings, "ledger"))

    @functools.cached_property
    def runs(self) -> Runs:
        return Runs(self.settings)

    def close(self) -> None:
        """Bring it down."""
        self.ledger.engine.dispose()
        self.runs.close()
        self.andon("down")

    def environment(self) -> dict[str, str]:
        """For `andon` as a person would call it in this project."""
        return {**os.environ, **line_environment(self.settings), "COLUMNS": "200"}

    def andon(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Call the command."""
        done = subprocess.run(
            [str(ANDON), *arguments],
            cwd=self.project,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"andon {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done

    def champion(self, model: str, environment: str = "production") -> str | None:
        """The version on the ledger."""
        release = self.ledger.champion(environment, model)
        return release and release.version

    def ask(
        self, model: str, record: dict[str, Any], environment: str = "production"
    ) -> httpx.Response:
        """One prediction through the gateway."""
        url = f"{self.settings.gateway_url}/{environment}/{model}/predict"
        return httpx.post(url, json={"records": [record]}, timeout=10)

    def sample(self, model: str) -> dict[str, Any]:
        """A record that the champion takes."""
        from serving.bundle import read_samples

        release = self.ledger.champion("production", model)
        assert release is not None
        bundle = self.settings.state / self.ledger.candidate_of(release).bundle
        return read_samples(bundle).records[0]

    def track(self, model: str) -> None:
        """After the data changed: `dvc add` and commit, as a person would."""
        data = load_spec(self.project, model).data
        _run(self.project, sys.executable, "-m", "dvc", "add", "-q", f"models/{model}/{data}")
        commit(self.project, f"other data for {model}")
