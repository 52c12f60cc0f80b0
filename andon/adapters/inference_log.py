"""Live traffic as the prediction servers logged it, joined with the labels that came back.

Predictions are in Arrow streams (`serving/segments.py`), labels in lines (`serving/log.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.ipc
from numpy.typing import NDArray

from andon.settings import Settings

FACTS = ("model", "version", "environment")
INPUT, OUTPUT = "in.", "out."
NAIVE, INSTANT = pa.timestamp("us"), pa.timestamp("us", "UTC")
COLUMNS = {"id": pa.string(), "time": INSTANT, "latency_ms": pa.float32(), "probe": pa.bool_()}
CELLS = (pa.float64(), pa.int64(), pa.bool_(), pa.string(), INSTANT)
GOES_ON = b"\xff" * 4  # every message begins so
CLOCKS = 1.0  # seconds: a file's time may be behind that of the last row in it


@dataclass(frozen=True)
class Window:
    """Answered predictions, oldest first; `labels` by prediction id.

    `corrupt`: batches and lines left out. `masked`: columns that were not logged, on purpose.
    """

    rows: tuple[dict[str, Any], ...]
    labels: dict[str, Any]
    corrupt: int = 0
    masked: frozenset[str] = frozenset()

    @property
    def span(self) -> tuple[float, float]:
        """First and last time (epoch seconds); zeros if empty."""
        return (self.rows[0]["time"], self.rows[-1]["time"]) if self.rows else (0.0, 0.0)

    @property
    def labelled(self) -> list[dict[str, Any]]:
        """The rows whose label came back, with `label` beside them."""
        return [
            {**row, "label": self.labels[row["id"]]}
            for row in self.rows
            if row["id"] in self.labels
        ]


def read_window(
    settings: Settings,
    environment: str,
    model: str,
    *,
    version: str | None = None,
    since: float = 0.0,
    latest: int | None = None,
) -> Window:
    """Rows of one version (or all) since a time, at most the `latest` ones; probes are left out."""
    folder = settings.inference_log / environment / model
    batches, corrupt = _batches(folder.glob(f"{version or '*'}/*.arrows"), since, latest)
    rows: list[dict[str, Any]] = []
    masked: frozenset[str] = frozenset()
    for batch in batches:
        try:
            rows += _rows(batch)
        except (ValueError, OverflowError, pa.ArrowException):  # dates that are none
            corrupt += 1
        else:
            masked |= batch.masked
    rows.sort(key=lambda row: row["time"])
    labels, more = _labels(settings.feedback_log / environment / model, {r["id"] for r in rows})
    return Window(tuple(rows), labels, corrupt + more, masked)


@dataclass(frozen=True)
class _Batch:
    """Some rows, when each came (microseconds), and what is the same for all of them."""

    rows: pa.RecordBatch
    times: NDArray[np.int64]
    facts: dict[str, str]
    masked: frozenset[str]

    def part(self, some: NDArray[np.bool_]) -> _Batch:
        if some.all():
            return self
        return replace(self, rows=self.rows.filter(pa.array(some)), times=self.times[some])


def _batches(paths: Iterable[Path], since: float, latest: int | None) -> tuple[list[_Batch], int]:
    """Those with the rows that are wanted, and only these rows in them; and what was corrupt."""
    found: list[_Batch] = []
    corrupt = 0
    first = int(since * 1e6)  # no row before this is wanted
    for ended, path in sorted(((it.stat().st_mtime, it) for it in paths), reverse=True):
        if (ended + CLOCKS) * 1e6 < first:
            break
        batches, bad = _segment(path)
        corrupt += bad
        found += batches
        if latest is not None:
            times = np.concatenate([np.empty(0, np.int64), *(it.times for it in found)])
            times = times[times >= first]
            if len(times) >= latest > 0:
                first = int(np.partition(times, -latest)[-latest])
    found = [it.part(it.times >= first) for it in found]
    return _last(found, latest), corrupt


def _last(batches: list[_Batch], latest: int | None) -> list[_Batch]:
    """Without the rows that are too many: of one microsecond there can be several."""
    many = sum(len(it.times) for it in batches)
    if latest is not None and many > latest:
        keep = np.zeros(many, dtype=np.bool_)
        order = np.argsort(np.concatenate([it.times for it in batches]), kind="stable")
        keep[order[many - latest :]] = True
        ends = np.cumsum([len(it.times) for it in batches])[:-1]
        parts = zip(batches, np.split(keep, ends), strict=True)
        batches = [batch.part(some) for batch, some in parts]
    return [it for it in batches if len(it.times)]


def _segment(path: Path) -> tuple[list[_Batch], int]:
    """What is in a segment, without probes."""
    found = read_segment(path)
    if not found.batches:
        return [], found.corrupt
    together = pa.Table.from_batches(found.batches).combine_chunks().to_batches()
    sound = [_without_probes(it, found.facts, found.masked) for it in together]
    return sound, found.corrupt


@dataclass(frozen=True)
class Segment:
    """The batches of a segment, as small as they were written; `corrupt`: those left out."""

    batches: list[pa.RecordBatch]
    facts: dict[str, str]
    masked: frozenset[str]
    corrupt: int


def read_segment(path: Path) -> Segment:
    """What is in a segment, up to where its writer is, or was when it was killed."""
    raw = path.read_bytes()  # not mapped: its writer takes half batches back
    source = pa.BufferReader(raw)
    whole: list[pa.RecordBatch] = []
    facts: dict[str, str] = {}
    masked: frozenset[str] = frozenset()
    corrupt = begun = 0
    try:
        stream = pa.ipc.open_stream(source)
        facts = _facts(stream.schema)
        masked = frozenset(msgspec.json.decode(facts.pop("masked"), type=list[str]))
        while True:
            begun = source.tell()
            rows = stream.read_next_batch()
            if _is_sound(rows):
                whole.append(rows)
            else:
                corrupt += 1
    except StopIteration:
        pass
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError, msgspec.MsgspecError):
        # At its end a message is still being written, or never was: that is no damage.
        begins = GOES_ON.startswith(raw[begun : begun + len(GOES_ON)])
        corrupt += not begins or source.tell() < len(raw)
    return Segment(whole, facts, masked, corrupt)


def _is_sound(rows: pa.RecordBatch) -> bool:
    try:
        rows.validate(full=True)
    except pa.ArrowException:
        return False
    return not any(rows[name].null_count for name in COLUMNS)


def _without_probes(rows: pa.RecordBatch, facts: dict[str, str], masked: frozenset[str]) -> _Batch:
    times = rows["time"].cast(pa.int64()).to_numpy(zero_copy_only=False)
    probes = rows["probe"].to_numpy(zero_copy_only=False)
    return _Batch(rows, times, facts, masked).part(~probes)


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


def _rows(batch: _Batch) -> list[dict[str, Any]]:
    cells = {name: _cells(batch.rows[name]) for name in batch.rows.schema.names}
    shares = zip(
        cells["id"],
        (batch.times / 1e6).tolist(),
        cells["latency_ms"],
        _records(cells, INPUT, len(batch.times)),
        _records(cells, OUTPUT, len(batch.times)),
        strict=True,
    )
    return [
        {
            "id": id_,
            "time": time,
            **batch.facts,
            "latency_ms": round(latency, 3),
            "probe": False,
            "inputs": inputs,
            "outputs": outputs,
        }
        for id_, time, latency, inputs, outputs in shares
    ]


def _records(cells: dict[str, list[Any]], prefix: str, n: int) -> list[dict[str, Any]]:
    """Of each row, the columns of one kind by their own names."""
    mine = {name.removeprefix(prefix): it for name, it in cells.items() if name.startswith(prefix)}
    if not mine:
        return [{} for _ in range(n)]
    return [dict(zip(mine, row, strict=True)) for row in zip(*mine.values(), strict=True)]


def _cells(column: pa.Array) -> list[Any]:
    """As a client sends them: dates as text."""
    if not pa.types.is_timestamp(column.type):
        return list(column.to_pylist())
    return [None if it is None else _date(it) for it in column.cast(NAIVE).to_pylist()]


def _date(moment: datetime) -> str:
    midnight = moment.time() == datetime.min.time()
    return moment.date().isoformat() if midnight else moment.isoformat()


def _labels(folder: Path, wanted: set[str]) -> tuple[dict[str, Any], int]:
    """The label of each prediction; of several the one that came last."""
    found: dict[str, tuple[float, Any]] = {}
    corrupt = 0
    for row in _lines(folder.glob("*.jsonl"), 0.0):
        if row is None or not _is_label(row):
            corrupt += 1
        elif row["id"] in wanted and row["time"] >= found.get(row["id"], (0.0,))[0]:
            found[row["id"]] = (row["time"], row["label"])
    return {id_: label for id_, (_, label) in found.items()}, corrupt


def _has(**kinds: Any) -> Callable[[dict[str, Any]], bool]:
    """Whether a line has what we rely on: half a disk sector can be JSON too."""
    return lambda row: all(isinstance(row.get(key), kind) for key, kind in kinds.items())


_is_label = _has(id=str, time=int | float, label=str | int | float | bool)


def _lines(paths: Iterator[Path], since: float) -> Iterator[dict[str, Any] | None]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for path in sorted(paths):
        if path.stat().st_mtime < since:
            continue
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    continue  # still being written
                try:
                    yield decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    yield None
