"""JSON requests, decoded by the bundle's signature; all mistakes of a request are told at once.

A right request takes the short way, through types that msgspec compiles. Whatever it refuses, or
might have read otherwise than it stands there, is read again cell by cell: that way decides, and
knows every mistake with its row and column.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from serving.bundle import Column, Kind, Manifest, Signature
from serving.cells import (
    INTEGERS,
    MISSING,
    Errors,
    check_count,
    columns_to_table,
    error,
    is_finite,
    list_of,
    parse,
    raise_all,
    records_to_rows,
    repeated,
    show,
)
from serving.frame import date_to_days
from serving.problem import Problem
from serving.table import Row, Table

_TYPES: dict[Kind, Any] = {
    "number": float,
    "integer": Annotated[int, msgspec.Meta(ge=INTEGERS[0], le=INTEGERS[1])],
    "boolean": bool,
    "category": str,
    "date": str,
}
_QUOTE, _ESCAPE = b'"', b"\\"
_UNSET = msgspec.UNSET
_astuple = msgspec.structs.astuple
REQUEST = "an object with 'records' (a list of objects) or 'columns' (an object of lists)"


class Decoder:
    """Decodes the bodies of /predict for one signature."""

    def __init__(self, signature: Signature, max_rows: int = 1_000) -> None:
        self._columns = signature.columns
        self._dates = [i for i, it in enumerate(signature.columns) if it.kind == "date"]
        self._texts = [i for i, it in enumerate(signature.columns) if _TYPES[it.kind] is str]
        self._max_rows = max_rows
        self._short = _short_way(signature.columns)
        # Quotes of a row in which nothing is missing and nothing is null.
        self._quotes = 2 * (len(signature.columns) + len(self._texts))

    def decode(self, body: bytes) -> list[Row] | Table:
        """Rows of `{"records": [{column: value}]}`, or the table of `{"columns": {column: []}}`.

        Null where the client left out a nullable column. Raises Problem: 400 if it is not JSON,
        413 for too many rows, 422 with all mistakes.
        """
        read: list[Row] | Table | None = None
        try:
            request = self._short(body)
            if request.columns is _UNSET:
                rows = [_astuple(row) for row in request.records]
                if body.count(_QUOTE) == self._quotes_of(rows):
                    read = self._rows(rows)
            elif request.records is _UNSET:
                read = self._table(body, _astuple(request.columns))
        except (ValueError, TypeError, RecursionError):
            pass  # msgspec's errors, bad UTF-8 and bad dates are all ValueErrors
        # A key that stands twice has quotes twice, of which msgspec tells once; so have escapes.
        return read if read is not None and _ESCAPE not in body else self._read(body)

    def _quotes_of(self, rows: Sequence[tuple[Any, ...]]) -> int:
        """Quotes in a body that holds these rows and nothing twice."""
        quotes = 2 + self._quotes * len(rows)
        for row in rows:
            if None in row or _UNSET in row:
                quotes -= 2 * row.count(_UNSET)
                quotes -= 2 * sum(row[i] is None or row[i] is _UNSET for i in self._texts)
        return quotes

    def _rows(self, rows: list[tuple[Any, ...]]) -> list[Row]:
        check_count(len(rows), self._max_rows)
        for number, row in enumerate(rows):
            if self._dates or _UNSET in row:
                cells = [None if value is _UNSET else value for value in row]
                for i in self._dates:
                    cells[i] = _days(cells[i])
                rows[number] = tuple(cells)
        return rows

    def _table(self, body: bytes, lists: tuple[Any, ...]) -> Table | None:
        n = max(len(values) for values in lists if values is not _UNSET)
        given = [values for values in lists if values is not _UNSET]
        texts = [lists[i] for i in self._texts if lists[i] is not _UNSET]
        strings = sum(len(values) - values.count(None) for values in texts)
        right = body.count(_QUOTE) == 2 + 2 * len(given) + 2 * strings
        if not right or any(len(values) != n for values in given):
            return None
        check_count(n, self._max_rows)
        columns: list[Any] = [[None] * n if values is _UNSET else values for values in lists]
        for i, column in enumerate(self._columns):
            if column.kind == "date":
                columns[i] = [_days(value) for value in columns[i]]
            if column.kind != "category":
                columns[i] = np.array(columns[i], dtype=np.float64)
        return Table(n, columns)

    def _read(self, body: bytes) -> list[Row] | Table:
        document = parse(body)
        if not isinstance(document, dict) or not document.keys() & {"records", "columns"}:
            raise Problem(422, f"found {show(document)}, allowed: {REQUEST}")
        if "records" in document:
            rows = list_of(document, "records")
            check_count(len(rows), self._max_rows)
            return records_to_rows(self._columns, rows)
        return columns_to_table(self._columns, _columns_of(document), self._max_rows)


def _days(text: Any) -> float | None:
    return None if text is None else date_to_days(text)


def _columns_of(document: dict[str, Any]) -> dict[str, Any]:
    errors = repeated(None, document)
    errors += [
        error(None, key, value, "only 'columns'")
        for key, value in document.items()
        if key != "columns"
    ]
    given = document["columns"]
    if not isinstance(given, dict):
        errors.append(error(None, "columns", given, "an object of column: list"))
    else:
        errors += repeated(None, given)
    raise_all(errors)
    return dict(given)


def decode_labels(body: bytes, manifest: Manifest) -> list[dict[str, Any]]:
    """The labels of /feedback: prediction id and what turned out to be true.

    Raises Problem: 400 if it is not JSON, 422 with all mistakes.
    """
    rows = list_of(parse(body), "labels")
    check = _label_check(manifest)
    errors: Errors = []
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            errors.append(error(number, None, row, 'an object with "id" and "label"'))
            continue
        errors += repeated(number, row)
        for name in (name for name in row if name not in ("id", "label")):
            errors.append(error(number, name, row[name], 'only "id" and "label"'))
        identity = row.get("id", MISSING)
        if not (isinstance(identity, str) and 0 < len(identity) <= 100 and identity.isascii()):
            errors.append(error(number, "id", identity, "the id of a prediction"))
        allowed = check(row.get("label", MISSING))
        if allowed:
            errors.append(error(number, "label", row.get("label", MISSING), allowed))
    raise_all(errors)
    return rows


def _label_check(manifest: Manifest) -> Callable[[Any], str | None]:
    """A function that says what is allowed, if its argument is not."""
    if not manifest.classes:
        return lambda label: None if is_finite(label) else "a finite number"
    known = {(type(label), label) for label in manifest.classes}
    allowed = "one of " + ", ".join(json.dumps(label) for label in manifest.classes)

    def check(label: Any) -> str | None:
        fits = isinstance(label, str | int) and (type(label), label) in known
        return None if fits else allowed

    return check


def _short_way(columns: Sequence[Column]) -> Callable[[bytes], Any]:
    try:
        return msgspec.json.Decoder(_request_type(columns)).decode
    except ValueError as error:  # a name that JSON has to escape is no field of msgspec's
        reason = str(error)

    def refuse(_: bytes) -> Any:
        raise ValueError(reason)

    return refuse


def _request_type(columns: Sequence[Column]) -> Any:
    # Positional names, because a column may have any name; keyword-only, because those that may be
    # left out need not come last.
    names = {f"c{number}": column.name for number, column in enumerate(columns)}
    options: Any = {"forbid_unknown_fields": True, "gc": False}

    def struct(name: str, types: list[Any]) -> Any:
        fields = [
            (f"c{i}", kind | msgspec.UnsetType, _UNSET) if column.nullable else (f"c{i}", kind)
            for i, (column, kind) in enumerate(zip(columns, types, strict=True))
        ]
        return msgspec.defstruct(name, fields, rename=names, kw_only=True, **options)

    cells = [_TYPES[it.kind] | None if it.nullable else _TYPES[it.kind] for it in columns]
    row = struct("Row", cells)
    lists = struct("Columns", [list[cell] for cell in cells])  # type: ignore[valid-type]
    forms: list[Any] = [
        ("records", list[row] | msgspec.UnsetType, _UNSET),  # type: ignore[valid-type]
        ("columns", lists | msgspec.UnsetType, _UNSET),
    ]
    return msgspec.defstruct("Request", forms, **options)
