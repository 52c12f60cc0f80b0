"""Arrow segments of the inference log (`serving/segments.py`), as their writers leave them.

A segment is an IPC stream that grows by whole messages. Its writer may be at it, may have been
killed, or may have run out of disk: what is whole is read, what is damaged is counted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.ipc
from numpy.typing import NDArray

FACTS = ("model", "version", "environment")
INPUT, OUTPUT = "in.", "out."
INSTANT = pa.timestamp("us", "UTC")
COLUMNS = {"id": pa.string(), "time": INSTANT, "latency_ms": pa.float32(), "probe": pa.bool_()}
CELLS = (pa.float64(), pa.int64(), pa.bool_(), pa.string(), INSTANT)
GOES_ON = b"\xff" * 4  # every message begins so


@dataclass(frozen=True)
class Batch:
    """Some rows, when each came (microseconds), and what is the same for all of them."""

    rows: pa.RecordBatch
    times: NDArray[np.int64]
    facts: dict[str, str]
    masked: frozenset[str]

    def part(self, some: NDArray[np.bool_]) -> Batch:
        """Those rows for which it is true."""
        return replace(self, rows=self.rows.filter(pa.array(some)), times=self.times[some])


@dataclass(frozen=True)
class Parsed:
    """What some bytes of a stream hold: probes are left out.

    `head`: where the schema ends (0: not even that is there); `end`: where the last whole message
    does. `broken`: what comes there is damaged, and nothing after it can be read.
    """

    batches: list[Batch]
    corrupt: int = 0
    head: int = 0
    end: int = 0
    broken: bool = False


def read_segment(path: Path) -> tuple[list[Batch], int]:
    """What is in a segment, up to where its writer is, or was when it was killed."""
    try:
        found = parse(path.read_bytes())  # not mapped: its writer takes half batches back
    except FileNotFoundError:  # tidied away meanwhile
        return [], 0
    return found.batches, found.corrupt


def parse(raw: bytes) -> Parsed:
    """A stream from its beginning, as far as it is whole."""
    found = whole(raw)
    batches: list[Batch] = []
    if found.batches:
        together = pa.Table.from_batches(found.batches).combine_chunks().to_batches()
        batches = [_without_probes(it, found.facts, found.masked) for it in together]
    return Parsed(batches, found.corrupt, found.head, found.end, found.broken)


@dataclass(frozen=True)
class Whole:
    """The batches of a stream as they were written, probes included: views of its bytes.

    The other fields are those of `Batch` and `Parsed`.
    """

    batches: list[pa.RecordBatch]
    facts: dict[str, str]
    masked: frozenset[str]
    corrupt: int
    head: int
    end: int
    broken: bool


def whole(raw: bytes) -> Whole:
    """A stream from its beginning, as far as it is whole, without a copy of its rows."""
    source = pa.BufferReader(raw)
    batches: list[pa.RecordBatch] = []
    facts: dict[str, str] = {}
    masked: frozenset[str] = frozenset()
    corrupt = begun = head = 0
    broken = False
    try:
        stream = pa.ipc.open_stream(source)
        facts = _facts(stream.schema)
        masked = frozenset(msgspec.json.decode(facts.pop("masked"), type=list[str]))
        head = source.tell()
        while True:
            begun = source.tell()
            rows = stream.read_next_batch()
            if _is_sound(rows):
                batches.append(rows)
            else:
                corrupt += 1
    except StopIteration:
        pass
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError, msgspec.MsgspecError):
        # At its end a message is still being written, or never was: that is no damage.
        begins = GOES_ON.startswith(raw[begun : begun + len(GOES_ON)])
        broken = not begins or source.tell() < len(raw)
    return Whole(batches, facts, masked, corrupt + broken, head, begun, broken)


def _is_sound(rows: pa.RecordBatch) -> bool:
    try:
        rows.validate(full=True)
    except pa.ArrowException:
        return False
    return not any(rows[name].null_count for name in COLUMNS)


def _without_probes(rows: pa.RecordBatch, facts: dict[str, str], masked: frozenset[str]) -> Batch:
    times = rows["time"].cast(pa.int64()).to_numpy(zero_copy_only=False)
    probes = rows["probe"].to_numpy(zero_copy_only=False)
    return Batch(rows, times, facts, masked).part(~probes)


def _facts(schema: pa.Schema) -> dict[str, str]:
    """What stands in the schema's metadata; raises ValueError or KeyError if it is not ours."""
    names = schema.names
    for name, kind in zip(names, schema.types, strict=True):
        fits = COLUMNS.get(name) == kind or (name.startswith((INPUT, OUTPUT)) and kind in CELLS)
        if not fits or names.count(name) > 1:
            raise ValueError(f"a column {name} of {kind}")
    if not COLUMNS.keys() <= set(names):
        raise ValueError("a column is missing")
    given = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    return {name: given[f"andon.{name}"] for name in (*FACTS, "masked")}
