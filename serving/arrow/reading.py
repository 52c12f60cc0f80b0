"""Arrow streams as requests: columns as they are, without a cell of JSON.

What a column may hold is what JSON may: finite numbers, whole ones, true and false, text, dates;
null where the signature says so. The types are Arrow's own, in every width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.arrow.cells import Mistakes, cells
from serving.arrow.flat import Damaged
from serving.arrow.ipc import (
    BATCH,
    DICTIONARY,
    SCHEMA,
    Batch,
    Field,
    Message,
    Unsupported,
    messages,
)
from serving.arrow.ipc import fields as fields_of
from serving.arrow.types import Cells, Storage, name_of, storage_of
from serving.bundle import Column, Kind
from serving.cells import (
    MISSING,
    UNKNOWN,
    Errors,
    allowed_in,
    check_count,
    error,
    mistake,
    raise_all,
)
from serving.problem import Problem
from serving.table import Numbers, Table, Texts

_HOLDS: dict[Kind, tuple[str, ...]] = {
    "number": ("int", "float"),
    "integer": ("int", "float"),
    "boolean": ("bool",),
    "category": ("text",),
    "date": ("instant", "text"),
}
Stored = list[tuple[Field, Storage, Column | None]]


def read_table(body: bytes, columns: Sequence[Column], max_rows: int) -> Table:
    """The rows of a stream, checked against the signature.

    Raises Problem: 400 if it is no Arrow stream, 413 for too many rows, 422 with all mistakes.
    """
    if body.startswith(b"ARROW1"):
        raise Problem(400, "the body is an Arrow file; send Arrow's streaming format")
    try:
        return _read(body, columns, max_rows)
    except Damaged as damage:
        raise Problem(400, f"the body is not an Arrow stream: {damage}") from None
    except Unsupported as reason:
        raise Problem(422, f"this Arrow stream is not read: {reason}") from None


def _read(body: bytes, columns: Sequence[Column], max_rows: int) -> Table:
    stream = messages(body)
    first = next(stream, None)
    if first is None or first.kind != SCHEMA:
        raise Damaged("it does not begin with a schema")
    stored, errors = _match(fields_of(first.header), columns)
    reading = _Reading(stored, columns, max_rows, Mistakes(errors))
    for message in stream:
        reading.take(message)
    return reading.table()


def _match(fields: list[Field], columns: Sequence[Column]) -> tuple[Stored, Errors]:
    """How each column of the stream is read; raises Problem if one of them cannot be."""
    known = {column.name: column for column in columns}
    stored: Stored = []
    errors: Errors = []
    seen: set[str] = set()
    for field in fields:
        storage = storage_of(field)
        column = known.get(field.name)
        name = name_of(field) if storage is None else storage.name
        found = f"a column of {name}"
        if column is None:
            errors.append(mistake(None, field.name, found, UNKNOWN))
        elif field.name in seen:
            errors.append(mistake(None, field.name, "it twice", "each column once"))
            column = None
        elif storage is None or storage.holds not in (*_HOLDS[column.kind], "null"):
            errors.append(mistake(None, field.name, found, allowed_in(column)))
            column = None
        seen.add(field.name)
        if storage is not None:
            stored.append((field, storage, column))
    errors += [
        error(None, column.name, MISSING, allowed_in(column))
        for column in columns
        if column.name not in seen and not column.nullable
    ]
    if len(stored) < len(fields):
        raise_all(errors)  # where the next column begins is not known
    return stored, errors


class _Reading:
    """The batches of one stream on their way to a table."""

    def __init__(
        self, stored: Stored, columns: Sequence[Column], max_rows: int, mistakes: Mistakes
    ) -> None:
        self._stored = stored
        self._columns = columns
        self._max_rows = max_rows
        self._mistakes = mistakes
        self._n = 0
        self._dictionaries: dict[int, Cells] = {}
        self._parts: dict[str, list[Any]] = {column.name: [] for column in columns}

    def take(self, message: Message) -> None:
        """One more message."""
        if message.kind == DICTIONARY:
            self._define(message)
        elif message.kind == BATCH:
            self._add(Batch(message.header, message.body))
        else:
            raise Damaged(f"a message of kind {message.kind} among the batches")

    def table(self) -> Table:
        """All rows; raises Problem."""
        check_count(self._n, self._max_rows)
        raise_all(self._mistakes.all)
        return Table(self._n, [self._joined(column) for column in self._columns])

    def _define(self, message: Message) -> None:
        if message.header.uint8(2):
            raise Unsupported("a dictionary comes in parts (deltas); send it whole")
        batch = message.header.table(1)
        if batch is None:
            raise Damaged("a dictionary without values")
        number = message.header.int64(0)
        for field, storage, _ in self._stored:
            if field.dictionary == number:
                self._dictionaries[number] = storage.read(Batch(batch, message.body))
                return
        raise Damaged(f"a dictionary {number} that no column has")

    def _add(self, batch: Batch) -> None:
        begin = self._n
        self._n += batch.n
        if self._n > self._max_rows:
            raise Problem(413, f"more than {self._max_rows} rows in one request")
        for field, storage, column in self._stored:
            found = (storage.codes or storage.read)(batch)
            if column is not None and batch.n:
                words = self._dictionaries.get(field.dictionary or 0)
                part = cells(column, storage, found, words, begin, self._mistakes)
                self._parts[column.name].append(part)

    def _joined(self, column: Column) -> Numbers | Texts:
        parts = self._parts[column.name]
        if column.kind == "category":
            return [text for part in parts for text in part] if parts else [None] * self._n
        return np.concatenate(parts) if parts else np.full(self._n, np.nan)
