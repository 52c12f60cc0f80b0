"""Lines to a file, written by a thread of their own: a request never waits for the disk.

A batch is on its way to the disk after half a second at most. When the disk cannot keep up lines
are dropped and counted; when it fails, the batch in hand is counted as dropped and the next one
tries again. A service goes on without its log, but not silently: `/metrics` has the numbers.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

INTERVAL = 0.25  # seconds that lines may wait for company
CAPACITY = 16 * 2**20  # bytes that may wait


@dataclass(frozen=True)
class _Item:
    data: bytes
    lines: int
    written: Future[bool] | None = None


class Log:
    """Appends to `<folder>/<epoch_ms>-<pid>.jsonl`, a file of its own that the first line makes."""

    def __init__(
        self,
        folder: Path,
        *,
        capacity: int = CAPACITY,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self.rows = 0  # lines written
        self.dropped = 0
        self.errors = 0
        self._capacity = capacity
        self._interval = interval
        self._clock = clock
        self._file: int | None = None
        self._size = 0
        self._waiting: list[_Item] = []
        self._waiting_bytes = 0
        self._closing = False
        self._changed = threading.Condition()
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"log {folder.name}", daemon=True)
        self._thread.start()

    def put(self, lines: Sequence[bytes]) -> None:
        """Write them soon; each ends with a line feed."""
        self._enqueue(_Item(b"".join(lines), len(lines)))

    def put_safely(self, lines: Sequence[bytes]) -> Future[bool]:
        """Write them now. The future says whether all of them are on the disk."""
        written: Future[bool] = Future()
        self._enqueue(_Item(b"".join(lines), len(lines), written))
        return written

    def written(self, lines: Sequence[bytes]) -> asyncio.Future[bool]:
        """The same, for who awaits it."""
        return asyncio.wrap_future(self.put_safely(lines))

    def close(self) -> None:
        """Write what waits, then stop. Lines that come later are dropped."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._hurry.set()
        self._thread.join()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _enqueue(self, item: _Item) -> None:
        with self._changed:
            fits = self._waiting_bytes + len(item.data) <= self._capacity
            if fits and not self._closing:
                self._waiting.append(item)
                self._waiting_bytes += len(item.data)
                self._changed.notify()
                if item.written is not None:
                    self._hurry.set()
                return
            self.dropped += item.lines
        if item.written is not None:
            item.written.set_result(False)

    def _run(self) -> None:
        while batch := self._next():
            lines = sum(item.lines for item in batch)
            safely = any(item.written is not None for item in batch)
            done = self._write(b"".join(item.data for item in batch), safely)
            with self._changed:
                self.rows += lines if done else 0
                self.dropped += 0 if done else lines
            for item in batch:
                if item.written is not None:
                    item.written.set_result(done)

    def _next(self) -> list[_Item]:
        """The lines to write now; none: the log is closed and everything is written."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
        self._hurry.wait(self._interval)
        with self._changed:
            batch, self._waiting, self._waiting_bytes = self._waiting, [], 0
            if not self._closing:
                self._hurry.clear()
            return batch

    def _write(self, data: bytes, safely: bool) -> bool:
        try:
            file = self._open()
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(file, rest) :]
            if safely:
                os.fsync(file)
            self._size += len(data)
        except OSError as error:
            self._fail(error)
            return False
        return True

    def _open(self) -> int:
        """The file; its name is new even if another process has this number and started now."""
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            stamp = int(self._clock() * 1000)
            flags = os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_WRONLY
            while self._file is None:
                try:
                    path = self.folder / f"{stamp}-{os.getpid()}.jsonl"
                    self._file = os.open(path, flags, 0o644)
                except FileExistsError:
                    stamp += 1
            self._size = 0
        return self._file

    def _fail(self, error: OSError) -> None:
        if not self.errors:
            print(f"andon serving: {self.folder}: log not written: {error}", file=sys.stderr)
        self.errors += 1
        if self._file is not None:
            try:
                os.ftruncate(self._file, self._size)  # no half lines
            except OSError:
                os.close(self._file)
                self._file = None
