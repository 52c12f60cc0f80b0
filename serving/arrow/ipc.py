"""Arrow IPC streams of strangers, read without trusting a byte of them.

The readers in C that are at hand crash on damaged streams. Here Python and NumPy read: every place
and length is checked against what is there before it is used, and nothing is allocated because a
stream says so. Only flat columns are read, which is all that a signature can name.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from serving.arrow.flat import Damaged, Flat, read

Number = TypeVar("Number", bound=np.generic)
SCHEMA, DICTIONARY, BATCH = 1, 2, 3  # Message.fbs: MessageHeader
MESSAGES = 4_096  # of one stream: each costs time, however few rows it has
FIELDS = 4_096
VARIADIC = 4_096
_HEAD = struct.Struct("<Ii")
_GOES_ON = 0xFFFF_FFFF


class Unsupported(Exception):
    """A stream as it should be, but not as it is read here; says why."""


class Message(NamedTuple):
    """A message's kind, what it says, and its bytes."""

    kind: int
    header: Flat
    body: memoryview


def messages(stream: bytes) -> Iterator[Message]:
    """The messages of a stream, with or without its end mark; raises Damaged, Unsupported."""
    view = memoryview(stream)
    at = count = 0
    while at < len(view):
        goes_on, size = read(_HEAD, view, at)
        if goes_on != _GOES_ON:
            raise Damaged(f"no message begins at byte {at}")
        at += _HEAD.size
        if size == 0:
            if at != len(view):
                raise Damaged(f"the stream ends at byte {at}, the body goes on")
            return
        count += 1
        if count > MESSAGES:
            raise Unsupported(f"more than {MESSAGES:,} messages; send fewer, larger batches")
        metadata = _part(view, at, size)
        root = Flat.root(metadata)
        header = root.table(2)
        if header is None:
            raise Damaged("a message without a header")
        body = _part(view, at + size, root.int64(3))
        yield Message(root.uint8(1), header, body)
        at += size + len(body)


def _part(view: memoryview, at: int, size: int) -> memoryview:
    if at < 0 or size < 0 or at + size > len(view):
        raise Damaged(f"{size} bytes at byte {at} of {len(view)}")
    return view[at : at + size]


class Field(NamedTuple):
    """A column of the stream. `dictionary`: the id of the values that its `codes` stand for."""

    name: str
    type: int
    details: Flat | None
    dictionary: int | None
    codes: Flat | None
    nested: bool


def fields(schema: Flat) -> list[Field]:
    """The columns of a schema message; raises Damaged, Unsupported."""
    if schema.int16(0) != 0:
        raise Unsupported("the stream is big-endian; send it little-endian")
    found = schema.tables(1, FIELDS)
    if found is None:
        raise Unsupported(f"more than {FIELDS:,} columns")
    return [_field(it) for it in found]


def _field(it: Flat) -> Field:
    coded = it.table(4)
    return Field(
        name=it.text(0),
        type=it.uint8(2),
        details=it.table(3),
        dictionary=None if coded is None else coded.int64(0),
        codes=None if coded is None else coded.table(1),
        nested=it.count(5) > 0,
    )


class Batch:
    """The buffers of a record batch, taken column by column."""

    def __init__(self, header: Flat, body: memoryview) -> None:
        if header.table(3) is not None:
            raise Unsupported("the batches are compressed; send them uncompressed")
        self.n = header.int64(0)
        if self.n < 0:
            raise Damaged(f"a batch of {self.n} rows")
        self._body = body
        self._left = len(body)
        self._nodes = iter(header.pairs(1))
        self._buffers = iter(header.pairs(2))
        self._variadic = iter(header.longs(4))

    def node(self) -> int:
        """Begin the next column; returns how many nulls it says it has."""
        length, nulls = next(self._nodes, (-1, 0))
        if length != self.n:
            raise Damaged(f"a column of {length} rows in a batch of {self.n}")
        return int(nulls)

    def buffer(self) -> memoryview:
        """The next buffer."""
        at, size = next(self._buffers, (-1, 0))
        found = _part(self._body, int(at), int(size))
        self._left -= len(found)
        if self._left < 0:  # or a few bytes could pass for any number of long texts
            raise Damaged("buffers that overlap")
        return found

    def variadic(self) -> list[memoryview]:
        """The buffers that the next column has beyond the usual."""
        count = int(next(self._variadic, -1))
        if count < 0:
            raise Damaged("a column of views without the number of its buffers")
        if count > VARIADIC:
            raise Unsupported(f"more than {VARIADIC:,} buffers of one column of a batch")
        return [self.buffer() for _ in range(count)]

    def valid(self) -> NDArray[np.bool_] | None:
        """Of a column that has begun, which rows are not null; None if all are."""
        nulls = self.node()
        bitmap = self.buffer()
        return None if nulls == 0 or not len(bitmap) else self.bits(bitmap)

    def bits(self, buffer: memoryview) -> NDArray[np.bool_]:
        """A bit for each row."""
        raw = self.numbers(buffer, np.uint8, -(-self.n // 8))
        return np.unpackbits(raw, count=self.n, bitorder="little").view(np.bool_)

    def numbers(self, buffer: memoryview, form: type[Number], count: int) -> NDArray[Number]:
        """The first `count` numbers of a buffer."""
        if count * np.dtype(form).itemsize > len(buffer):
            raise Damaged(f"{count} values of {form.__name__} in {len(buffer)} bytes")
        if not count:
            return np.empty(0, dtype=form)  # frombuffer takes no empty buffers
        return np.frombuffer(buffer, dtype=np.dtype(form).newbyteorder("<"), count=count)
