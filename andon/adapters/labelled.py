"""Predictions of one version that have their labels, in the order in which they came to count.

Of the log only the columns are read that are wanted: a million predictions are a few arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from andon.adapters.arrow_segments import OUTPUT, whole
from andon.adapters.inference_log import CLOCKS, Spans, answered, newest_first
from andon.labels import Arrived
from andon.settings import Settings

MOST = 500_000  # predictions, the newest
Times = NDArray[np.float64]


@dataclass(frozen=True)
class Wanted:
    """Whose labels: predictions since a time that are at least `maturity` seconds old `now`.

    `key`: which of a prediction's outputs is wanted. `live`: as for `read_window`.
    """

    version: str
    since: float
    now: float
    key: str
    maturity: float = 0.0
    live: Spans | None = None


@dataclass(frozen=True)
class Labelled:
    """(n,) each: when it was asked (epoch seconds), what was said, and what was true.

    `span`: first and last time of all predictions that are old enough; zeros if there are none.
    """

    asked: Times
    said: list[Any]
    label: list[Any]
    arrived: Arrived
    span: tuple[float, float] = (0.0, 0.0)


@dataclass
class _Label:
    came: float
    at: float
    value: Any
    twice: int = 0
    changed: int = 0


def labelled(settings: Settings, environment: str, model: str, wanted: Wanted) -> Labelled:
    """Read labels and predictions; what cannot be read is counted, and stops nothing."""
    found, corrupt = _labels(settings.feedback_log / environment / model)
    folder = settings.inference_log / environment / model / wanted.version
    ids, asked, said, damaged = _predictions(folder, wanted)
    old = asked + wanted.maturity <= wanted.now
    place = pc.index_in(ids, value_set=pa.array(list(found), pa.string()))
    places = place.fill_null(-1).to_numpy(zero_copy_only=False)
    has = places >= 0
    labels = list(found.values())
    mine = [labels[it] for it in places[has]]
    came = np.array([it.came for it in mine], dtype=np.float64)
    skewed = (came < asked[has] - CLOCKS) | (came > wanted.now + CLOCKS)
    came = np.clip(came, asked[has], max(wanted.now, asked.max(initial=0.0)))
    rows = np.flatnonzero(has)
    ready = old[has]
    enters = np.maximum(came, asked[has] + wanted.maturity)
    order = np.lexsort((asked[has], enters))
    order = order[ready[order]]
    delays = (came - asked[has])[ready]
    span = (float(asked[old].min()), float(asked[old].max())) if old.any() else (0.0, 0.0)
    return Labelled(
        asked=asked[rows[order]],
        said=said.take(pa.array(rows[order])).to_pylist(),
        label=[mine[it].value for it in order],
        arrived=Arrived(
            mature=int(old.sum()),
            labelled=int(ready.sum()),
            waiting=int((~ready).sum()),
            delays=tuple(np.quantile(delays, np.linspace(0, 1, 101))) if len(delays) else (),
            twice=sum(it.twice for it in mine),
            changed=sum(it.changed for it in mine),
            unknown=_unknown(found, set(np.unique(places[has]).tolist()), wanted, damaged),
            skewed=int(skewed.sum()),
            corrupt=corrupt + damaged,
        ),
        span=span,
    )


def _unknown(found: dict[str, _Label], known: set[int], wanted: Wanted, damaged: int) -> int:
    """Labels that came while this version served, for predictions that nobody has logged.

    An id begins with the time of its prediction; others were before, or of another version.
    """
    if damaged:
        return 0  # who knows what was in there
    spans = (wanted.live or {}).get(wanted.version, ())
    times = [_asked(id_) for place, id_ in enumerate(found) if place not in known]
    inside = answered(
        (np.array(times) * 1e6).astype(np.int64), [(max(a, wanted.since), b) for a, b in spans]
    )
    alone = [v for v, it in (wanted.live or {}).items() if v != wanted.version and _meet(it, spans)]
    return 0 if alone else int(inside.sum())


def _meet(one: Any, other: Any) -> bool:
    return any(a < d and c < b for a, b in one for c, d in other)


def _asked(id_: str) -> float:
    try:
        return int(id_[:12], 16) / 1000 if len(id_) == 32 else -1.0
    except ValueError:
        return -1.0


def _predictions(folder: Path, wanted: Wanted) -> tuple[pa.Array, Times, pa.Array, int]:
    """Ids, times and the wanted output of the newest predictions; damaged batches."""
    ids, times, said, damaged, many = [], [], [], 0, 0
    for ended, path in newest_first(folder.glob("*.arrows")):
        if ended + CLOCKS < wanted.since or many >= MOST:
            break
        try:
            segment = whole(path.read_bytes())
        except FileNotFoundError:
            continue
        damaged += segment.corrupt
        for batch in segment.batches:
            if OUTPUT + wanted.key not in batch.schema.names:
                continue
            at = batch["time"].cast(pa.int64()).to_numpy()
            keep = ~batch["probe"].to_numpy(zero_copy_only=False) & (at >= wanted.since * 1e6)
            if wanted.live is not None:
                keep &= answered(at, wanted.live.get(wanted.version, ()))
            if keep.any():
                some = pa.array(keep)
                ids.append(batch["id"].filter(some))
                said.append(batch[OUTPUT + wanted.key].filter(some))
                times.append(at[keep] / 1e6)
                many += int(keep.sum())
    if not ids:
        return pa.array([], pa.string()), np.empty(0), pa.nulls(0), damaged
    every, at = pa.concat_arrays(ids), np.concatenate(times)
    return every, at, _together(said), damaged


def _together(parts: list[pa.Array]) -> pa.Array:
    """Of one type: labels of two builds can be numbers and texts."""
    if len({it.type for it in parts}) > 1:
        parts = [it.cast(pa.string()) for it in parts]
    return pa.concat_arrays(parts)


def _labels(folder: Path) -> tuple[dict[str, _Label], int]:
    """Of each prediction the label that came last, and when its first one came."""
    found: dict[str, _Label] = {}
    corrupt = 0
    for row in _lines(folder):
        if row is None or not _is_label(row):
            corrupt += 1
            continue
        id_, at, value = row["id"], float(row["time"]), row["label"]
        kept = found.get(id_)
        if kept is None:
            found[id_] = _Label(at, at, value)
            continue
        kept.came = min(kept.came, at)
        same = kept.value == value and isinstance(kept.value, bool) == isinstance(value, bool)
        kept.twice += same
        kept.changed += not same
        if at >= kept.at:
            kept.at, kept.value = at, value
    return found, corrupt


def _is_label(row: dict[str, Any]) -> bool:
    return (
        isinstance(row.get("id"), str)
        and isinstance(row.get("time"), int | float)
        and isinstance(row.get("label"), str | int | float | bool)
    )


def _lines(folder: Path) -> Iterator[dict[str, Any] | None]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for path in sorted(folder.glob("*.jsonl")):
        try:
            file = path.open("rb")
        except FileNotFoundError:
            continue
        with file:
            for line in file:
                if not line.endswith(b"\n"):
                    continue  # still being written
                try:
                    yield decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    yield None
