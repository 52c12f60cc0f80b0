"""Arrow's types, as a stream's schema has them: what each is called and how its column is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.arrow.flat import Flat
from serving.arrow.ipc import Batch, Field
from serving.arrow.texts import Offsets, Texts, Views

# Schema.fbs: Type
NULL, INT, FLOAT, UTF8, BOOL, DATE, TIMESTAMP, LARGE_UTF8, UTF8_VIEW = 1, 2, 3, 5, 6, 8, 10, 20, 24
_OTHERS = {
    4: "binary", 7: "decimal", 9: "time", 11: "interval", 12: "list", 13: "struct", 14: "union",
    15: "fixed-size binary", 16: "fixed-size list", 17: "map", 18: "duration", 19: "large binary",
    21: "large list", 22: "run-end encoded", 23: "binary view", 25: "list view",
    26: "large list view",
}  # fmt: skip
_FLOATS: tuple[type[Any], ...] = (np.float16, np.float32, np.float64)
_UNITS = ("s", "ms", "us", "ns")
Holds = Literal["null", "int", "float", "bool", "text", "instant"]


class Cells(NamedTuple):
    """A column of one batch; `valid`: which rows are not null, None: all."""

    valid: NDArray[np.bool_] | None
    values: NDArray[Any] | Texts


@dataclass(frozen=True)
class Storage:
    """How a column is kept. `unit`: of what instants count. `codes`: reads a dictionary's codes."""

    holds: Holds
    name: str
    read: Callable[[Batch], Cells]
    unit: str = ""
    codes: Callable[[Batch], Cells] | None = None


def storage_of(field: Field) -> Storage | None:
    """None if columns of this type are not read here; then `name_of` says what it is."""
    if field.nested:
        return None
    plain = _plain(field)
    if field.dictionary is None or plain is None:
        return plain
    codes = _integer(field.codes) if field.codes is not None else np.int32
    if plain.holds != "text" or codes is None:
        return None
    return Storage("text", f"dictionary of {plain.name}", plain.read, codes=_fixed(codes))


def name_of(field: Field) -> str:
    """The type of a column that is not read."""
    if field.dictionary is not None:
        return "a dictionary of something else than text"
    return _OTHERS.get(field.type, f"type {field.type}")


def _plain(field: Field) -> Storage | None:
    simple = {
        NULL: Storage("null", "null", _nulls),
        BOOL: Storage(
            "bool", "bool", lambda batch: Cells(batch.valid(), batch.bits(batch.buffer()))
        ),
        UTF8: Storage("text", "string", lambda batch: _texts(Offsets(batch, np.int32))),
        LARGE_UTF8: Storage("text", "large_string", lambda batch: _texts(Offsets(batch, np.int64))),
        UTF8_VIEW: Storage("text", "string_view", lambda batch: _texts(Views(batch))),
    }
    if field.type in simple or field.details is None:
        return simple.get(field.type)
    if field.type == INT:
        form = _integer(field.details)
        return None if form is None else Storage("int", form.__name__, _fixed(form))
    if field.type == FLOAT:
        width = field.details.int16(0)
        form = _FLOATS[width] if 0 <= width < len(_FLOATS) else None
        return None if form is None else Storage("float", form.__name__, _fixed(form))
    return _instant(field.type, field.details)


def _instant(type_: int, details: Flat) -> Storage | None:
    if type_ == DATE:
        if details.int16(0, default=1) == 0:
            return Storage("instant", "date32", _fixed(np.int32), "day")
        return Storage("instant", "date64", _fixed(np.int64), "ms")
    unit = details.int16(0)
    if type_ != TIMESTAMP or not 0 <= unit < len(_UNITS):
        return None
    return Storage("instant", f"timestamp[{_UNITS[unit]}]", _fixed(np.int64), _UNITS[unit])


def _integer(details: Flat) -> type[Any] | None:
    sign = "i" if details.uint8(1) else "u"
    width = details.int32(0)
    return np.dtype(f"{sign}{width // 8}").type if width in (8, 16, 32, 64) else None


def _fixed(form: type[Any]) -> Callable[[Batch], Cells]:
    def read(batch: Batch) -> Cells:
        return Cells(batch.valid(), batch.numbers(batch.buffer(), form, batch.n))

    return read


def _nulls(batch: Batch) -> Cells:
    batch.node()
    return Cells(np.zeros(batch.n, dtype=np.bool_), np.zeros(batch.n))


def _texts(texts: Texts) -> Cells:
    return Cells(texts.valid, texts)
