"""What the inference log says of a row, as record batches.

    id          text
    time        when the request came, in microseconds UTC
    latency_ms  how long its answer took
    probe       whether the line itself asked
    in.NAME     one input column each, but for those that are masked
    out.label   the predicted class; out.score: the positive's probability (multiclass: the label's)
    out.value   instead of these two, for regression

What is the same for all rows stands in the schema's metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import nanoarrow as na
import numpy as np
from nanoarrow.c_array import CArray
from numpy.typing import NDArray

from serving.arrow import vectors
from serving.bundle import Column, Manifest
from serving.engines.base import Scored
from serving.table import Row, Table

FORMAT = "1"


class Item(NamedTuple):
    """One request's rows."""

    ids: list[str]
    started: float
    latency_ms: float
    probe: bool
    inputs: list[Row] | Table
    scored: Scored
    cost: int


class Part(NamedTuple):
    """Rows of several requests; of each, the same things."""

    ids: list[str]
    started: NDArray[np.float64]
    latency_ms: NDArray[np.float32]
    probe: NDArray[np.float64]
    inputs: list[Row] | Table
    scored: Scored

    def part(self, start: int, end: int) -> Part:
        """Some of the rows."""
        inputs = self.inputs
        some = slice(start, end)
        return Part(
            self.ids[some],
            self.started[some],
            self.latency_ms[some],
            self.probe[some],
            Table(len(self.ids[some]), [it[some] for it in inputs.columns])
            if isinstance(inputs, Table)
            else inputs[some],
            Scored(self.scored.labels[some], self.scored.scores[some]),
        )


def merge(items: Sequence[Item]) -> Part:
    """The rows of requests whose inputs all have the same form."""
    sizes = [len(item.ids) for item in items]
    flat = chain.from_iterable
    tables = [item.inputs for item in items if isinstance(item.inputs, Table)]
    rows = [item.inputs for item in items if not isinstance(item.inputs, Table)]
    inputs: list[Row] | Table = list(flat(rows))
    if tables:
        inputs = tables[0] if len(tables) == 1 else Table.concat(tables)
    return Part(
        list(flat(item.ids for item in items)),
        np.repeat(np.array([item.started for item in items], dtype=np.float64), sizes),
        np.repeat(np.array([item.latency_ms for item in items], dtype=np.float32), sizes),
        np.repeat(np.array([item.probe for item in items], dtype=np.float64), sizes),
        inputs,
        Scored(
            list(flat(item.scored.labels for item in items)),
            list(flat(item.scored.scores for item in items)),
        ),
    )


class Batches:
    """Makes record batches of one schema."""

    def __init__(self, columns: Sequence[Column], manifest: Manifest, environment: str) -> None:
        self._kept = [
            (position, column)
            for position, column in enumerate(columns)
            if column.name not in manifest.log.mask
        ]
        self._classes = manifest.classes
        self._positive = manifest.positive if manifest.task == "binary" else None
        self._label = vectors.label_kind(manifest.classes)
        fields = {
            "id": na.string(),
            "time": vectors.INSTANT,
            "latency_ms": na.float32(),
            "probe": na.bool_(),
            **{f"in.{column.name}": vectors.TYPES[column.kind] for _, column in self._kept},
        }
        if manifest.classes:
            fields |= {"out.label": vectors.TYPES[self._label], "out.score": na.float64()}
        else:
            fields["out.value"] = na.float64()
        facts = {
            "format": FORMAT,
            "model": manifest.model,
            "version": manifest.version,
            "environment": environment,
            "sample": repr(manifest.log.sample),
            "masked": msgspec.json.encode(manifest.log.mask).decode(),
        }
        self.schema = vectors.schema(
            fields, {f"andon.{name}": fact for name, fact in facts.items()}
        )

    def build(self, part: Part) -> CArray:
        """One record batch."""
        inputs: Sequence[Any] = (
            part.inputs.columns
            if isinstance(part.inputs, Table)
            else list(zip(*part.inputs, strict=True))
        )
        n = len(part.ids)
        arrays = [
            vectors.texts(part.ids),
            vectors.instants(part.started),
            na.c_array_from_buffers(na.float32(), n, [None, part.latency_ms], null_count=0),
            vectors.booleans(part.probe),
            *(vectors.of_column(column.kind, inputs[position]) for position, column in self._kept),
            *self._outputs(part.scored),
        ]
        return vectors.batch(self.schema, n, arrays)

    def _outputs(self, scored: Scored) -> list[CArray]:
        labels, scores = scored
        if not self._classes:
            return [vectors.floats(np.array([value for (value,) in scores]))]
        if self._positive is not None:
            said = [row[self._positive] for row in scores]
        else:
            said = [row[label] for label, row in zip(labels, scores, strict=True)]
        named = vectors.labels(self._classes, self._label, labels)
        return [named, vectors.floats(np.array(said))]
