"""DVC: data by its content. The project's pointers, and the line's own store of live data.

A pointer (`<file>.dvc`, committed) says which MD5 a data file must have; the file itself is in
DVC's cache or remote. What DVC hands out is hashed here again: nothing is trained on data that
is not what the pointer says.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import yaml

from andon.errors import DataError
from andon.settings import Settings

T = TypeVar("T")

LOCK_SECONDS = 120.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def md5_of(path: Path) -> str:
    """MD5 of a file (hex), as DVC counts it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def pointer(path: Path) -> Path:
    """Where the pointer of a data file is."""
    return path.with_name(path.name + ".dvc")


def tracked(project: Path, path: Path) -> tuple[str, int]:
    """(MD5, size) that the pointer of a data file names; raises DataError if there is none."""
    full, shown = _resolve(project, path)
    where = pointer(full)
    try:
        out = yaml.safe_load(where.read_text(encoding="utf-8"))["outs"][0]
        md5, size = str(out["md5"]), int(out["size"])
    except FileNotFoundError:
        hint = "" if full.is_file() else " (the data file is not there either)"
        raise DataError(
            f"{shown}: not tracked by DVC{hint}; run `dvc add {shown}` and commit {shown}.dvc"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, LookupError, TypeError, ValueError):
        raise DataError(
            f"{shown}.dvc: not a DVC pointer of one file; run `dvc add {shown}`"
        ) from None
    if md5.endswith(".dir"):
        raise DataError(f"{shown}: a folder; `data` has to be one Parquet or CSV file")
    return md5, size


def fetch(project: Path, path: Path) -> Path:
    """The data file, present and exactly what its pointer says.

    A missing one is taken from DVC's cache, else pulled from the remote. Raises DataError if it
    cannot be had, or if the file that is there is another.
    """
    full, shown = _resolve(project, path)
    md5, _ = tracked(project, path)
    if not full.is_file():
        _with_repo(project, lambda repo: _restore(repo, full), shown)
    if not full.is_file():
        raise DataError(
            f"{shown}: missing, and MD5 {md5} is neither in DVC's cache nor in its remote; "
            f"run `make data` for the examples, or `dvc pull {shown}.dvc`"
        )
    found = md5_of(full)
    if found != md5:
        raise DataError(
            f"{shown}: its MD5 is {found}, but {shown}.dvc says {md5}; if the change is meant, "
            f"run `dvc add {shown}` and commit the pointer; if not, "
            f"`dvc checkout --force {shown}.dvc`"
        )
    return full


def track(project: Path, path: Path) -> str:
    """`dvc add`: writes the pointer and puts the content in the cache; returns the MD5."""
    full, shown = _resolve(project, path)
    if not full.is_file():
        raise DataError(f"{shown}: no such file")
    _with_repo(project, lambda repo: repo.add([str(full)]), shown)
    return _agreed(project, full, shown)


def push(project: Path, path: Path) -> None:
    """`dvc push` of one data file to the default remote."""
    full, shown = _resolve(project, path)
    _with_repo(project, lambda repo: repo.push([str(pointer(full))]), shown)


def add_live(settings: Settings, model: str, name: str, parquet: Path) -> str:
    """Keep a live data set in the line's own DVC repository; returns its MD5.

    The same content under the same name again changes nothing.
    """
    root, target = _live(settings, model, name)
    md5 = md5_of(parquet)
    if (
        target.is_file()
        and pointer(target).is_file()
        and tracked(root, target)
        == (
            md5,
            parquet.stat().st_size,
        )
    ):
        return md5

    def add(repo: Any) -> None:
        temporary = target.with_name(f".{target.name}.new")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(parquet, temporary)
        temporary.replace(target)
        repo.add([str(target)])

    _with_repo(root, add, target.name)
    return _agreed(root, target, target.name)


def fetch_live(settings: Settings, model: str, name: str) -> Path:
    """A live data set from the line's own DVC repository, as it was added."""
    root, target = _live(settings, model, name)
    if not pointer(target).is_file():
        raise DataError(f"{model}: no live data set {name!r} in {root}")
    return fetch(root, target)


def _agreed(root: Path, full: Path, shown: str) -> str:
    md5, _ = tracked(root, full)
    found = md5_of(full)
    if found != md5:
        raise DataError(
            f"{shown}: changed while DVC was adding it ({md5} to {found}); run it again"
        )
    return md5


def _resolve(project: Path, path: Path) -> tuple[Path, str]:
    """The full path, and how a person in the project's folder would write it."""
    full = path if path.is_absolute() else project / path
    shown = full.relative_to(project) if full.is_relative_to(project) else full
    return full, str(shown)


def _live(settings: Settings, model: str, name: str) -> tuple[Path, Path]:
    for part in (model, name):
        if not _NAME.fullmatch(part):
            raise DataError(f"{part!r}: not a name for live data: letters, digits, '.', '_', '-'")
    root = settings.state / "dvc"
    if not (root / ".dvc" / "config").is_file():
        _create(root)
    return root, root / model / f"{name}.parquet"


def _create(root: Path) -> None:
    """What `dvc init --no-scm` does; the config is written last, so half of it is nothing."""
    try:
        (root / ".dvc").mkdir(parents=True, exist_ok=True)
        # The project's default remote may live in the same folder: not data of this one.
        (root / ".dvcignore").write_text("/remote\n", encoding="utf-8")
        temporary = root / ".dvc" / f"config.{os.getpid()}"
        temporary.write_text("[core]\n    no_scm = true\n    analytics = false\n", encoding="utf-8")
        temporary.replace(root / ".dvc" / "config")
    except OSError as error:
        raise DataError(f"{root}: cannot write: {error.strerror or error}") from None


def _restore(repo: Any, full: Path) -> None:
    from dvc.exceptions import CheckoutError, DvcException

    if full.is_file():  # another run was first
        return
    target = str(pointer(full))
    try:
        repo.checkout([target])
    except CheckoutError:
        try:
            repo.pull([target])
        except DvcException:
            return  # the caller sees that the file is missing, and says what to do


def _with_repo(project: Path, action: Callable[[Any], T], shown: str) -> T:
    """Do something with DVC, one after another: DVC itself fails when its lock is taken."""
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.lock import LockError
    from dvc.repo import Repo

    end = time.monotonic() + LOCK_SECONDS
    try:
        root = Path(Repo.find_root(str(project)))
        lock = root / ".dvc" / "tmp" / "andon.lock"
        lock.parent.mkdir(exist_ok=True)
        config = _config(root)
        with _exclusive(lock, end), _quiet():
            while True:
                try:
                    with Repo(str(root), config=config) as repo:
                        return action(repo)
                except LockError:  # somebody's `dvc` in a terminal
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.1)
    except NotDvcRepoError:
        raise DataError(f"{project}: no DVC repository; run `dvc init` there") from None
    except DvcException as error:
        raise DataError(f"{shown}: DVC says: {error}") from error
    except OSError as error:
        raise DataError(f"{error.filename or shown}: {error.strerror or error}") from error


def _config(root: Path) -> dict[str, Any]:
    """What we ask of DVC beyond the repository's own config."""
    # By default DVC keeps its indexes in a folder that all users of the machine share.
    core: dict[str, Any] = {"site_cache_dir": str(root / ".dvc" / "tmp" / "site")}
    if not any((folder / ".git").exists() for folder in (root, *root.parents)):
        core["no_scm"] = True  # an unpacked copy of a project: DVC insists on Git otherwise
    return {"core": core}


@contextmanager
def _exclusive(lock: Path, end: float) -> Iterator[None]:
    """Hold a lock file; the kernel lets go of it when the process dies."""
    with lock.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise DataError(f"{lock}: another run holds DVC; try again later") from None
                time.sleep(0.05)
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars, spinners or warnings: errors come back as exceptions."""
    from dvc.ui import ui

    logger, console = logging.getLogger("dvc"), ui.error_console
    level, quiet = logger.level, console.quiet
    logger.setLevel(logging.CRITICAL + 1)
    console.quiet = True
    try:
        yield
    finally:
        logger.setLevel(level)
        console.quiet = quiet
