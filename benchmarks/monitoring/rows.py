"""Rows of 15 columns with known distributions: 8 numbers, 4 categories, 3 flags, and a score."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # peers make the same rows, without these
    import polars as pl
    import pyarrow as pa

    from serving.bundle import Column

NUMBERS, CATEGORIES, FLAGS = 8, 4, 3
WORDS = np.array([f"word {i}" for i in range(12)])
COMMON = 1 / np.arange(1, 13) / (1 / np.arange(1, 13)).sum()
NULLS = 0.02
MOVED = (0.1, 0.15, 0.2)  # standard deviations by which a modest shift moves the first numbers

# A segment of the log is as the prediction server writes it: the same schema, the same batches.
BATCH = 256
SEGMENT = 16 * 2**20


@dataclass(frozen=True)
class Scene:
    """What has happened to the rows: shifts of the first numbers, in standard deviations; points
    that moved from one category to the next; points of more nulls."""

    shifts: tuple[float, ...] = ()
    category: float = 0.0
    nulls: float = 0.0


CALM = Scene()
SCENES = {
    "no drift": CALM,
    "3 numbers move by 0.1, 0.15 and 0.2 sd": Scene(MOVED),
    "1 category loses 5 points to another": Scene(category=0.05),
    "1 number has 3 points more nulls": Scene(nulls=0.03),
}


def cells(n: int, rng: np.random.Generator, scene: Scene = CALM) -> dict[str, NDArray[Any]]:
    """n rows of 15 columns (NaN is null) and the model's `score`."""
    found: dict[str, NDArray[Any]] = {}
    logit = np.zeros(n)
    for i in range(NUMBERS):
        values = rng.normal(size=n) + (scene.shifts[i] if i < len(scene.shifts) else 0.0)
        logit += values / 3
        values = np.exp(values / 2) if i % 2 else values  # half of them are skewed
        gone = rng.random(n) < NULLS + (scene.nulls if i == 0 else 0.0)
        found[f"n{i}"] = np.where(gone, np.nan, values)
    for i in range(CATEGORIES):
        shares = COMMON.copy()
        shares[:2] += (-scene.category, scene.category) if i == 0 else (0.0, 0.0)
        found[f"c{i}"] = WORDS[rng.choice(12, n, p=shares)]
    for i in range(FLAGS):
        found[f"f{i}"] = rng.random(n) < 0.3 + 0.2 * i
    return found | {"score": 1 / (1 + np.exp(-logit))}


def rows(n: int, rng: np.random.Generator, scene: Scene = CALM) -> pl.DataFrame:
    """The same as a table."""
    import polars as pl

    return pl.DataFrame(cells(n, rng, scene)).with_columns(pl.selectors.float().fill_nan(None))


def columns() -> list[Column]:
    from serving.bundle import Column

    return [
        *(Column(f"n{i}", "number") for i in range(NUMBERS)),
        *(Column(f"c{i}", "category") for i in range(CATEGORIES)),
        *(Column(f"f{i}", "boolean") for i in range(FLAGS)),
    ]


def log(folder: Path, n: int, seed: int, at_once: int = 250_000) -> None:
    """An inference log of n rows, a thousand a second, in segments as a server writes them."""
    import pyarrow as pa
    import pyarrow.ipc

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    writer, number, start = None, 0, 1_700_000_000_000_000
    schema = _batch(rows(1, rng), 0, start).schema
    for first in range(0, n, at_once):
        table = _batch(rows(min(at_once, n - first), rng), first, start)
        for batch in pa.Table.from_batches([table]).to_batches(max_chunksize=BATCH):
            if writer is None:
                path = folder / f"{number}-1.arrows"
                file = pa.OSFile(str(path), "wb")
                writer, number = pa.ipc.new_stream(file, schema), number + 1
            writer.write_batch(batch)
            if file.tell() > SEGMENT:
                _end(writer, file, path, batch)
                writer = None
    if writer is not None:
        _end(writer, file, path, batch)


def _end(
    writer: pa.RecordBatchStreamWriter, file: pa.OSFile, path: Path, last: pa.RecordBatch
) -> None:
    import pyarrow as pa

    writer.close()
    file.close()
    at = last["time"].cast(pa.int64())[-1].as_py() / 1e6
    os.utime(path, (at, at))


def _batch(table: pl.DataFrame, first: int, start: int) -> pa.RecordBatch:
    import polars as pl
    import pyarrow as pa

    n = np.arange(first, first + table.height)
    inputs = table.drop("score").to_arrow(compat_level=pl.CompatLevel.oldest())
    columns = {
        "id": pa.array([f"{it:032x}" for it in n.tolist()]),
        "time": pa.array(start + n * 1_000).cast(pa.timestamp("us", "UTC")),
        "latency_ms": pa.array(np.ones(len(n), np.float32)),
        "probe": pa.array(np.zeros(len(n), np.bool_)),
        **{f"in.{name}": _plain(inputs[name]) for name in inputs.column_names},
        "out.label": pa.array(np.where(table["score"].to_numpy() > 0.5, "yes", "no")),
        "out.score": pa.array(table["score"].to_numpy()),
    }
    facts = {"model": "m", "version": "1", "environment": "production", "masked": "[]"}
    made = pa.RecordBatch.from_pydict(columns)
    return made.replace_schema_metadata({f"andon.{key}": value for key, value in facts.items()})


def _plain(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    whole = column.combine_chunks()
    return whole.cast(pa.string()) if pa.types.is_large_string(whole.type) else whole
