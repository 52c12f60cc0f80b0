"""What is put on a registered version beside the model: its bundle and its reports."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from andon.adapters.files import key_of, tree_hash

BUNDLE_LIMIT = 256 << 20  # bytes; a larger bundle stays in the store, and tags say where
FILE_LIMIT = 20 << 20
REPORTS = {".html", ".md", ".json", ".svg", ".png", ".txt", ".csv", ".yaml"}  # never rows or models


@dataclass(frozen=True)
class Extras:
    """What a version gets when its bundle is sealed; `files` may name folders, and what is not."""

    tags: dict[str, str]
    bundle: Path | None = None
    files: tuple[Path, ...] = ()
    description: str = ""


def content_of(extras: Extras) -> tuple[dict[str, Path], list[str]]:
    """Every file by its place on the version, and what was left out, with why."""
    left_out: list[str] = []
    content = {**dict(_bundle(extras.bundle, left_out)), **dict(_reports(extras.files, left_out))}
    return content, left_out


def _bundle(folder: Path | None, left_out: list[str]) -> Iterator[tuple[str, Path]]:
    if folder is None:
        return
    found = {path: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
    if (size := sum(found.values())) > BUNDLE_LIMIT:
        left_out.append(f"the bundle: {size:,} bytes, more than {BUNDLE_LIMIT:,}; it is {folder}")
        return
    yield from ((f"bundle/{path.name}", path) for path in found)


def _reports(files: Iterable[Path], left_out: list[str]) -> Iterator[tuple[str, Path]]:
    """Where each report goes; two of one name are told apart by their folder's name."""
    seen: set[str] = set()
    for given in files:
        for path in sorted(given.rglob("*")) if given.is_dir() else [given]:
            if not path.is_file() or path.suffix.lower() not in REPORTS:
                continue
            if path.stat().st_size > FILE_LIMIT:
                left_out.append(f"{path}: more than {FILE_LIMIT:,} bytes")
                continue
            inside = path.relative_to(given if given.is_dir() else given.parent).as_posix()
            top = given if given.is_dir() else given.parent
            name = inside if inside not in seen else f"{top.name}/{inside}"
            seen.add(name)
            yield f"reports/{name}", path


def mark_of(content: dict[str, Path], extras: Extras) -> str:
    """Changes with whatever is attached."""
    hashes = [f"{name}={tree_hash([path], path.parent)}" for name, path in sorted(content.items())]
    return key_of(*hashes, sorted(extras.tags.items()), extras.description)


@contextmanager
def staged(content: dict[str, Path]) -> Iterator[str]:
    """A folder that has every file at its place, by link."""
    with tempfile.TemporaryDirectory() as folder:
        for name, path in content.items():
            place = Path(folder) / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path.resolve())
        yield folder
