"""Requests, decoded by the bundle's signature; all mistakes of a request are told at once.

A right request takes the short way, through types that msgspec compiles. Whatever it refuses is
read again cell by cell: that way decides, and knows every mistake with its row and column.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from serving.bundle import Column, Kind, Manifest, Signature
from serving.frame import date_to_days
from serving.problem import Problem

INTEGERS = (-(2**63), 2**63 - 1)
_MISSING: Any = object()
_TYPES: dict[Kind, Any] = {
    "number": float,
    "integer": Annotated[int, msgspec.Meta(ge=INTEGERS[0], le=INTEGERS[1])],
    "boolean": bool,
    "category": str,
    "date": str,
}
_ALLOWED: dict[Kind, str] = {
    "number": "a finite number",
    "integer": "a whole number of at most 64 bits",
    "boolean": "true or false",
    "category": "text",
    "date": 'a date such as "2026-11-23" or "2026-11-23T10:30:00Z"',
}
Record = dict[str, Any]
Errors = list[dict[str, Any]]


class Decoder:
    """Decodes the bodies of /predict for one signature."""

    def __init__(self, signature: Signature, max_rows: int = 1_000) -> None:
        self._columns = signature.columns
        self._names = [column.name for column in signature.columns]
        self._known = frozenset(self._names)
        self._dates = [column.name for column in signature.columns if column.kind == "date"]
        self._max_rows = max_rows
        self._fast = msgspec.json.Decoder(_request_type(signature.columns))

    def records(self, body: bytes) -> list[Record]:
        """Every record with every column, null where the client left out a nullable one.

        Raises Problem: 400 if it is not JSON, 413 for too many rows, 422 with all mistakes.
        """
        try:
            rows = self._fast.decode(body).records
            self._count(len(rows))
            records = [
                dict(zip(self._names, msgspec.structs.astuple(row), strict=True)) for row in rows
            ]
            for name in self._dates:
                for record in records:
                    if record[name] is not None:
                        date_to_days(record[name])
        except (ValueError, RecursionError):
            # msgspec's errors, bad UTF-8 and bad dates are all ValueErrors.
            return self._read(body)
        return records

    def _read(self, body: bytes) -> list[Record]:
        rows = _list_of(parse(body), "records")
        self._count(len(rows))
        errors: Errors = []
        records = [self._record(number, row, errors) for number, row in enumerate(rows)]
        _raise(errors)
        return records

    def _count(self, rows: int) -> None:
        if rows > self._max_rows:
            raise Problem(413, f"{rows} records in one request, at most {self._max_rows} allowed")
        if rows == 0:
            raise Problem(422, "records: found an empty list, allowed: at least one record")

    def _record(self, number: int, row: Any, errors: Errors) -> Record:
        if not isinstance(row, dict):
            errors.append(_error(number, None, row, "an object of column: value"))
            return {}
        for name in (name for name in row if name not in self._known):
            allowed = "a column of the model's signature (GET / lists them)"
            errors.append(_error(number, name, row[name], allowed))
        record = {}
        for column in self._columns:
            value = row.get(column.name, _MISSING)
            try:
                record[column.name] = _check(column, value)
            except (ValueError, OverflowError):
                allowed = _ALLOWED[column.kind] + (" or null" if column.nullable else "")
                errors.append(_error(number, column.name, value, allowed))
        return record


def parse(body: bytes) -> Any:
    """JSON, and beyond it NaN and Infinity, so that the row and column they are in can be told."""
    try:
        return json.loads(body.decode("utf-8"), parse_int=_integer)
    except UnicodeDecodeError as error:
        raise Problem(400, f"the body is not UTF-8: byte {error.start}") from None
    except RecursionError:
        raise Problem(400, "the body is nested too deeply") from None
    except ValueError as error:
        raise Problem(400, f"the body is not JSON: {error}") from None


def _integer(digits: str) -> int | float:
    # Python refuses to read thousands of digits; as a number they are infinite all the same.
    return int(digits) if len(digits) <= 400 else math.inf


def decode_labels(body: bytes, manifest: Manifest) -> list[Record]:
    """The labels of /feedback: prediction id and what turned out to be true.

    Raises Problem: 400 if it is not JSON, 422 with all mistakes.
    """
    rows = _list_of(parse(body), "labels")
    check = _label_check(manifest)
    errors: Errors = []
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            errors.append(_error(number, None, row, 'an object with "id" and "label"'))
            continue
        for name in (name for name in row if name not in ("id", "label")):
            errors.append(_error(number, name, row[name], 'only "id" and "label"'))
        identity = row.get("id", _MISSING)
        if not (isinstance(identity, str) and 0 < len(identity) <= 100 and identity.isascii()):
            errors.append(_error(number, "id", identity, "the id of a prediction"))
        allowed = check(row.get("label", _MISSING))
        if allowed:
            errors.append(_error(number, "label", row.get("label", _MISSING), allowed))
    _raise(errors)
    return rows


def _label_check(manifest: Manifest) -> Callable[[Any], str | None]:
    """A function that says what is allowed, if its argument is not."""
    if not manifest.classes:
        return lambda label: None if _is_finite(label) else "a finite number"
    known = {(type(label), label) for label in manifest.classes}
    allowed = "one of " + ", ".join(json.dumps(label) for label in manifest.classes)

    def check(label: Any) -> str | None:
        fits = isinstance(label, str | int) and (type(label), label) in known
        return None if fits else allowed

    return check


def _request_type(columns: list[Column]) -> Any:
    fields: list[Any] = []
    for number, column in enumerate(columns):
        kind = _TYPES[column.kind]
        fields.append(
            (f"c{number}", kind | None, None) if column.nullable else (f"c{number}", kind)
        )
    # Positional names, because a column may have any name; keyword-only, because those that may be
    # left out need not come last.
    names = {f"c{number}": column.name for number, column in enumerate(columns)}
    options: Any = {"forbid_unknown_fields": True, "gc": False}
    row = msgspec.defstruct("Row", fields, rename=names, kw_only=True, **options)
    return msgspec.defstruct("Request", [("records", list[row])], **options)  # type: ignore[valid-type]


def _is_finite(value: Any) -> bool:
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:
        return False


def _check(column: Column, value: Any) -> Any:
    """The value as the short way would give it; raises ValueError if it is not allowed."""
    if value is None or value is _MISSING:
        if column.nullable:
            return None
        raise ValueError
    kind = column.kind
    if kind == "boolean":
        fits = type(value) is bool
    elif kind in ("category", "date"):
        fits = type(value) is str and _is_unicode(value)
    else:
        fits = _is_finite(value)
    if not fits:
        raise ValueError
    if kind == "date":
        date_to_days(value)
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


def _list_of(document: Any, name: str) -> list[Any]:
    if not isinstance(document, dict):
        raise Problem(422, f"found {_show(document)}, allowed: an object with {name!r}")
    errors = [
        _error(None, key, value, f"only {name!r}") for key, value in document.items() if key != name
    ]
    rows = document.get(name, _MISSING)
    if not isinstance(rows, list):
        errors.append(_error(None, name, rows, "a list"))
    _raise(errors)
    return list(rows)


def _raise(errors: Errors) -> None:
    if errors:
        first = errors[0]
        where = "" if first["row"] is None else f"row {first['row']}, "
        where += f"column {first['column']}: " if first["column"] else ""
        rest = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        detail = f"{where}found {first['found']}, allowed: {first['allowed']}{rest}"
        raise Problem(422, detail, errors)


def _error(row: int | None, column: str | None, found: Any, allowed: str) -> dict[str, Any]:
    # A name may hold half a surrogate pair too, and then could not be sent back.
    name = None if column is None else column.encode("utf-8", "backslashreplace").decode()[:200]
    return {"row": row, "column": name, "found": _show(found), "allowed": allowed}


def _show(value: Any) -> str:
    if value is _MISSING:
        return "nothing"
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
