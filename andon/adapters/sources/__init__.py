"""Where rows come from: each source becomes files of this machine, which are then read as one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from andon.adapters.scans import Part
from andon.errors import DataError
from andon.spec import FilesSource, S3Source, Source, SqlSource

__all__ = ["Tell", "describe", "fetch", "parse"]

Tell = Callable[[str, float, float | None], None]  # what is at work, done, of how much
_GLOB = frozenset("*?[")


def parse(text: str, here: Path) -> Source:
    """A source as one writes it on the command line; a path is relative to `here`."""
    if text.startswith("s3://"):
        if not text.removeprefix("s3://").partition("/")[2]:
            raise DataError(f"{text}: names no object; wanted s3://BUCKET/KEY, or a glob of keys")
        return S3Source(kind="s3", url=text)
    if "://" in text:
        raise DataError(
            f"{text}: wanted a path, a glob or s3://…; a database goes into model.yaml's `source`, "
            "its URL into an environment variable"
        )
    return FilesSource(kind="files", path=str(here / Path(text).expanduser()))


def describe(source: Source) -> str:
    """A source in one line, for people; no passwords are in it."""
    if isinstance(source, FilesSource):
        return source.path
    if isinstance(source, S3Source):
        return source.url
    return f"the query of ${source.url_variable}"


def fetch(source: Source, base: Path, folder: Path, tell: Tell) -> list[Part]:
    """The source's rows as files, some of them in `folder`, in the order they are to be read.

    Paths are relative to `base`. Raises DataError that says what cannot be had.
    """
    if isinstance(source, FilesSource):
        return _files(source.path, base)
    if isinstance(source, S3Source):
        from andon.adapters.sources.s3 import download

        return download(source.url, folder, tell)
    if isinstance(source, SqlSource):
        from andon.adapters.sources.sql import spool

        return spool(source, folder, tell)
    raise AssertionError(source)


def _files(pattern: str, base: Path) -> list[Part]:
    from glob import glob

    path = base / pattern
    if path.is_file():  # though its name may look like a glob
        return [Part(path, pattern)]
    if path.is_dir():
        raise DataError(f"{pattern}: a folder; give a glob of its files, as {path.name}/*.parquet")
    if not _GLOB.intersection(pattern):
        raise DataError(f"{pattern}: no such file" + _relative_to(pattern, base))
    listed = (base / it for it in glob(pattern, root_dir=base, recursive=True))  # noqa: PTH207
    found = sorted(it for it in listed if it.is_file())
    if not found:
        raise DataError(f"{pattern}: no file matches" + _relative_to(pattern, base))
    return [Part(it, str(it.relative_to(base) if it.is_relative_to(base) else it)) for it in found]


def _relative_to(pattern: str, base: Path) -> str:
    return "" if Path(pattern).is_absolute() else f" in {base}"
