"""Texts inside Arrow buffers: where each is has to be checked, and whether it is UTF-8."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.arrow.flat import Damaged
from serving.arrow.ipc import Batch, Unsupported

INLINE = 12  # bytes of a text that a view itself holds
SHARED = 4  # times the bytes of their buffers is the most that different views may show


# Stands for a text that could not be read, and is told from others by being this one.
NOT_UTF8 = "".join(["bytes that are not", " UTF-8"])


class Texts(ABC):
    """`n` texts, read when they are asked for. `valid`: which are not null; None: all."""

    n: int
    valid: NDArray[np.bool_] | None

    @abstractmethod
    def pick(self, rows: NDArray[np.intp]) -> list[str]:
        """The texts of some rows, which have to be valid ones."""


def _decode(raw: memoryview) -> str:
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError:
        return NOT_UTF8


class Offsets(Texts):
    """One text after the other: Utf8 and LargeUtf8."""

    def __init__(self, batch: Batch, form: type[Any]) -> None:
        self.n = batch.n
        self.valid = batch.valid()
        places = batch.buffer()
        self._data = batch.buffer()
        # A column without rows may leave out even the one offset it should have.
        offsets = batch.numbers(places, form, batch.n + 1 if batch.n else 0)
        if batch.n and (
            offsets[0] < 0
            or offsets[-1] > len(self._data)
            or bool(np.any(offsets[1:] < offsets[:-1]))
        ):
            raise Damaged("offsets of texts that are not in their buffer, or not in order")
        self._offsets = offsets

    def pick(self, rows: NDArray[np.intp]) -> list[str]:
        """The texts of some rows."""
        starts, ends = self._offsets[rows].tolist(), self._offsets[rows + 1].tolist()
        data = self._data
        return [_decode(data[start:end]) for start, end in zip(starts, ends, strict=True)]


class Views(Texts):
    """Sixteen bytes a text, which are it or say where it is: Utf8View, as Polars sends it."""

    def __init__(self, batch: Batch) -> None:
        self.n = batch.n
        self.valid = batch.valid()
        views = batch.buffer()
        batch.numbers(views, np.uint8, 16 * batch.n)  # are they there?
        self._views = bytes(views[: 16 * batch.n])
        self._buffers = batch.variadic()
        self._left = SHARED * sum(len(buffer) for buffer in self._buffers)

    def pick(self, rows: NDArray[np.intp]) -> list[str]:
        """The texts of some rows; equal views give the same text."""
        known: dict[bytes, str] = {}
        found = []
        for row in rows.tolist():
            view = self._views[16 * row : 16 * row + 16]
            text = known.get(view)
            if text is None:
                text = known[view] = self._read(view)
            found.append(text)
        return found

    def _read(self, view: bytes) -> str:
        size = int.from_bytes(view[:4], "little", signed=True)
        if 0 <= size <= INLINE:
            return _decode(memoryview(view)[4 : 4 + size])
        which = int.from_bytes(view[8:12], "little", signed=True)
        at = int.from_bytes(view[12:], "little", signed=True)
        if size < 0 or at < 0 or not 0 <= which < len(self._buffers):
            raise Damaged("a view of a text that is nowhere")
        if at + size > len(self._buffers[which]):
            raise Damaged("a view of a text that is not in its buffer")
        self._left -= size
        if self._left < 0:
            raise Unsupported("views of texts that overlap too much; send large_string")
        return _decode(self._buffers[which][at : at + size])
