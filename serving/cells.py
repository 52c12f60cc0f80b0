"""Cells: single values, checked against the column they are for; and how mistakes are told."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.bundle import Column, Kind
from serving.frame import date_to_days
from serving.problem import Problem
from serving.table import Cell, Numbers, Row, Table, Texts

INTEGERS = (-(2**63), 2**63 - 1)
MISSING: Any = object()
UNKNOWN = "a column of the model's signature (GET / lists them)"
_ALLOWED: dict[Kind, str] = {
    "number": "a finite number",
    "integer": "a whole number of at most 64 bits",
    "boolean": "true or false",
    "category": "text",
    "date": 'a date such as "2026-11-23" or "2026-11-23T10:30:00Z"',
}
Errors = list[dict[str, Any]]


def check_count(rows: int, most: int) -> None:
    """Raises Problem if there are too many rows, or none."""
    if rows > most:
        raise Problem(413, f"{rows} rows in one request, at most {most} allowed")
    if rows == 0:
        raise Problem(422, "found no rows, allowed: at least one")


def records_to_rows(columns: Sequence[Column], records: Sequence[Any]) -> list[Row]:
    """Objects of column: value, checked cell by cell; raises Problem 422 with all mistakes."""
    known = {column.name for column in columns}
    errors: Errors = []
    rows = [_row(columns, known, number, it, errors) for number, it in enumerate(records)]
    raise_all(errors)
    return rows


def _row(
    columns: Sequence[Column], known: set[str], number: int, record: Any, errors: Errors
) -> Row:
    if not isinstance(record, dict):
        errors.append(error(number, None, record, "an object of column: value"))
        return ()
    errors += repeated(number, record)
    errors += [error(number, name, record[name], UNKNOWN) for name in record if name not in known]
    return tuple(
        _cell(column, number, record.get(column.name, MISSING), errors) for column in columns
    )


def _cell(column: Column, number: int, value: Any, errors: Errors) -> Cell:
    try:
        return check_cell(column, value)
    except (ValueError, OverflowError):
        errors.append(error(number, column.name, value, allowed_in(column)))
        return None


def columns_to_table(columns: Sequence[Column], given: Mapping[str, Any], max_rows: int) -> Table:
    """Lists by column, checked cell by cell; a nullable column that is left out is null.

    Raises Problem: 413 for too many rows, 422 with all mistakes.
    """
    known = {column.name for column in columns}
    errors = [error(None, name, given[name], UNKNOWN) for name in given if name not in known]
    errors += [
        error(None, name, values, "a list")
        for name, values in given.items()
        if name in known and not isinstance(values, list | tuple)
    ]
    raise_all(errors)
    n = max((len(values) for values in given.values()), default=0)
    check_count(n, max_rows)
    errors = [
        mistake(None, name, f"{len(values)} values", f"{n} values, as in the longest column")
        for name, values in given.items()
        if len(values) != n
    ]
    raise_all(errors)
    missing = [MISSING] * n
    read: list[Numbers | Texts] = []
    for column in columns:
        values = given.get(column.name, missing)
        cells: list[Any] = [_cell(column, i, value, errors) for i, value in enumerate(values)]
        read.append(cells if column.kind == "category" else np.array(cells, dtype=np.float64))
    raise_all(errors)
    return Table(n, read)


def parse(body: bytes) -> Any:
    """JSON, and beyond it NaN and Infinity, so that the row and column they are in can be told."""
    try:
        return json.loads(body.decode("utf-8"), parse_int=_integer, object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        raise Problem(400, f"the body is not UTF-8: byte {error.start}") from None
    except RecursionError:
        raise Problem(400, "the body is nested too deeply") from None
    except ValueError as error:
        raise Problem(400, f"the body is not JSON: {error}") from None


class _Twice(dict[str, Any]):
    """An object in which keys stood more than once."""

    repeated: list[str]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    twice = _Twice(found)
    counted = Counter(name for name, _ in pairs)
    twice.repeated = [name for name, count in counted.items() if count > 1]
    return twice


def repeated(row: int | None, document: dict[str, Any]) -> Errors:
    """The keys of a parsed object that stood in it more than once."""
    if not isinstance(document, _Twice):
        return []
    return [mistake(row, name, "it twice", "each key once") for name in document.repeated]


def _integer(digits: str) -> int | float:
    # Python refuses to read thousands of digits; as a number they are infinite all the same.
    return int(digits) if len(digits) <= 400 else math.inf


def allowed_in(column: Column) -> str:
    """What a column takes, for people."""
    return _ALLOWED[column.kind] + (" or null" if column.nullable else "")


def is_finite(value: Any) -> bool:
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:
        return False


def check_cell(column: Column, value: Any) -> Cell:
    """The cell of a JSON value; raises ValueError if it is not allowed."""
    if value is None or value is MISSING:
        if column.nullable:
            return None
        raise ValueError
    kind = column.kind
    if kind == "boolean":
        fits = type(value) is bool
    elif kind in ("category", "date"):
        fits = type(value) is str and _is_unicode(value)
    else:
        fits = is_finite(value)
    if not fits:
        raise ValueError
    if kind == "date":
        return date_to_days(value)
    if kind == "integer":
        return _whole(value)
    return float(value) if kind == "number" else value


def _whole(value: float) -> int:
    # 3.0 is a whole number: clients with nulls in an integer column cannot help sending floats.
    if value != int(value) or not INTEGERS[0] <= value <= INTEGERS[1]:
        raise ValueError
    return int(value)


def _is_unicode(text: str) -> bool:
    """Whether it can be written down: JSON's escapes can spell half a surrogate pair."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def list_of(document: Any, name: str) -> list[Any]:
    """The list that an object has under its only key; raises Problem 422."""
    if not isinstance(document, dict):
        raise Problem(422, f"found {show(document)}, allowed: an object with {name!r}")
    errors = repeated(None, document)
    errors += [
        error(None, key, value, f"only {name!r}") for key, value in document.items() if key != name
    ]
    rows = document.get(name, MISSING)
    if not isinstance(rows, list):
        errors.append(error(None, name, rows, "a list"))
    raise_all(errors)
    return list(rows)


def raise_all(errors: Errors) -> None:
    """Raises Problem 422 if there are any."""
    if errors:
        first = errors[0]
        where = "" if first["row"] is None else f"row {first['row']}, "
        where += f"column {first['column']}: " if first["column"] else ""
        rest = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        detail = f"{where}found {first['found']}, allowed: {first['allowed']}{rest}"
        raise Problem(422, detail, errors)


def error(row: int | None, column: str | None, found: Any, allowed: str) -> dict[str, Any]:
    """One mistake: where it is, what was found (a value, or MISSING), and what is allowed."""
    return mistake(row, column, show(found), allowed)


def mistake(row: int | None, column: str | None, found: str, allowed: str) -> dict[str, Any]:
    """One mistake, where what was found is said in words."""
    # A name may hold half a surrogate pair too, and then could not be sent back.
    name = None if column is None else column.encode("utf-8", "backslashreplace").decode()[:200]
    return {"row": row, "column": name, "found": found, "allowed": allowed}


def show(value: Any) -> str:
    """A value for people, not longer than a line."""
    if value is MISSING:
        return "nothing"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
