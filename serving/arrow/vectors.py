"""Arrow arrays out of cells, a column at a time; null where a cell is None or NaN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import nanoarrow as na
import numpy as np
from nanoarrow.c_array import CArray
from numpy.typing import NDArray

from serving.bundle import Kind
from serving.frame import DAY_MICROSECONDS

MOST_TEXT = 2**26
Cells: TypeAlias = Sequence[Any] | NDArray[Any]
INSTANT = na.timestamp("us", timezone="UTC")
TYPES: dict[Kind, na.Schema] = {
    "number": na.float64(),
    "integer": na.int64(),
    "boolean": na.bool_(),
    "category": na.string(),
    "date": INSTANT,
}


class TooMuchText(ValueError):
    """These rows do not fit into one batch; fewer of them may."""


def schema(fields: Mapping[str, na.Schema], metadata: Mapping[str, str]) -> na.Schema:
    """The schema of record batches."""
    return na.Schema(na.Type.STRUCT, fields=fields, nullable=False, metadata=dict(metadata))


def batch(of: na.Schema, n: int, arrays: Sequence[CArray]) -> CArray:
    """One record batch of `n` rows."""
    return na.c_array_from_buffers(of, n, [None], children=arrays, null_count=0)


def of_column(kind: Kind, cells: Cells) -> CArray:
    """The cells of one column, from rows or from a table."""
    if kind == "category":
        return texts(cells)
    if kind == "integer":
        return integers(cells)
    numbers = np.asarray(cells, dtype=np.float64)  # None becomes NaN
    if kind == "number":
        return floats(numbers)
    return booleans(numbers) if kind == "boolean" else dates(numbers)


def floats(numbers: NDArray[np.float64]) -> CArray:
    """Float64, NaN being null."""
    return _plain(na.float64(), np.ascontiguousarray(numbers), np.isnan(numbers))


def booleans(numbers: NDArray[np.float64]) -> CArray:
    """Booleans of 1, 0 and NaN."""
    bits = np.packbits(numbers == 1.0, bitorder="little")
    return _plain(na.bool_(), bits, np.isnan(numbers), len(numbers))


def dates(days: NDArray[np.float64]) -> CArray:
    """Microseconds of days since the epoch, to the microsecond."""
    null = np.isnan(days)
    days = np.where(null, 0.0, days)
    whole = np.floor(days)  # apart, or the product loses the microsecond
    rest = np.rint((days - whole) * float(DAY_MICROSECONDS))
    since = whole.astype(np.int64) * DAY_MICROSECONDS + rest.astype(np.int64)
    return _plain(INSTANT, since, null)


def instants(seconds: NDArray[np.float64]) -> CArray:
    """Microseconds of epoch seconds."""
    return _plain(INSTANT, np.rint(seconds * 1e6).astype(np.int64), None)


def integers(cells: Cells) -> CArray:
    """Int64: exact from rows, from a table as exact as float64 is there."""
    if isinstance(cells, np.ndarray):
        null = np.isnan(cells)
        return _plain(na.int64(), np.where(null, 0.0, cells).astype(np.int64), null)
    if None not in cells:
        return _plain(na.int64(), np.array(cells, dtype=np.int64), None)
    null = np.array([cell is None for cell in cells], dtype=np.bool_)
    exact = np.array([cell or 0 for cell in cells], dtype=np.int64)
    return _plain(na.int64(), exact, null)


def texts(cells: Cells) -> CArray:
    """UTF-8 texts; raises TooMuchText if several are too many together."""
    null = None
    if None in cells:
        null = np.array([cell is None for cell in cells], dtype=np.bool_)
    known: list[str] = [cell or "" for cell in cells]
    if len(known) > 1 and sum(map(len, known)) > MOST_TEXT:
        raise TooMuchText(f"more than {MOST_TEXT} characters in a column of a batch")
    joined = "".join(known)
    if joined.isascii():
        data, sizes = joined.encode(), map(len, known)
    else:
        parts = [cell.encode("utf-8", "replace") for cell in known]
        data, sizes = b"".join(parts), map(len, parts)
    offsets = np.zeros(len(known) + 1, dtype=np.int32)
    np.cumsum(np.fromiter(sizes, np.int32, len(known)), out=offsets[1:])
    valid, nulls = _valid(null)
    return na.c_array_from_buffers(
        na.string(), len(known), [valid, offsets, data], null_count=nulls
    )


def label_kind(classes: Sequence[str | int | bool]) -> Kind:
    """What a column of predicted classes holds: text, if it is not all flags or whole numbers."""
    if all(isinstance(label, bool) for label in classes):
        return "boolean"
    whole = all(type(label) is int and -(2**63) <= label < 2**63 for label in classes)
    return "integer" if whole else "category"


def labels(classes: Sequence[str | int | bool], kind: Kind, numbers: Sequence[int]) -> CArray:
    """The classes of these numbers."""
    named = [classes[number] for number in numbers]
    return texts([str(it) for it in named]) if kind == "category" else of_column(kind, named)


def _plain(
    type_: na.Schema, values: NDArray[Any], null: NDArray[np.bool_] | None, n: int | None = None
) -> CArray:
    valid, nulls = _valid(null)
    length = len(values) if n is None else n
    return na.c_array_from_buffers(type_, length, [valid, values], null_count=nulls)


def _valid(null: NDArray[np.bool_] | None) -> tuple[NDArray[np.uint8] | None, int]:
    nulls = 0 if null is None else int(np.count_nonzero(null))
    if null is None or not nulls:
        return None, 0
    return np.packbits(~null, bitorder="little"), nulls
