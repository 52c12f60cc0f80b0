"""The inference log: every answered row, in Arrow segments that a thread of its own writes."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from serving.bundle import Column, Manifest
from serving.engines.base import Scored
from serving.table import Row, Table

INTERVAL = 0.25  # seconds that rows may wait for company
CAPACITY = 64 * 2**20  # bytes that may wait, about
ROTATE_BYTES = 64 * 2**20
ROTATE_SECONDS = 3_600.0
Item: TypeAlias = tuple[list[str], float, float, bool, list[Row] | Table, Scored, int]


class Segments:
    """Appends to `<folder>/<epoch_ms>-<pid>.arrows`, a file of its own that the first row makes."""

    def __init__(
        self,
        folder: Path,
        columns: Sequence[Column],
        manifest: Manifest,
        *,
        environment: str = "",
        capacity_bytes: int = CAPACITY,
        interval: float = INTERVAL,
        rotate_bytes: int = ROTATE_BYTES,
        rotate_seconds: float = ROTATE_SECONDS,
        sample: float = 1.0,
        mask: Collection[str] = (),
        clock: Callable[[], float] = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.folder = folder
        self.rows = 0  # written
        self.dropped = 0
        self.errors = 0
        self.sampled_out = 0
        self._sample = sample
        self._draw = draw
        self._capacity = capacity_bytes
        self._row_bytes = 300 + 32 * len(columns)
        self._held = 0
        self._waiting: deque[Item] = deque()
        self._lock = threading.Lock()
        self._closing = False

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
        if self._sample < 1.0 and self._draw() >= self._sample:
            with self._lock:
                self.sampled_out += len(ids)
            return
        cost = len(ids) * self._row_bytes + 2 * size
        with self._lock:
            if self._held + cost <= self._capacity and not self._closing:
                self._held += cost
                self._waiting.append((ids, started, latency_ms, probe, inputs, scored, cost))
                return
            self.dropped += len(ids)

    def close(self) -> None:
        """Write what waits, then stop. Rows that come later are dropped."""
        with self._lock:
            self._closing = True
