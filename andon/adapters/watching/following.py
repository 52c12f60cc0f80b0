"""Follows logs that others write: each byte is read once, and half-written ends are left for later.

Memory does not grow with what was read; a look reads a bounded amount, and the next one goes on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from andon.adapters.arrow_segments import Batch, parse
from andon.adapters.inference_log import CLOCKS

CHUNK = 8 * 2**20  # bytes of a file at once; doubled where a message is larger
BUDGET = 32 * 2**20  # bytes of a look
LINES = 2**20  # bytes of a file of lines from which on its beginning is looked for


@dataclass
class _Place:
    """How far a file was read. `seen`: its size when everything in it was."""

    offset: int = 0
    head: bytes = b""
    seen: int = -1
    chunk: int = CHUNK
    dead: bool = False


class _Follower:
    """Files of a folder with a suffix that may have something of a time or later."""

    def __init__(self, folder: Path, suffix: str, since: float) -> None:
        self._folder, self._suffix, self._since = folder, suffix, since
        self._places: dict[str, _Place] = {}
        self.corrupt = 0

    def _grown(self) -> Iterator[tuple[Path, _Place, int]]:
        """Files with something new, and their sizes, oldest name first; raises OSError."""
        try:
            with os.scandir(self._folder) as entries:
                found = {it.name: it.stat() for it in entries if it.name.endswith(self._suffix)}
        except FileNotFoundError:
            found = {}
        for gone in self._places.keys() - found.keys():
            del self._places[gone]
        for name in sorted(found):
            stat, place = found[name], self._places.get(name)
            if place is None:
                if stat.st_mtime + CLOCKS < self._since:
                    continue
                place = self._places[name] = _Place()
            if not place.dead and stat.st_size != place.seen:
                yield self._folder / name, place, stat.st_size


class SegmentFollower(_Follower):
    """New rows of one version: whole batches, probes and what came before `since` left out.

    `columns`: kinds of the input columns that are logged, and `masked`, which are not; None until
    a segment was seen.
    """

    def __init__(self, folder: Path, since: float) -> None:
        super().__init__(folder, ".arrows", since)
        self.columns: dict[str, str] | None = None
        self.masked: frozenset[str] = frozenset()

    def read(self) -> list[Batch]:
        """What has come since the last call. Raises OSError if the log cannot be read."""
        found: list[Batch] = []
        budget = BUDGET
        for path, place, size in self._grown():
            if budget <= 0:
                break
            budget -= min(size - place.offset, place.chunk)
            found += self._read(path, place, size)
        first = int(self._since * 1e6)
        parts = (it.part(it.times >= first) for it in found)
        return [it for it in parts if len(it.times)]

    def _read(self, path: Path, place: _Place, size: int) -> list[Batch]:
        if size < place.offset:
            # Whole batches were taken back by a disk that is full: what follows is out of step.
            place.dead = True
            self.corrupt += 1
            return []
        fresh = _bytes(path, place.offset, place.chunk)
        parsed = parse(place.head + fresh)
        before = len(place.head)
        if not place.head and parsed.head:
            place.head = fresh[: parsed.head]
        at = place.offset
        place.offset += max(0, max(parsed.end, parsed.head) - before)
        self.corrupt += parsed.corrupt
        place.dead = parsed.broken
        whole = at + len(fresh) >= size
        place.seen = size if whole else -1
        if not whole and place.offset == at:
            place.chunk *= 2
        if parsed.batches:
            self._know(parsed.batches[0])
        return parsed.batches

    def _know(self, batch: Batch) -> None:
        kinds = {it.name: str(it.type) for it in batch.rows.schema}
        self.columns = {it: kind for it, kind in kinds.items() if it.startswith("in.")}
        self.masked = batch.masked


class Label(msgspec.Struct, frozen=True):
    """What turned out to be true of a prediction."""

    id: str
    time: float
    label: str | int | float | bool


class LabelFollower(_Follower):
    """New lines of feedback since a time."""

    def __init__(self, folder: Path, since: float) -> None:
        super().__init__(folder, ".jsonl", since)
        self._decode = msgspec.json.Decoder(Label).decode

    def read(self) -> list[Label]:
        """What has come since the last call. Raises OSError if the labels cannot be read."""
        found: list[Label] = []
        for path, place, size in self._grown():
            if place.seen < 0 and place.offset == 0 and size > LINES:
                place.offset = self._first(path, size)
            place.offset = min(place.offset, size)
            fresh = _bytes(path, place.offset, CHUNK)
            end = fresh.rfind(b"\n") + 1
            place.seen = size if place.offset + len(fresh) >= size else -1
            place.offset += end
            for line in fresh[:end].splitlines():
                label = self._label(line)
                self.corrupt += label is None
                if label is not None and label.time >= self._since:
                    found.append(label)
        return found

    def _label(self, line: bytes) -> Label | None:
        try:
            return self._decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def _first(self, path: Path, size: int) -> int:
        """Near where the time begins: lines stand in the order of their times."""
        low, high = 0, size
        while high - low > LINES // 4:
            middle = (low + high) // 2
            lines = _bytes(path, middle, 65_536).split(b"\n")[1:]
            times = [it.time for it in map(self._label, lines) if it is not None]
            if times and times[0] < self._since - CLOCKS:
                low = middle
            else:
                high = middle
        return low + _bytes(path, low, 65_536).find(b"\n") + 1 if low else 0


def _bytes(path: Path, offset: int, most: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(most)
