"""One object of DVC's cache and remote, by its MD5, and never trusted unread.

DVC itself takes what a remote hands out for what was asked for, and believes its index when it
says that a remote has something. So objects are moved here one by one, with DVC's own file
systems: what comes is hashed before it gets into the cache, what goes is looked at afterwards.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from andon.errors import DataError, first_line


def md5_of(path: Path) -> str:
    """MD5 of a file (hex), as DVC counts it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def remote_name(repo: Any) -> str | None:
    """The default remote's name; None if there is none."""
    name = repo.config["core"].get("remote")
    return str(name) if name else None


def cached(repo: Any, md5: str) -> Path | None:
    """The object in the cache. A rotten one is removed: it is nobody's data."""
    path = Path(repo.cache.local.oid_to_path(md5))
    if not path.is_file():
        return None
    if md5_of(path) == md5:
        return path
    path.unlink()
    return None


def download(repo: Any, md5: str, shown: str) -> bool:
    """Bring an object into the cache; False if the remote has none.

    Raises DataError if the remote cannot be read, or has something else under that name.
    """
    name, odb = remote_name(repo), _remote(repo, "pull", shown)
    where = odb.oid_to_path(md5)
    with TemporaryDirectory(dir=repo.tmp_dir) as folder:
        path = Path(folder) / "object"
        try:
            odb.fs.get_file(where, str(path))
        except FileNotFoundError:
            return False
        except Exception as error:
            raise _unreachable(shown, name, error) from error
        found = md5_of(path)
        if found != md5:
            raise DataError(
                f"{shown}: damaged in the remote {name!r}: {odb.fs.unstrip_protocol(where)} has "
                f"{path.stat().st_size:,} bytes with MD5 {found}; it was not used. Delete it "
                "there, and push again from where the file is whole"
            )
        _add(repo, path, md5)
    return True


def upload(repo: Any, path: Path, md5: str, shown: str) -> None:
    """Put a file into the remote, unless it is there in its full size, and look whether it is."""
    name, odb = remote_name(repo), _remote(repo, "push", shown)
    where, size = odb.oid_to_path(md5), path.stat().st_size
    try:
        if _size(odb, where) != size:
            odb.fs.put_file(str(path), where)
            odb.protect(where)
        found = _size(odb, where)
    except Exception as error:
        raise _unreachable(shown, name, error) from error
    if found != size:
        raise DataError(
            f"{shown}: the remote {name!r} has {found} of {size} bytes after the upload; push again"
        )


def _remote(repo: Any, what: str, shown: str) -> Any:
    from dvc.exceptions import DvcException

    try:
        odb = repo.cloud.get_remote_odb(None, what)
        _forget(odb)
    except DvcException:
        raise
    except Exception as error:
        raise _unreachable(shown, remote_name(repo), error) from error
    return odb


def _forget(odb: Any) -> None:
    """What was listed before may not be so any more."""
    if (forget := getattr(odb.fs.fs, "invalidate_cache", None)) is not None:
        forget()


def _size(odb: Any, where: str) -> int | None:
    _forget(odb)
    try:
        return int(odb.fs.info(where)["size"])
    except FileNotFoundError:
        return None


def _add(repo: Any, path: Path, md5: str) -> None:
    from dvc.fs import localfs

    repo.cache.local.add(str(path), localfs, md5, hardlink=False)


def _unreachable(shown: str, name: str | None, error: Exception) -> DataError:
    why = getattr(error, "strerror", None) or first_line(error)
    return DataError(f"{shown}: the remote {name!r} does not answer as it should: {why}")
