"""The inference log: answered rows, in Arrow segments that a thread of its own writes.

A request only leaves a tuple behind. Four times a second the thread makes record batches of what
has come and appends each, as a whole message with one write, to the process's own IPC stream. Where
many come, an event loop makes the batches, between two requests: two threads that both want the
interpreter cost more than the batch. When the disk cannot keep up rows are dropped and counted;
when it fails, the batch in hand is counted as dropped and the next one tries again. A service goes
on without its log, but not silently: `/metrics` has the numbers.
"""

from __future__ import annotations

import asyncio
import math
import os
import random
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from nanoarrow.c_array import CArray

from serving.arrow.vectors import TooMuchText
from serving.batches import Batches, Item, Part, merge
from serving.bundle import Column, Manifest
from serving.engines.base import Scored
from serving.stream import Stream
from serving.table import Row, Table

ROWS = 256  # of a batch: building one takes about half a millisecond
MANY = 4_096  # of a batch where requests have many rows: as long as those took to be answered
ENOUGH = 16  # batches that are made wait for the thread's round
PAUSE = 0.0005  # seconds between batches, in which requests go first
# An Item that is none yet: a plain tuple is the cheapest thing to leave behind.
Raw: TypeAlias = tuple[list[str], float, float, bool, list[Row] | Table, Scored, int]
Built: TypeAlias = tuple[int, CArray | Part, int]
INPUTS = Item._fields.index("inputs")


@dataclass(frozen=True)
class Pace:
    """How much may wait for how long, and when a new segment begins."""

    interval: float = 0.25
    capacity_bytes: int = 64 * 2**20  # about; and one request more
    rotate_bytes: int = 16 * 2**20
    rotate_seconds: float = 3_600.0


class Segments:
    """Appends to `<folder>/<epoch_ms>-<pid>.arrows`, a file of its own that the first row makes.

    A forked process has files of its own too; what waited belongs to its parent.
    """

    def __init__(
        self,
        folder: Path,
        columns: Sequence[Column],
        manifest: Manifest,
        *,
        environment: str = "",
        pace: Pace | None = None,
        clock: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.folder = folder
        self._pace = pace or Pace()
        self._batches = Batches(columns, manifest, environment)
        self._stream = Stream(
            folder, self._pace.rotate_bytes, self._pace.rotate_seconds, clock=clock
        )
        self._sample = manifest.log.sample
        self._draw = draw
        self._row_bytes = 300 + 32 * len(columns)
        self._closing = False
        self._begin()
        this = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _forked(this()))

    def _begin(self) -> None:
        """With nothing waiting and nothing counted, as in a new process."""
        self.rows = 0  # written
        self.dropped = 0
        self.errors = 0
        self.sampled_out = 0
        self._held = 0  # bytes, about
        self._waiting: deque[Raw] = deque()
        self._loose = 0  # rows that wait
        self._built: deque[Built] = deque()
        self._called = False  # the event loop, to build a batch
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def begin_anew(self) -> None:
        """In a forked process, where the thread is gone."""
        self._stream.close()  # its own handle; the stream is its parent's
        self._begin()

    def put(
        self,
        ids: list[str],
        started: float,
        latency_ms: float,
        probe: bool,
        inputs: list[Row] | Table,
        scored: Scored,
        size: int = 0,
    ) -> None:
        """Write these rows of one request soon. `size`: bytes of its body, to bound the memory."""
        cost = len(ids) * self._row_bytes + 2 * size
        with self._lock:
            if self._sample < 1.0 and self._draw() >= self._sample:
                self.sampled_out += len(ids)
                return
            if self._held >= self._pace.capacity_bytes or self._closing:
                self.dropped += len(ids)
                return
            self._held += cost
            self._waiting.append((ids, started, latency_ms, probe, inputs, scored, cost))
            self._loose += len(ids)
            if self._thread is None:
                self._start()
            if self._loose >= ROWS and not self._called and len(ids) <= ROWS:
                self._call()
            if self._held > self._pace.capacity_bytes // 2:
                self._wake.set()

    def close(self) -> None:
        """Write what waits, then stop. Rows that come later are dropped."""
        with self._lock:
            self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self._stream.close()

    def _start(self) -> None:
        # Not before the first row: whoever forks servers has no thread to lose.
        self._thread = threading.Thread(target=self._run, name="inference log", daemon=True)
        self._thread.start()

    def _call(self) -> None:
        try:
            asyncio.get_running_loop().call_soon(self._build)
        except RuntimeError:
            return  # no loop here: the thread does it
        self._called = True

    def _build(self) -> None:
        """Make a batch of what waits; the thread writes it. Large requests are the thread's."""
        self._called = False
        items = self._take(MANY, largest=ROWS)
        if not items:
            return
        part = merge(items)
        cost = sum(item.cost for item in items)
        try:
            # Without the cells that it was made of: they take four times the room.
            self._built.append((len(part.ids), self._batches.build(part), cost))
        except Exception:
            self._built.append((len(part.ids), part, cost))  # the thread tries again, and tells
        if len(self._built) >= ENOUGH:
            self._wake.set()
        if self._loose >= ROWS:  # requests of another form
            self._call()

    def _run(self) -> None:
        closing = False
        while not closing:
            self._wake.wait(self._pace.interval)
            self._wake.clear()
            closing = self._closing  # whatever came before it is in the queue
            while self._built:
                self._write_built()
            # Not until nothing waits: under load that moment does not come.
            left = self._loose
            while left > 0 and (items := self._take()):
                for part in _parts(items):
                    left -= len(part.ids)
                    self._append(part)
                    if not self._closing:
                        time.sleep(PAUSE)
                self._release(sum(item.cost for item in items))

    def _write_built(self) -> None:
        """What is made by now, or much of it."""
        taken = [self._built.popleft() for _ in range(min(len(self._built), 4 * ENOUGH))]
        batches = [made for _, made, _ in taken if not isinstance(made, Part)]
        if batches:
            self._write(batches, sum(n for n, made, _ in taken if not isinstance(made, Part)))
        for _, made, _ in taken:
            if isinstance(made, Part):
                self._append(made)
        self._release(sum(cost for _, _, cost in taken))

    def _release(self, cost: int) -> None:
        with self._lock:
            self._held -= cost

    def _take(self, enough: int = ROWS, largest: float = math.inf) -> list[Item]:
        """The next requests, of one form, with rows enough; none with more than the largest."""
        items: list[Item] = []
        rows = 0
        with self._lock:
            while self._waiting and rows < enough:
                form = type(self._waiting[0][INPUTS])
                if items and type(items[0].inputs) is not form:
                    break
                if len(self._waiting[0][0]) > largest:
                    break
                items.append(Item(*self._waiting.popleft()))
                rows += len(items[-1].ids)
            self._loose -= rows
        return items

    def _append(self, part: Part) -> None:
        rows = len(part.ids)
        try:
            batch = self._batches.build(part)
        except TooMuchText:
            self._append(part.part(0, rows // 2))
            self._append(part.part(rows // 2, rows))
        except Exception as error:  # whatever it is, the next batch may do better
            self._fail(error, rows)
        else:
            self._write([batch], rows)

    def _write(self, batches: Sequence[CArray], rows: int) -> None:
        try:
            self._stream.append(batches)
        except Exception as error:
            self._fail(error, rows)
        else:
            self.rows += rows

    def _fail(self, error: Exception, rows: int) -> None:
        if not self.errors:
            reason = error if isinstance(error, OSError) else repr(error)
            print(f"andon serving: {self.folder}: log not written: {reason}", file=sys.stderr)
        self.errors += 1
        with self._lock:
            self.dropped += rows


def _parts(items: list[Item]) -> Iterator[Part]:
    whole = merge(items)
    n = len(whole.ids)
    for start in range(0, n, ROWS):
        yield whole if n <= ROWS else whole.part(start, start + ROWS)


def _forked(segments: Segments | None) -> None:
    if segments is not None:
        segments.begin_anew()
