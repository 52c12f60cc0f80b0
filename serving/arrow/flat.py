"""FlatBuffers, as far as Arrow's messages need them, with every access checked."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

NAME = 4_096  # bytes
_UINT8 = struct.Struct("<B")
_INT16 = struct.Struct("<h")
_UINT16 = struct.Struct("<H")
_INT32 = struct.Struct("<i")
_UINT32 = struct.Struct("<I")
_INT64 = struct.Struct("<q")


class Damaged(Exception):
    """Bytes that do not mean what they should; says where it shows."""


def read(form: struct.Struct, data: memoryview, at: int) -> tuple[Any, ...]:
    """Numbers at a place; raises Damaged if they are not all inside."""
    if at < 0 or at + form.size > len(data):
        raise Damaged(f"{form.size} bytes at byte {at} of {len(data)}")
    return form.unpack_from(data, at)


class Flat:
    """A table: fields by number, each of which may be left out."""

    __slots__ = ("_at", "_data", "_places", "_size")

    def __init__(self, data: memoryview, at: int) -> None:
        self._data = data
        self._at = at
        self._places = at - read(_INT32, data, at)[0]
        self._size = read(_UINT16, data, self._places)[0]

    @classmethod
    def root(cls, data: memoryview) -> Flat:
        """The table that a message is."""
        return cls(data, read(_UINT32, data, 0)[0])

    def uint8(self, number: int) -> int:
        """A small number, a flag (0 if left out)."""
        return self._number(_UINT8, number, 0)

    def int16(self, number: int, default: int = 0) -> int:
        """A number of 16 bits."""
        return self._number(_INT16, number, default)

    def int32(self, number: int) -> int:
        """A number of 32 bits (0 if left out)."""
        return self._number(_INT32, number, 0)

    def int64(self, number: int) -> int:
        """A number of 64 bits (0 if left out)."""
        return self._number(_INT64, number, 0)

    def table(self, number: int) -> Flat | None:
        """A table, if it is there."""
        at = self._place(number)
        return None if at is None else Flat(self._data, self._target(at))

    def text(self, number: int) -> str:
        """A text ("" if left out)."""
        at, size = self._vector(number, 1)
        if size > NAME:  # many fields can point at one name
            raise Damaged(f"a name of {size} bytes")
        try:
            return str(self._data[at : at + size], "utf-8")
        except UnicodeDecodeError:
            raise Damaged("a name that is not UTF-8") from None

    def count(self, number: int) -> int:
        """How long a vector of tables is."""
        return self._vector(number, 4)[1]

    def tables(self, number: int, most: int) -> list[Flat] | None:
        """A vector of tables; None if there are more than `most`."""
        at, count = self._vector(number, 4)
        if count > most:
            return None
        places = range(at, at + 4 * count, 4)
        return [Flat(self._data, self._target(place)) for place in places]

    def longs(self, number: int) -> NDArray[np.int64]:
        """A vector of 64-bit numbers."""
        at, count = self._vector(number, 8)
        return self._int64s(at, count)

    def pairs(self, number: int) -> NDArray[np.int64]:
        """A vector of structs of two 64-bit numbers."""
        at, count = self._vector(number, 16)
        return self._int64s(at, 2 * count).reshape(count, 2)

    def _int64s(self, at: int, count: int) -> NDArray[np.int64]:
        if not count:
            return np.empty(0, dtype=np.int64)  # frombuffer takes no empty buffers
        return np.frombuffer(self._data, "<i8", count, at)

    def _place(self, number: int) -> int | None:
        entry = 4 + 2 * number
        if entry + 2 > self._size:
            return None
        offset = read(_UINT16, self._data, self._places + entry)[0]
        return self._at + offset if offset else None

    def _number(self, form: struct.Struct, number: int, default: int) -> int:
        at = self._place(number)
        return default if at is None else int(read(form, self._data, at)[0])

    def _target(self, at: int) -> int:
        return at + int(read(_UINT32, self._data, at)[0])

    def _vector(self, number: int, size: int) -> tuple[int, int]:
        """Where its elements begin, and how many there are."""
        at = self._place(number)
        if at is None:
            return 0, 0
        start = self._target(at)
        count = int(read(_UINT32, self._data, start)[0])
        if start + 4 + count * size > len(self._data):
            raise Damaged(f"{count} elements at byte {start} of {len(self._data)}")
        return start + 4, count
