"""Live traffic as the prediction servers logged it, joined with the labels that came back.

Predictions are in Arrow streams (`serving/segments.py`), labels in lines (`serving/log.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from andon.adapters.arrow_segments import INPUT, OUTPUT, Batch, read_segment
from andon.settings import Settings

NAIVE = pa.timestamp("us")
CLOCKS = 1.0  # seconds: a file's time may be behind that of the last row in it
Spans = Mapping[str, Sequence[tuple[float, float]]]  # by version, from and until when


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
    live: Spans | None = None,
) -> Window:
    """Rows of one version (or all) since a time, at most the `latest` ones; probes are left out.

    `live`: when each version answered clients (`Ledger.live_spans`). What a version logged at other
    times are answers to copies, which nobody got; None: all rows count.
    """
    folder = settings.inference_log / environment / model
    batches, corrupt = _batches(folder.glob(f"{version or '*'}/*.arrows"), since, latest, live)
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


def read_labelled(
    settings: Settings, environment: str, model: str, *, since: float = 0.0,
    live: Spans | None = None,
) -> Window:  # fmt: skip
    """As `read_window`, of all versions, with only those rows whose label came back."""
    found = _labelled(settings, environment, model, since, live)
    rows: list[dict[str, Any]] = []
    corrupt = found.corrupt
    for batch in found.batches:
        try:
            rows += _rows(batch)
        except (ValueError, OverflowError, pa.ArrowException):  # dates that are none
            corrupt += 1
    rows.sort(key=lambda row: row["time"])
    return Window(tuple(rows), found.labels, corrupt, found.masked)


def count_labelled(
    settings: Settings, environment: str, model: str, *, since: float, live: Spans | None = None
) -> int:
    """How many rows `read_labelled` would give, without reading more of them than their ids."""
    found = _labelled(settings, environment, model, since, live)
    return sum(len(it.times) for it in found.batches)


@dataclass(frozen=True)
class _Labelled:
    batches: list[Batch]
    labels: dict[str, Any]
    corrupt: int
    masked: frozenset[str]


def _labelled(
    settings: Settings, environment: str, model: str, since: float, live: Spans | None
) -> _Labelled:
    """`masked` is of all rows, with labels or without."""
    folder = settings.inference_log / environment / model
    batches, corrupt = _batches(folder.glob("*/*.arrows"), since, None, live)
    ids = {it for batch in batches for it in batch.rows["id"].to_pylist()}
    labels, more = _labels(settings.feedback_log / environment / model, ids)
    known = pa.array(list(labels), pa.string())
    parts = [it.part(np.asarray(pc.is_in(it.rows["id"], known))) for it in batches]
    masked = frozenset[str]().union(*(it.masked for it in batches))
    return _Labelled([it for it in parts if len(it.times)], labels, corrupt + more, masked)


def _batches(
    paths: Iterable[Path], since: float, latest: int | None, live: Spans | None
) -> tuple[list[Batch], int]:
    """Those with the rows that are wanted, and only these rows in them; and what was corrupt."""
    found: list[Batch] = []
    corrupt = 0
    first = int(since * 1e6)  # no row before this is wanted
    for ended, path in newest_first(paths):
        if (ended + CLOCKS) * 1e6 < first:
            break
        batches, bad = read_segment(path)
        corrupt += bad
        found += batches if live is None else [it.part(_is_live(it, live)) for it in batches]
        if latest is not None:
            times = np.concatenate([np.empty(0, np.int64), *(it.times for it in found)])
            times = times[times >= first]
            if len(times) >= latest > 0:
                first = int(np.partition(times, -latest)[-latest])
    found = [it.part(it.times >= first) for it in found]
    return _last(found, latest), corrupt


def newest_first(paths: Iterable[Path]) -> list[tuple[float, Path]]:
    """Files by when they were last written to; what is tidied away meanwhile is left out."""
    found = []
    for path in paths:
        with suppress(FileNotFoundError):
            found.append((path.stat().st_mtime, path))
    return sorted(found, reverse=True)


def answered(times: NDArray[np.int64], spans: Sequence[tuple[float, float]]) -> NDArray[np.bool_]:
    """Which of some times (microseconds) are in any of the spans (epoch seconds)."""
    found = np.zeros(len(times), dtype=np.bool_)
    for begin, end in spans:
        found |= (times >= begin * 1e6) & (times < end * 1e6)
    return found


def _is_live(batch: Batch, live: Spans) -> NDArray[np.bool_]:
    return answered(batch.times, live.get(batch.facts["version"], ()))


def _last(batches: list[Batch], latest: int | None) -> list[Batch]:
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


def _rows(batch: Batch) -> list[dict[str, Any]]:
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
