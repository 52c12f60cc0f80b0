"""MLflow's scoring protocol, which SageMaker's containers speak too: POST /invocations.

JSON: one of `dataframe_split`, `dataframe_records`, `instances`, `inputs`. CSV: a line of names,
then lines of values. Cells are checked as those of /predict are, but that NaN is null: most columns
of a DataFrame have no other null, and MLflow's client sends it as it is.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from serving.bundle import Column, Manifest
from serving.cells import (
    MISSING,
    UNKNOWN,
    Errors,
    allowed_in,
    check_cell,
    check_count,
    columns_to_table,
    error,
    mistake,
    raise_all,
    repeated,
    show,
)
from serving.cells import parse as parse_json
from serving.engine import class_key
from serving.engines.base import Scored
from serving.problem import Problem
from serving.table import Cell, Row, Table

SHAPES = ("dataframe_split", "dataframe_records", "instances", "inputs")
_ONE_OF = "one of " + ", ".join(SHAPES)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LONG = 400  # digits; as a float they are infinite


def parse(body: bytes, media: str, columns: Sequence[Column], max_rows: int) -> list[Row] | Table:
    """The cells of a request whose media type is "text/csv" or JSON's.

    Raises Problem: 400 if it is neither, 413 for too many rows, 422 with all mistakes.
    """
    reader = _Reader(columns, max_rows)
    if media == "text/csv":
        return reader.csv(body)
    shape, data = _shape(parse_json(body))
    if shape == "dataframe_split":
        return reader.split(data)
    if shape == "inputs" and isinstance(data, dict):
        return reader.lists(data)
    if not isinstance(data, list):
        raise_all([error(None, shape, data, "a list of rows")])
    return reader.rows(data, reader.by_name if shape == "dataframe_records" else reader.either)


def answer(manifest: Manifest, ids: Sequence[str], scored: Scored) -> bytes:
    """`predictions` as MLflow's server has them, labels or values; and what else there is."""
    document: dict[str, Any] = {
        "predictions": [],
        "ids": ids,
        "model": manifest.model,
        "version": manifest.version,
    }
    if manifest.task == "regression":
        document["predictions"] = [value for (value,) in scored.scores]
    else:
        keys = [class_key(label) for label in manifest.classes]
        document["predictions"] = [manifest.classes[label] for label in scored.labels]
        document["probabilities"] = [dict(zip(keys, it, strict=True)) for it in scored.scores]
    return msgspec.json.encode(document)


def _shape(document: Any) -> tuple[str, Any]:
    """Which of the shapes it is, and what it holds."""
    if not isinstance(document, dict):
        raise Problem(422, f"found {show(document)}, allowed: an object with {_ONE_OF}")
    errors = repeated(None, document)
    found = [name for name in SHAPES if name in document]
    if len(found) != 1:
        errors.append(mistake(None, None, " and ".join(found) or "none of them", _ONE_OF))
    for name, value in document.items():
        if name == "params":
            errors += _params(value)
        elif name not in SHAPES:
            errors.append(error(None, name, value, f"only {_ONE_OF}"))
    raise_all(errors)
    return found[0], document[found[0]]


def _params(params: Any) -> Errors:
    """Clients send empty ones; a model here takes none."""
    allowed = "nothing: the model takes no parameters"
    if isinstance(params, dict):
        return [error(None, f"params.{name}", value, allowed) for name, value in params.items()]
    return [] if params is None else [error(None, "params", params, allowed)]


class _Reader:
    """Reads one request; gathers its mistakes."""

    def __init__(self, columns: Sequence[Column], max_rows: int) -> None:
        self._columns = columns
        self._names = [column.name for column in columns]
        self._known = frozenset(self._names)
        self._max_rows = max_rows
        self._errors: Errors = []

    def split(self, data: Any) -> list[Row]:
        """`{"columns": [name], "data": [[value]], "index": anything}`."""
        if not isinstance(data, dict):
            raise_all([error(None, "dataframe_split", data, "an object")])
        errors = repeated(None, data)
        for name in data.keys() - {"columns", "data", "index"}:
            errors.append(error(None, name, data[name], "only columns, data and index"))
        names, rows = data.get("columns", self._names), data.get("data", MISSING)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            errors.append(error(None, "columns", names, "a list of the columns' names"))
        if not isinstance(rows, list):
            errors.append(error(None, "data", rows, "a list of rows"))
        raise_all(errors)
        self._header(names)
        return self.rows(rows, self._by_position)

    def lists(self, data: dict[str, Any]) -> Table:
        """`{name: [value]}`."""
        raise_all(repeated(None, data))
        lists = {
            name: [_null(value) for value in values] if isinstance(values, list) else values
            for name, values in data.items()
        }
        return columns_to_table(self._columns, lists, self._max_rows)

    def csv(self, body: bytes) -> list[Row]:
        """RFC 4180. An empty field is null, an empty line nothing."""
        try:
            text = io.StringIO(body.decode("utf-8-sig"), newline="")
            lines = [line for line in csv.reader(text, strict=True) if line]
        except UnicodeDecodeError as problem:
            raise Problem(400, f"the body is not UTF-8: byte {problem.start}") from None
        except csv.Error as problem:
            raise Problem(400, f"the body is not CSV: {problem}") from None
        self._header(lines[0] if lines else [])
        kinds = {column.name: column.kind for column in self._columns}
        order = [kinds[name] for name in self._names]
        rows: list[Any] = [
            # A line of another length is left as it is: it is told by its length.
            list(map(_typed, order, line)) if len(line) == len(order) else line
            for line in lines[1:]
        ]
        return self.rows(rows, self._by_position)

    def rows(self, rows: list[Any], read: Callable[[int, Any], Row]) -> list[Row]:
        """Each as `read` takes it."""
        check_count(len(rows), self._max_rows)
        cells = [read(number, row) for number, row in enumerate(rows)]
        raise_all(self._errors)
        return cells

    def either(self, number: int, row: Any) -> Row:
        """An object of name: value, a list of values, or the value where there is but one."""
        return (self.by_name if isinstance(row, dict) else self._by_position)(number, row)

    def by_name(self, number: int, row: Any) -> Row:
        """An object of name: value."""
        if not isinstance(row, dict):
            self._errors.append(error(number, None, row, "an object of column: value"))
            return ()
        self._errors += repeated(number, row)
        self._errors += [
            error(number, name, value, UNKNOWN)
            for name, value in row.items()
            if name not in self._known
        ]
        return self._cells(number, row)

    def _header(self, names: list[str]) -> None:
        """Take the columns in this order from now on."""
        counted = Counter(names)
        errors = [error(None, name, name, UNKNOWN) for name in counted if name not in self._known]
        errors += [
            mistake(None, name, f"it {count} times", "each column once")
            for name, count in counted.items()
            if count > 1
        ]
        errors += [
            error(None, column.name, MISSING, f"a column of {allowed_in(column)}")
            for column in self._columns
            if column.name not in counted and not column.nullable
        ]
        raise_all(errors)
        self._names = names

    def _by_position(self, number: int, row: Any) -> Row:
        width = len(self._names)
        if width == 1 and not isinstance(row, list | dict):
            row = [row]
        if not isinstance(row, list):
            self._errors.append(error(number, None, row, f"a list of {width} values"))
        elif len(row) != width:
            self._errors.append(
                mistake(number, None, f"{len(row)} values", f"{width} values, one for each column")
            )
        else:
            return self._cells(number, dict(zip(self._names, row, strict=True)))
        return ()

    def _cells(self, number: int, record: dict[str, Any]) -> Row:
        return tuple(
            self._cell(number, column, record.get(column.name, MISSING)) for column in self._columns
        )

    def _cell(self, number: int, column: Column, value: Any) -> Cell:
        try:
            return check_cell(column, _null(value))
        except (ValueError, OverflowError):
            self._errors.append(error(number, column.name, value, allowed_in(column)))
            return None


def _null(value: Any) -> Any:
    return None if value != value else value  # noqa: PLR0124 - NaN is not itself


def _typed(kind: str, field: str) -> Any:
    """The JSON value of a CSV field; as it stands where it is none of the column's kind."""
    if not field:
        return None
    if kind == "boolean":
        return {"true": True, "false": False}.get(field.lower(), field)
    if kind in ("number", "integer") and _NUMBER.fullmatch(field):
        whole = field.lstrip("+-").isdigit() and len(field) <= _LONG
        return int(field) if whole else float(field)
    return field
