"""Live traffic as the prediction servers logged it, joined with the labels that came back.

Predictions are in Arrow streams (`serving/segments.py`), labels in lines (`serving/log.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc

from andon.settings import Settings

FACTS = ("model", "version", "environment")
INPUT, OUTPUT = "in.", "out."


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


@dataclass
class _Segments:
    """What several segments hold; each batch with what is the same for all of its rows."""

    batches: list[tuple[pa.RecordBatch, dict[str, str]]] = field(default_factory=list)
    corrupt: int = 0
    masked: set[str] = field(default_factory=set)

    def rows(self, latest: int | None) -> list[dict[str, Any]]:
        """The latest rows, or all, oldest first."""
        if not self.batches:
            return []
        times = [batch["time"].cast(pa.int64()).to_numpy() for batch, _ in self.batches]
        owner = np.repeat(np.arange(len(times)), [len(it) for it in times])
        place = np.concatenate([np.arange(len(it)) for it in times])
        order = np.argsort(np.concatenate(times), kind="stable")
        order = order if latest is None else order[max(0, len(order) - latest) :]
        found: dict[int, dict[str, Any]] = {}
        for number, (batch, facts) in enumerate(self.batches):
            mine = order[owner[order] == number]
            for position, row in zip(mine, batch.take(place[mine]).to_pylist(), strict=True):
                found[int(position)] = _row(row, facts)
        return [found[int(position)] for position in order]


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
    found = _Segments()
    for path in sorted(folder.glob(f"{version or '*'}/*.arrows")):
        if path.stat().st_mtime >= since:
            _read_segment(path, since, found)
    rows = found.rows(latest)
    labels, more = _labels(settings.feedback_log / environment / model, {r["id"] for r in rows})
    return Window(tuple(rows), labels, found.corrupt + more, frozenset(found.masked))


def _read_segment(path: Path, since: float, into: _Segments) -> None:
    """Every batch of a segment, up to where its writer is, or was when it was killed."""
    with path.open("rb") as file:
        size = path.stat().st_size
        try:
            stream = pa.ipc.open_stream(file)
            facts = _facts(stream.schema)
            while True:
                batch = stream.read_next_batch()
                try:
                    batch.validate(full=True)
                except pa.ArrowInvalid:
                    into.corrupt += 1
                    continue
                into.batches.append((_wanted(batch, since), facts))
                into.masked |= set(msgspec.json.decode(facts["masked"], type=list[str]))
        except StopIteration:
            return
        except (pa.ArrowException, OSError, KeyError, msgspec.DecodeError):
            # At its end a message is still being written, or never was: that is no damage.
            into.corrupt += file.tell() < size


def _facts(schema: pa.Schema) -> dict[str, str]:
    """What stands in the schema's metadata; raises KeyError if it is no segment of ours."""
    given = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    for name, kind in (("id", pa.string()), ("probe", pa.bool_()), ("time", None)):
        if kind is not None and schema.field(name).type != kind:
            raise KeyError(name)
    if not pa.types.is_timestamp(schema.field("time").type):
        raise KeyError("time")
    return {name: given[f"andon.{name}"] for name in (*FACTS, "masked")}


def _wanted(batch: pa.RecordBatch, since: float) -> pa.RecordBatch:
    """Its rows since a time, without probes."""
    start = pa.scalar(int(since * 1e6), batch["time"].type)
    late = pc.greater_equal(batch["time"], start)
    return batch.filter(pc.and_(late, pc.invert(batch["probe"])))


def _row(row: dict[str, Any], facts: dict[str, str]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "time": row["time"].timestamp(),
        **{name: facts[name] for name in FACTS},
        "latency_ms": row["latency_ms"],
        "probe": row["probe"],
        "inputs": {_after(INPUT, k): _sent(v) for k, v in row.items() if k.startswith(INPUT)},
        "outputs": {_after(OUTPUT, k): v for k, v in row.items() if k.startswith(OUTPUT)},
    }


def _after(prefix: str, name: str) -> str:
    return name.removeprefix(prefix)


def _sent(value: Any) -> Any:
    """A date as a client sends it."""
    if not isinstance(value, datetime):
        return value
    midnight = value.time() == datetime.min.time()
    return value.date().isoformat() if midnight else value.replace(tzinfo=None).isoformat()


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
