"""DVC's pointers, `<file>.dvc`: which content a data file must have, now and in git's history."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from andon.errors import DataError


@dataclass(frozen=True)
class Version:
    """A content that the pointer named from a commit on; an empty commit: not committed yet."""

    md5: str
    size: int
    commit: str = ""
    date: str = ""
    subject: str = ""


def pointer(path: Path) -> Path:
    """Where the pointer of a data file is."""
    return path.with_name(path.name + ".dvc")


def resolve(project: Path, path: Path) -> tuple[Path, str]:
    """The full path, and how a person in the project's folder would write it."""
    full = path if path.is_absolute() else project / path
    shown = full.relative_to(project) if full.is_relative_to(project) else full
    return full, str(shown)


def tracked(project: Path, path: Path) -> tuple[str, int]:
    """(MD5, size) that the pointer of a data file names; raises DataError if there is none."""
    full, shown = resolve(project, path)
    try:
        text = pointer(full).read_text(encoding="utf-8")
    except FileNotFoundError:
        hint = "" if full.is_file() else " (the data file is not there either)"
        raise DataError(
            f"{shown}: not tracked by DVC{hint}; run `dvc add {shown}` and commit {shown}.dvc"
        ) from None
    except (OSError, UnicodeDecodeError):
        text = ""
    return _parsed(text, shown)


def history(project: Path, path: Path) -> list[Version]:
    """What the pointer named, newest first; the first may not be committed yet.

    Empty without a pointer. Outside git, it is what the pointer says now.
    """
    full, shown = resolve(project, path)
    file = str(pointer(full).relative_to(project))
    found = []
    log = _git(project, "log", "--format=%H%x1f%cs%x1f%s", "--", file) or ""
    for line in log.splitlines():
        commit, date, subject = line.split("\x1f", 2)
        text = _git(project, "show", f"{commit}:./{file}")
        try:
            md5, size = _parsed(text or "", shown)
        except DataError:  # deleted in this commit, or no pointer then
            continue
        found.append(Version(md5, size, commit, date, subject))
    found = [it for i, it in enumerate(found) if i + 1 == len(found) or found[i + 1].md5 != it.md5]
    if pointer(full).is_file():
        now = Version(*tracked(project, path))
        if not found or found[0].md5 != now.md5:
            found.insert(0, now)
    return found


def at(project: Path, path: Path, revision: str) -> str | None:
    """The MD5 that the pointer named in a git revision; None if there is no such."""
    full, shown = resolve(project, path)
    file = pointer(full).relative_to(project)
    if revision.startswith("-"):
        return None
    text = _git(project, "show", f"{revision}:./{file}")
    return None if text is None else _parsed(text, f"{revision}:{shown}")[0]


def _parsed(text: str, shown: str) -> tuple[str, int]:
    try:
        out = yaml.safe_load(text)["outs"][0]
        md5, size = str(out["md5"]), int(out["size"])
    except (yaml.YAMLError, LookupError, TypeError, ValueError):
        raise DataError(
            f"{shown}.dvc: not a DVC pointer of one file; run `dvc add {shown}`"
        ) from None
    if md5.endswith(".dir"):
        raise DataError(f"{shown}: a folder; `data` has to be one Parquet or CSV file")
    return md5, size


def _git(project: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(project), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (subprocess.CalledProcessError, FileNotFoundError):
        return None
