"""Raw JSON values become the numbers and texts a pipeline is fitted on, in training and serving.

    number, integer, boolean    float (null: NaN, true: 1.0)
    date                        days since 1970-01-01 UTC, a time of day is a fraction
    category                    text (null: NaN)

`cell` is that table; everything else here is made of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.bundle import Column, Kind
from serving.table import Table

DAY_MICROSECONDS = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# fromisoformat takes more than this (weeks, other separators), and what it takes differs between
# Python versions: a bundle must mean the same everywhere.
_DATE = re.compile(
    r"\d{4}-\d{2}-\d{2}([T ][0-2]\d:[0-5]\d(:[0-5]\d(\.\d{1,9})?)?(Z|[+-][0-2]\d:[0-5]\d)?)?",
    re.ASCII,
)
_HOUR = slice(11, 13)


def microseconds_to_days(since_epoch: NDArray[np.int64]) -> NDArray[np.float64]:
    """Days of many instants; bit for bit what `date_to_days` gives for each."""
    return since_epoch.astype(np.float64) / float(DAY_MICROSECONDS)


def date_to_days(raw: str | date) -> float:
    """Days since the epoch of `2026-11-23`, `2026-11-23T10:30:00[.5][Z|+01:00]`, or a date object.

    No time zone means UTC. Raises ValueError if it is not such a date.
    """
    moment = _parse(raw) if isinstance(raw, str) else raw
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    # Through float, as microseconds_to_days does: an exact int/int can round another way.
    return float((moment - _EPOCH) // _MICROSECOND) / float(DAY_MICROSECONDS)


def days_to_date(days: float) -> str:
    """The ISO text of `days`, which leads back to the same number (from 1700 to 2250)."""
    whole = math.floor(days)  # apart, or the product loses the microsecond
    microseconds = whole * DAY_MICROSECONDS + round((days - whole) * DAY_MICROSECONDS)
    moment = _EPOCH + microseconds * _MICROSECOND
    if moment.time() == _EPOCH.time():
        return moment.date().isoformat()
    return moment.replace(tzinfo=None).isoformat()


def _parse(text: str) -> datetime:
    if not _DATE.fullmatch(text) or text[_HOUR] >= "24":
        raise ValueError(f"not a date: {text!r}")
    return datetime.fromisoformat(text)


def _is_null(value: Any) -> bool:
    try:
        return value is None or bool(value != value)  # noqa: PLR0124 - NaN, NaT are not themselves
    except TypeError:
        return True  # pandas' NA will not even say that


def cell(kind: Kind, raw: Any) -> float | str:
    """One raw value as the pipeline takes it; None and NaN are null."""
    if _is_null(raw):
        return math.nan
    if kind == "category":
        return str(raw)
    if kind == "date":
        return date_to_days(raw)
    return float(raw)


def raw_value(kind: Kind, value: Any) -> float | int | bool | str | None:
    """The JSON value that `cell` turns into `value`: for sample requests made of training rows."""
    if _is_null(value):
        return None
    if kind == "category":
        return str(value)
    if kind == "date":
        return days_to_date(float(value))
    if kind == "number":
        return float(value)
    if not float(value).is_integer():
        raise ValueError(f"{value!r} is not {'true or false' if kind == 'boolean' else 'whole'}")
    return bool(value) if kind == "boolean" else int(value)


class Mixed(np.ndarray[Any, Any]):
    """A matrix of cells from which number columns are selected as float64, as from a DataFrame.

    Without this a step that was fitted on floats gets objects: `np.log1p` then fails, and encoders
    of numbers take another way than in training.
    """

    is_text: NDArray[np.bool_] | None

    def __array_finalize__(self, origin: Any) -> None:
        self.is_text = getattr(origin, "is_text", None)

    def __getitem__(self, key: Any) -> Any:
        part = np.asarray(self)[key]
        by_column = isinstance(key, tuple) and len(key) == 2
        if by_column and self.is_text is not None and not np.any(self.is_text[key[1]]):
            return np.asarray(part, dtype=np.float64)
        return part


def to_table(columns: Sequence[Column], records: Sequence[Mapping[str, Any]]) -> Table:
    """Records by column, as engines take them; a column a record lacks is null."""
    cells: list[Any] = [
        [cell(column.kind, record.get(column.name)) for record in records] for column in columns
    ]
    return Table(
        len(records),
        [
            [None if value != value else value for value in values]  # noqa: PLR0124 - NaN
            if column.kind == "category"
            else np.array(values, dtype=np.float64)
            for column, values in zip(columns, cells, strict=True)
        ],
    )


def to_input(table: Table) -> NDArray[Any]:
    """What the positional pipeline is given: float64 if every column is, else a Mixed matrix."""
    is_text = np.array([not isinstance(it, np.ndarray) for it in table.columns], dtype=bool)
    if not is_text.any():
        numbers = [np.asarray(values) for values in table.columns]
        return np.column_stack(numbers) if numbers else np.empty((table.n, 0))
    matrix = np.empty((table.n, len(table.columns)), dtype=object)
    for position, values in enumerate(table.columns):
        text = is_text[position]
        matrix[:, position] = [math.nan if v is None else v for v in values] if text else values
    mixed = matrix.view(Mixed)
    mixed.is_text = is_text
    return mixed
