"""What a build was made with: code as git knows it, the environment, and the lock."""

from __future__ import annotations

import ast
import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from andon.adapters.files import SETTINGS_FILE, file_hash
from andon.adapters.masking import masked
from andon.spec import ModelSpec

LIBRARIES = ("scikit-learn", "numpy", "scipy", "pandas", "skops")
LOCK = "uv.lock"
PATCH = "code.patch"
MOST = 1 << 20  # bytes of a patch
_ABSENT = "not a git repository"
_NEVER = ("**/__pycache__/**", "**/.pytest_cache/**")


@dataclass(frozen=True)
class Code:
    """A model's code in git: the commit, and which files differ from it or are not in it.

    `problem` says why git could not tell; outside of git there is no commit and no problem.
    """

    commit: str | None
    changed: tuple[str, ...] = ()
    problem: str = ""

    @property
    def facts(self) -> dict[str, Any]:
        """For facts.json."""
        return {"commit": self.commit or "unknown", "changed": list(self.changed)}


def environment(project: Path) -> dict[str, Any]:
    """What else decides what a training gives."""
    lock = project / LOCK
    return {
        "python": platform.python_version(),
        "os": platform.platform(),
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "libraries": {it: version(it) for it in LIBRARIES},
        "lock": file_hash(lock) if lock.is_file() else None,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (it.partition(":")[2].strip() for it in lines if it.startswith("model name"))
    return next(named, platform.machine())


def code_files(project: Path, model: str) -> list[Path]:
    """`pipeline.py`, and the project's own modules that it imports, as far as its text tells."""
    folder = project / "models" / model
    waiting, found = [folder / "pipeline.py"], dict[Path, None]()
    while waiting:
        path = waiting.pop()
        if path in found or not path.is_file():
            continue
        found[path] = None
        for name in _imported(path):
            waiting += _modules(name, (folder, project))
    return sorted(found)


def _imported(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # whoever runs it says so
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (it.name for it in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{it.name}" for it in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = "." * node.level + (node.module or "")
            yield from (f"{package}.{it.name}" for it in node.names)


def _modules(name: str, roots: Sequence[Path]) -> list[Path]:
    """Files that an absolute import of `name` may run, packages on the way too."""
    parts = name.split(".")
    if not all(parts):
        return []  # relative: not for a file that is loaded by its path
    for root in roots:
        if (root / parts[0]).is_dir() or (root / f"{parts[0]}.py").is_file():
            packages = [root.joinpath(*parts[:i], "__init__.py") for i in range(1, len(parts) + 1)]
            modules = [
                root.joinpath(*parts[:i]).with_suffix(".py") for i in range(1, len(parts) + 1)
            ]
            return [*packages, *modules]
    return []


def code_of(project: Path, spec: ModelSpec) -> Code:
    """The commit, and what differs from it of the model's folder, its shared code and settings."""
    try:
        inside = _git(project, "rev-parse", "--show-prefix").strip()
    except FileNotFoundError:
        within = any((it / ".git").exists() for it in (project, *project.parents))
        return Code(None, problem="git is not installed" if within else "")
    except subprocess.CalledProcessError as error:
        said = str(error.stderr).strip()
        return Code(None, problem="" if _ABSENT in said else said)
    try:
        commit = _git(project, "rev-parse", "--verify", "-q", "HEAD").strip()
    except subprocess.CalledProcessError:  # none yet
        commit = ""
    listed = _git(
        project,
        "status",
        "--porcelain",
        "-z",
        "--no-renames",
        "-uall",
        "--",
        *_paths(project, spec),
    )
    names = (it[3:].removeprefix(inside) for it in listed.split("\0") if it)
    return Code(commit or None, tuple(sorted(names)), "" if commit else "there is no commit yet")


def _paths(project: Path, spec: ModelSpec) -> list[str]:
    """Pathspecs of what decides on a delivery; what DVC has of the data is not git's."""
    model = f"models/{spec.name}"
    code = [str(it.relative_to(project)) for it in code_files(project, spec.name)]
    there = [it for it in (SETTINGS_FILE, LOCK) if (project / it).is_file()]
    never = [f":(exclude,glob){it}" for it in _NEVER]
    return [model, *code, *there, f":(exclude){model}/{spec.data}", *never]


def patch(project: Path, code: Code) -> str:
    """The difference from the commit, untracked files too, without secrets and not endless."""
    parts = []
    if code.commit and code.changed:
        parts.append(_git(project, "diff", "HEAD", "--relative", "--", *code.changed))
        listed = _git(project, "ls-files", "-z", "--others", "--", *code.changed)
        for name in filter(None, listed.split("\0")):
            parts.append(_git(project, "diff", "--no-index", "--", "/dev/null", name, fine=1))
    text = masked("".join(parts))
    if len(text) > MOST:
        text = f"{text[:MOST]}\n… and {len(text) - MOST:,} more characters\n"
    return text


def _git(project: Path, *arguments: str, fine: int = 0) -> str:
    """What git says; raises CalledProcessError with its reason."""
    done = subprocess.run(
        ["git", "-C", str(project), "-c", "core.quotePath=false", *arguments],
        capture_output=True, text=True, errors="replace", check=False,
        env={**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"},
    )  # fmt: skip
    if done.returncode not in (0, fine):
        raise subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
    return done.stdout
