"""DVC: data by its content. The project's pointers, and the line's own store of live data.

A pointer (`<file>.dvc`, committed) says which MD5 a data file must have; the file itself is in
DVC's cache or remote. What DVC hands out is hashed here again: nothing is trained on data that
is not what the pointer says.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from andon.adapters.dvc_remote import cached, download, md5_of, remote_name, upload
from andon.adapters.pointers import pointer, resolve, tracked
from andon.errors import DataError
from andon.settings import Settings

T = TypeVar("T")

LOCK_SECONDS = 120.0
__all__ = ["add_live", "content", "fetch", "fetch_live", "md5_of", "pointer", "push", "replace"]
__all__ += ["remote_name", "track", "tracked"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def fetch(project: Path, path: Path) -> Path:
    """The data file, present and exactly what its pointer says.

    A missing one is taken from DVC's cache, else pulled from the remote. Raises DataError if it
    cannot be had, or if the file that is there is another.
    """
    full, shown = resolve(project, path)
    md5, _ = tracked(project, path)
    if not full.is_file():
        _with_repo(project, lambda repo: _restore(repo, full, md5, shown), shown)
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
    full, shown = resolve(project, path)
    if not full.is_file():
        raise DataError(f"{shown}: no such file")
    _with_repo(project, lambda repo: repo.add([str(full)]), shown)
    return _agreed(project, full, shown)


def replace(project: Path, path: Path, new: Path) -> str:
    """Put a finished file (of the same file system) in a data file's place, and track it.

    Returns the MD5. On any error the old file and its pointer are as they were.
    """
    full, shown = resolve(project, path)
    kept = full.with_name(f".{full.name}.old")

    def act(repo: Any) -> None:
        kept.unlink(missing_ok=True)  # of a run that was killed
        if full.is_file():
            os.link(full, kept, follow_symlinks=False)
        before = pointer(full).read_bytes() if pointer(full).is_file() else None
        try:
            new.replace(full)
            repo.add([str(full)])
        except BaseException:
            kept.replace(full) if kept.exists() else full.unlink(missing_ok=True)
            pointer(full).unlink(missing_ok=True)
            if before is not None:
                pointer(full).write_bytes(before)
            raise
        finally:
            kept.unlink(missing_ok=True)

    _with_repo(project, act, shown)
    return _agreed(project, full, shown)


def push(project: Path, path: Path) -> str | None:
    """Put one data file into the default remote; returns its name, None if there is none."""
    full, shown = resolve(project, path)
    md5, _ = tracked(project, path)
    fetch(project, path)

    def act(repo: Any) -> str | None:
        name = remote_name(repo)
        if name is not None:
            upload(repo, full, md5, shown)
        return name

    return _with_repo(project, act, shown)


def content(project: Path, md5: str, shown: str) -> Path:
    """A version of a data file, by its MD5, in DVC's cache; brought from the remote if need be."""

    def act(repo: Any) -> Path:
        path = cached(repo, md5)
        if path is None and remote_name(repo) and download(repo, md5, shown):
            path = cached(repo, md5)
        if path is None:
            raise DataError(f"{shown}: MD5 {md5} is neither in DVC's cache nor in its remote")
        return path

    return _with_repo(project, act, shown)


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


def _restore(repo: Any, full: Path, md5: str, shown: str) -> None:
    """From the cache or the remote; raises DataError if neither has it."""
    from dvc.exceptions import DvcException
    from dvc.lock import LockError

    if full.is_file():  # another run was first
        return
    target = str(pointer(full))
    try:
        if cached(repo, md5) or (remote_name(repo) and download(repo, md5, shown)):
            repo.checkout([target])
        elif remote_name(repo):
            repo.pull([target])  # remotes of another form: by version, or of an earlier DVC
    except LockError:
        raise
    except DvcException:
        if full.is_file():
            raise
    if not full.is_file():
        raise DataError(
            f"{shown}: missing, and MD5 {md5} is neither in DVC's cache nor in its remote; "
            f"run `make data` for the examples, or `dvc pull {shown}.dvc`"
        )


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

    console = ui.error_console
    loggers = [logging.getLogger(it) for it in ("dvc", "dvc_data", "dvc_objects")]
    levels, quiet = [it.level for it in loggers], console.quiet
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    console.quiet = True
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        console.quiet = quiet
