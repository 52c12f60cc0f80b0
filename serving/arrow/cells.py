"""The cells of Arrow columns, checked against the column they are for, many at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.arrow.flat import Damaged
from serving.arrow.texts import NOT_UTF8
from serving.arrow.texts import Texts as Stored
from serving.arrow.types import Cells, Storage
from serving.bundle import Column
from serving.cells import Errors, allowed_in, mistake, show
from serving.frame import date_to_days, microseconds_to_days
from serving.problem import ALL_ERRORS, Problem
from serving.table import Numbers, Texts

TEXT = 2**28  # characters of one request: a dictionary makes many of few
# From year 1 to before year 10000, as JSON's dates.
_FIRST, _END = -62_135_596_800, 253_402_300_800  # seconds
_PER_SECOND = {
    "day": Fraction(1, 86_400),
    "s": Fraction(1),
    "ms": Fraction(1_000),
    "us": Fraction(1_000_000),
    "ns": Fraction(1_000_000_000),
}


class Mistakes:
    """All mistakes of a request, of which the first are told in full."""

    def __init__(self, errors: Errors) -> None:
        self.all = errors
        self._characters = 0

    def add(
        self, column: Column, rows: NDArray[np.intp], begin: int, found: Callable[[int], str]
    ) -> None:
        """These rows of a batch (which begins at row `begin`) hold what is not allowed."""
        if not len(rows):
            return
        told = rows[: max(1, ALL_ERRORS - len(self.all))].tolist()
        allowed = allowed_in(column)
        self.all += [mistake(begin + row, column.name, found(row), allowed) for row in told]
        # Nobody reads the others, but they count.
        self.all += self.all[-1:] * (len(rows) - len(told))

    def count(self, texts: Sequence[str | None]) -> None:
        """Raises Problem if all texts together have too many characters."""
        self._characters += sum(map(len, filter(None, texts)))
        if self._characters > TEXT:
            raise Problem(413, f"more than {TEXT:,} characters of text in one request")


def cells(
    column: Column,
    storage: Storage,
    found: Cells,
    words: Cells | None,
    begin: int,
    mistakes: Mistakes,
) -> Numbers | Texts:
    """A batch's cells of one column, as a table has them; `words`: what a dictionary's codes mean.

    What is not allowed is added to the mistakes.
    """
    if storage.holds == "text":
        texts = _texts(found) if storage.codes is None else _words(found, words)
        mistakes.count(texts)
        null = np.array([text is None for text in texts], dtype=np.bool_)
        _check_nulls(column, null, begin, mistakes)
        read = _as_dates if column.kind == "date" else _as_texts
        return read(column, texts, begin, mistakes)
    values: NDArray[Any] = found.values  # type: ignore[assignment]
    null = np.zeros(len(values), np.bool_) if found.valid is None else ~found.valid
    _check_nulls(column, null, begin, mistakes)
    if column.kind == "category":
        return [None] * len(null)  # of Arrow's null type
    numbers, wrong = _numbers(column, storage, values)
    mistakes.add(column, np.flatnonzero(wrong & ~null), begin, _shown(storage, values))
    return np.where(null | wrong, np.nan, numbers)


def _check_nulls(column: Column, null: NDArray[np.bool_], begin: int, mistakes: Mistakes) -> None:
    if not column.nullable:
        mistakes.add(column, np.flatnonzero(null), begin, lambda _: "null")


def _rows(valid: NDArray[np.bool_] | None, n: int) -> NDArray[np.intp]:
    return np.arange(n) if valid is None else np.flatnonzero(valid)


def _texts(found: Cells) -> list[str | None]:
    stored: Stored = found.values  # type: ignore[assignment]
    rows = _rows(found.valid, stored.n)
    return _spread(rows, stored.pick(rows), stored.n)


def _spread(rows: NDArray[np.intp], values: Sequence[Any], n: int) -> list[Any]:
    """The values in their rows, None in the others."""
    if len(rows) == n:
        return list(values)
    spread = [None] * n
    for row, value in zip(rows.tolist(), values, strict=True):
        spread[row] = value
    return spread


def _words(found: Cells, words: Cells | None) -> list[str | None]:
    codes: NDArray[Any] = found.values  # type: ignore[assignment]
    rows = _rows(found.valid, len(codes))
    used, which = np.unique(codes[rows], return_inverse=True)
    if not len(used):
        return [None] * len(codes)
    if words is None:
        raise Damaged("codes of a dictionary that has not come")
    stored: Stored = words.values  # type: ignore[assignment]
    if used[0] < 0 or used[-1] >= stored.n:
        raise Damaged(f"a code that its dictionary of {stored.n} does not have")
    used = used.astype(np.intp)
    known = np.arange(len(used)) if words.valid is None else np.flatnonzero(words.valid[used])
    texts = _spread(known, stored.pick(used[known]), len(used))
    return _spread(rows, [texts[number] for number in which.tolist()], len(codes))


def _as_texts(
    column: Column, texts: list[str | None], begin: int, mistakes: Mistakes
) -> list[str | None]:
    wrong = [row for row, text in enumerate(texts) if text is NOT_UTF8]
    mistakes.add(column, np.array(wrong, dtype=np.intp), begin, lambda _: str(NOT_UTF8))
    return texts


def _as_dates(column: Column, texts: list[str | None], begin: int, mistakes: Mistakes) -> Numbers:
    days: dict[str | None, float] = {None: math.nan}
    for text in set(texts) - {None}:
        try:
            days[text] = date_to_days(text or "")
        except (ValueError, OverflowError):
            days[text] = math.inf
    numbers = np.array([days[text] for text in texts], dtype=np.float64)
    wrong = np.flatnonzero(np.isinf(numbers))
    mistakes.add(column, wrong, begin, lambda row: show((texts[row] or "")[:100]))
    return numbers


def _numbers(
    column: Column, storage: Storage, values: NDArray[Any]
) -> tuple[Numbers, NDArray[np.bool_]]:
    """The values as float64, and which of them are not allowed."""
    if storage.holds == "instant":
        return _days(values, storage.unit)
    numbers = values.astype(np.float64)
    wrong = ~np.isfinite(numbers)
    if column.kind == "integer":
        wrong |= (numbers != np.floor(numbers)) | (numbers < -(2.0**63))
        # Float64 has no 2**63 - 1: what is rounded up to 2**63 may be one too many, or not.
        wrong |= values > 2**63 - 1 if storage.holds == "int" else numbers >= 2.0**63
    return numbers, wrong


def _days(values: NDArray[Any], unit: str) -> tuple[Numbers, NDArray[np.bool_]]:
    per = _PER_SECOND[unit]
    wrong = _outside(values, int(_FIRST * per), int(_END * per))
    values = np.where(wrong, 0, values).astype(np.int64)
    # Nanoseconds are cut off as in text, where a microsecond is the least that counts.
    since = values // 1_000 if unit == "ns" else values * int(1_000_000 / per)
    return microseconds_to_days(since), wrong


def _outside(values: NDArray[Any], first: int, end: int) -> NDArray[np.bool_]:
    least, most = max(first, -(2**63)), min(end - 1, 2**63 - 1)
    return np.asarray((values < least) | (values > most), dtype=np.bool_)


def _shown(storage: Storage, values: NDArray[Any]) -> Callable[[int], str]:
    if storage.holds == "instant":
        return lambda row: f"{values[row]} {storage.unit} since 1970-01-01"
    return lambda row: show(values[row].item())
