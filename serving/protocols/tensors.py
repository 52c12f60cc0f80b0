"""Tensors of the Open Inference Protocol: in JSON, or as bytes behind it; to cells and back."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.bundle import Column, Kind
from serving.cells import (
    INTEGERS,
    MISSING,
    Errors,
    allowed_in,
    check_cell,
    error,
    mistake,
    repeated,
)
from serving.table import Numbers, Texts

NUMPY = {
    "BOOL": "u1",
    **{f"INT{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
}
FLOATS = ("FP64", "FP32", "FP16")
_NUMBERS = (*FLOATS, *(name for name in NUMPY if "INT" in name))
DATATYPES: dict[Kind, tuple[str, ...]] = {  # the first is the one that is asked for
    "number": _NUMBERS,
    "integer": ("INT64", *(name for name in _NUMBERS if name != "INT64")),
    "boolean": ("BOOL",),
    "category": ("BYTES",),
    "date": ("BYTES",),
}
_KEYS = ("name", "shape", "datatype", "parameters", "data")
_LENGTH = struct.Struct("<I")
_MOST = 2**31  # of one dimension


class Tensor(NamedTuple):
    """`values` row by row: JSON values, the texts of BYTES, or an array of its datatype."""

    name: str
    datatype: str
    shape: list[int]
    values: Any


class _Wrong(Exception):
    """A tensor that cannot be read: what was found, and what is allowed."""

    def __init__(self, found: Any, allowed: str, *, said: str = "") -> None:
        super().__init__(allowed)
        self.found, self.allowed, self.said = found, allowed, said


class Reader:
    """Reads the tensors of one request; gathers its mistakes in `errors`."""

    def __init__(self, behind: bytes) -> None:
        self.errors: Errors = []
        self._behind = behind
        self._at = 0

    def tensors(self, inputs: list[Any]) -> list[Tensor]:
        """Those that can be read; each name once."""
        found: dict[str, Tensor] = {}
        for number, given in enumerate(inputs):
            tensor = self._tensor(number, given)
            if tensor is not None and tensor.name in found:
                self.errors.append(mistake(None, tensor.name, "it twice", "each tensor once"))
            elif tensor is not None:
                found[tensor.name] = tensor
        if not self.errors and self._at != len(self._behind):
            said = f"{len(self._behind) - self._at} bytes behind the last tensor"
            self.errors.append(mistake(None, None, said, "as many bytes as binary_data_size says"))
        return list(found.values())

    def _tensor(self, number: int, given: Any) -> Tensor | None:
        name = given.get("name") if isinstance(given, dict) else None
        where = name if isinstance(name, str) else f"inputs[{number}]"
        try:
            return self._read(where, given)
        except _Wrong as wrong:
            tell = mistake if wrong.said else error
            self.errors.append(tell(None, where, wrong.said or wrong.found, wrong.allowed))
            return None

    def _read(self, name: str, given: Any) -> Tensor:
        if not isinstance(given, dict):
            raise _Wrong(given, "an object with name, shape, datatype and data")
        self.errors += repeated(None, given)
        for key in given.keys() - set(_KEYS):
            self.errors.append(error(None, f"{name}.{key}", given[key], f"only {', '.join(_KEYS)}"))
        if not isinstance(given.get("name"), str):
            raise _Wrong(given.get("name", MISSING), "the name of a tensor, as text")
        datatype, shape = given.get("datatype", MISSING), given.get("shape", MISSING)
        if datatype != "BYTES" and (not isinstance(datatype, str) or datatype not in NUMPY):
            raise _Wrong(datatype, f"a datatype: BYTES, {', '.join(NUMPY)}")
        if not _is_shape(shape):
            raise _Wrong(shape, "a shape of one or two whole numbers")
        size = self._binary_size(given.get("parameters"))
        if size is None:
            return Tensor(name, datatype, shape, _flat(given.get("data", MISSING), shape))
        if "data" in given:
            raise _Wrong(given["data"], "nothing, as its binary_data_size is given")
        raw = self._behind[self._at : self._at + size]
        self._at += size
        if len(raw) < size:
            raise _Wrong(None, f"{size} bytes behind the JSON", said=f"{len(raw)} bytes")
        return Tensor(name, datatype, shape, _unpack(raw, datatype, math.prod(shape)))

    def _binary_size(self, parameters: Any) -> int | None:
        if parameters is None:
            return None
        if not isinstance(parameters, dict):
            raise _Wrong(parameters, "an object of parameters")
        self.errors += repeated(None, parameters)
        size = parameters.get("binary_data_size")
        if size is not None and (type(size) is not int or not 0 <= size < _MOST):
            raise _Wrong(size, "a binary_data_size of so many bytes")
        return size


def _is_shape(shape: Any) -> bool:
    return (
        isinstance(shape, list)
        and 1 <= len(shape) <= 2
        and all(type(size) is int and 0 <= size < _MOST for size in shape)
    )


def _flat(data: Any, shape: list[int]) -> list[Any]:
    """JSON values row by row, whether they came flat or as lists of a row each."""
    if not isinstance(data, list):
        raise _Wrong(data, "data, as a list of values")
    if len(shape) == 2 and data and all(isinstance(row, list) for row in data):
        if len(data) != shape[0]:
            raise _Wrong(None, f"{shape[0]} lists, as its shape says", said=f"{len(data)} lists")
        for row in data:
            if len(row) != shape[1]:
                said = f"a list of {len(row)} values"
                raise _Wrong(None, f"lists of {shape[1]}, as its shape says", said=said)
        return [value for row in data for value in row]
    if len(data) != math.prod(shape):
        allowed = f"{math.prod(shape)} values, as its shape says"
        raise _Wrong(None, allowed, said=f"{len(data)} values")
    return data


def _unpack(raw: bytes, datatype: str, count: int) -> Any:
    if datatype == "BYTES":
        return _texts(raw, count)
    if len(raw) != count * np.dtype(NUMPY[datatype]).itemsize:
        allowed = f"the bytes of {count} values of {datatype}, as its shape says"
        raise _Wrong(None, allowed, said=f"{len(raw)} bytes")
    return np.frombuffer(raw, NUMPY[datatype])


def _texts(raw: bytes, count: int) -> list[str]:
    """Each text's length in four bytes, then its UTF-8."""
    found: list[str] = []
    at = 0
    while at + _LENGTH.size <= len(raw):
        (length,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size
        if at + length > len(raw):
            break
        try:
            found.append(raw[at : at + length].decode("utf-8"))
        except UnicodeDecodeError:
            raise _Wrong(None, "UTF-8", said=f"other bytes in value {len(found)}") from None
        at += length
    if at != len(raw):
        raise _Wrong(None, "each text behind its length in four bytes", said="less bytes")
    if len(found) != count:
        raise _Wrong(None, f"{count} texts, as its shape says", said=f"{len(found)} texts")
    return found


def cells(column: Column, datatype: str, values: Any, errors: Errors) -> Numbers | Texts:
    """A column of a table, of a tensor's values; NaN is null."""
    if datatype not in DATATYPES[column.kind]:
        errors.append(error(None, column.name, datatype, " or ".join(DATATYPES[column.kind])))
        return []
    if isinstance(values, np.ndarray):
        return _numbers(column, datatype, values, errors)
    read: list[Any] = []
    for row, value in enumerate(values):
        try:
            cell = check_cell(column, None if value != value else value)  # noqa: PLR0124
            _check_range(datatype, cell)
            read.append(cell)
        except (ValueError, OverflowError):
            allowed = allowed_in(column) + (f", of {datatype}" if datatype in NUMPY else "")
            errors.append(error(row, column.name, value, allowed))
            read.append(None)
    return read if column.kind == "category" else np.array(read, dtype=np.float64)


def _check_range(datatype: str, cell: Any) -> None:
    """Raises ValueError for a number that the datatype cannot hold."""
    if cell is None or "INT" not in datatype:
        return
    limits = np.iinfo(NUMPY[datatype])
    if cell != int(cell) or not limits.min <= cell <= limits.max:
        raise ValueError


def _numbers(column: Column, datatype: str, values: NDArray[Any], errors: Errors) -> Numbers:
    with np.errstate(all="ignore"):
        floats = values.astype(np.float64)
    wrong = np.isinf(floats)
    if not column.nullable:
        wrong |= np.isnan(floats)
    if column.kind == "integer":
        # 64 bits end between two floats: whole numbers are compared as such.
        is_float = datatype in FLOATS
        wrong |= (floats >= 2.0**63) | (floats < -(2.0**63)) if is_float else values > INTEGERS[1]
        wrong |= (floats != np.trunc(floats)) & ~np.isnan(floats)
    if datatype == "BOOL":
        wrong |= values > 1
    for row in np.flatnonzero(wrong).tolist():
        errors.append(error(row, column.name, values[row].item(), allowed_in(column)))
    return floats


def pack(datatype: str, values: Sequence[Any]) -> bytes:
    """Values as the bytes of a tensor."""
    if datatype != "BYTES":
        return np.array(values, dtype=NUMPY[datatype]).tobytes()
    texts = [value.encode("utf-8") for value in values]
    return b"".join(part for text in texts for part in (_LENGTH.pack(len(text)), text))
