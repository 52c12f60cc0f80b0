"""The build context: a tar that depends on nothing but the files' names and contents."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

MTIME = 1_700_000_000


def write_context(
    out: IO[bytes],
    dockerfile: str,
    folders: Mapping[str, Path],
    leave_out: Collection[str] = (),
) -> None:
    """Write the Dockerfile, and `files/<place>/…` for each place in the image → folder here.

    Owners, times, order and modes are fixed, so equal files make an equal layer anywhere.
    Folders named in `leave_out` stay out, at any depth.
    """
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        _add_text(archive, "Dockerfile", dockerfile)
        for parent in _parents(folders):
            folder = _normal(tarfile.TarInfo(parent))
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
        for place, root in sorted(folders.items()):
            for path in (root, *_inside(root, leave_out)):
                name = PurePosixPath("files", place, path.relative_to(root).as_posix())
                archive.add(path, str(name), recursive=False, filter=_normal)


def _parents(places: Collection[str]) -> list[str]:
    """The folders on the way: left to the engine, they would carry the time of the build."""
    found = {str(parent) for place in places for parent in PurePosixPath("files", place).parents}
    return sorted(found - {"."})


def _inside(folder: Path, leave_out: Collection[str]) -> Iterator[Path]:
    """Everything below, in one order everywhere."""
    for path in sorted(folder.iterdir()):
        if path.name in leave_out:
            continue
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _inside(path, leave_out)


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    content = text.encode()
    entry = _normal(tarfile.TarInfo(name))
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def _normal(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime = MTIME
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry
