"""A model project's own code and its place in git."""

from __future__ import annotations

import importlib.util
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from andon.errors import LineError


@dataclass(frozen=True)
class Commit:
    """The code's version; `dirty` if tracked files differ from the commit."""

    sha: str
    dirty: bool

    def __str__(self) -> str:
        return self.sha[:12] + ("+dirty" if self.dirty else "")


def load_pipeline(project: Path, model: str) -> Any:
    """Call `pipeline()` of `models/<model>/pipeline.py`; raises LineError naming file and cause."""
    path = project / "models" / model / "pipeline.py"
    file = path.relative_to(project)
    if not path.is_file():
        raise LineError(f"{file}: no such file; it must define `def pipeline():`")
    spec = importlib.util.spec_from_file_location(f"andon_project_{model.replace('-', '_')}", path)
    if spec is None or spec.loader is None:
        raise LineError(f"{file}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        make = module.pipeline
    except AttributeError:
        raise LineError(f"{file}: defines no function `pipeline`") from None
    except (Exception, SystemExit) as error:  # the project's own code may raise anything
        raise LineError(f"{file}: {type(error).__name__}: {error}") from error
    try:
        return make()
    except (Exception, SystemExit) as error:
        raise LineError(f"{file}: pipeline() raised {type(error).__name__}: {error}") from error


def commit(project: Path) -> Commit:
    """The commit that is checked out; `unknown` outside git."""
    try:
        sha = _git(project, "rev-parse", "HEAD")
        changed = _git(project, "status", "--porcelain", "--untracked-files=no")
    except (subprocess.CalledProcessError, FileNotFoundError):
        return Commit("unknown", dirty=True)
    return Commit(sha, dirty=bool(changed))


def _git(project: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(project), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
