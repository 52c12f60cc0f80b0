"""A model project's own code and its place in git."""

from __future__ import annotations

import functools
import importlib.util
import numbers
import subprocess
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from numpy.typing import NDArray

from andon import scorers
from andon.adapters.files import file_hash
from andon.errors import LineError
from andon.metrics import MetricInfo
from andon.spec import ModelSpec


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
    make = _function(path, str(file), "pipeline", f"andon_project_{model.replace('-', '_')}")
    try:
        return make()
    except (Exception, SystemExit) as error:
        raise LineError(f"{file}: pipeline() raised {type(error).__name__}: {error}") from error


def metric_of(spec: ModelSpec, project: Path) -> MetricInfo:
    """The metric that decides: ours, scikit-learn's, or a function of the project's.

    Raises LineError naming the file if there is no such function; so does the metric's `of`, with
    file and line, if the function raises or returns no number.
    """
    if not scorers.is_function(spec.metric_name):
        return scorers.named(spec.metric_name, spec.task)
    name = spec.metric_name.partition(":")[2]
    path = metrics_file(project, spec.name)
    file = str(path.relative_to(project))
    function = _function(path, file, name, f"andon_metrics_{spec.name.replace('-', '_')}")
    return MetricInfo(
        frozenset({spec.task}),
        spec.metric.greater_is_better,
        spec.metric.uses or scorers.USES[spec.task][0],
        functools.partial(_measured, function, path, file),
        spec.metric_name,
    )


def metrics_file(project: Path, model: str) -> Path:
    """Where a project's own metrics stand."""
    return project / "models" / model / scorers.FILE


def measured_by(spec: ModelSpec, project: Path) -> str:
    """The metric's name, and the code of a project's own: what a build's measures depend on."""
    path = metrics_file(project, spec.name)
    if not scorers.is_function(spec.metric_name) or not path.is_file():
        return spec.metric_name
    return (
        f"{spec.metric_name} {spec.metric.greater_is_better} {spec.metric.uses} {file_hash(path)}"
    )


def _measured(
    function: Callable[..., Any], path: Path, file: str, y: NDArray[Any], output: NDArray[Any]
) -> float:
    name = getattr(function, "__name__", "?")
    try:
        found = function(y.copy(), output.copy())  # it may sort them in place
    except (Exception, SystemExit) as error:
        lines = [
            it.lineno
            for it in traceback.extract_tb(error.__traceback__)
            if it.filename == str(path)
        ]
        line = f":{lines[-1]}" if lines else ""
        what = f"{name}() raised {type(error).__name__}: {error}"
        raise LineError(f"{file}{line}: {what}") from error
    if isinstance(found, bool) or not isinstance(found, numbers.Real):
        code = getattr(function, "__code__", None)
        line = f":{code.co_firstlineno}" if code else ""
        raise LineError(
            f"{file}{line}: {name}() returned {type(found).__name__}, expected a number"
        )
    return float(found)


def _function(path: Path, file: str, name: str, module_name: str) -> Callable[..., Any]:
    """A function of a file of the project; raises LineError naming file and cause."""
    if not path.is_file():
        raise LineError(f"{file}: no such file; it must define `def {name}(...):`")
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise LineError(f"{file}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # the project's own code may raise anything
        raise LineError(f"{file}: {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if not callable(found):
        raise LineError(f"{file}: defines no function `{name}`")
    return cast(Callable[..., Any], found)


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
