"""The Open Inference Protocol, version 2, with its binary tensors: /v2/models/NAME/infer.

A column is a tensor of shape [n] or [n, 1]; a nullable one may be left out. Where all columns are
numbers, one tensor of shape [n, columns] may hold them in the signature's order instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from serving.bundle import Column, Manifest, kind_of
from serving.cells import (
    MISSING,
    UNKNOWN,
    Errors,
    allowed_in,
    check_cell,
    check_count,
    error,
    mistake,
    raise_all,
    repeated,
    show,
)
from serving.cells import (
    parse as parse_json,
)
from serving.engine import class_key
from serving.engines.base import Scored
from serving.problem import ALL_ERRORS, Problem
from serving.protocols.tensors import DATATYPES, FLOATS, Reader, Tensor, cells, pack
from serving.table import Numbers, Table, Texts

VERSION = "0.1.0"
HEADER_LENGTH = b"inference-header-content-length"
_KEYS = ("id", "parameters", "inputs", "outputs")


class Asked(NamedTuple):
    """A request: its id, its rows, and which outputs are wanted, each with whether as bytes."""

    id: str | None
    decoded: Table
    outputs: list[tuple[str, bool]]


class Answer(NamedTuple):
    """The parts of an answer."""

    body: bytes
    content_type: bytes
    headers: tuple[tuple[bytes, bytes], ...]


def server_metadata() -> dict[str, Any]:
    """GET /v2."""
    return {"name": "andon", "version": VERSION, "extensions": ["binary_tensor_data"]}


def model_metadata(manifest: Manifest, columns: Sequence[Column]) -> dict[str, Any]:
    """GET /v2/models/NAME: what infer takes and gives."""
    document: dict[str, Any] = {
        "name": manifest.model,
        "versions": [manifest.version],
        "platform": f"andon_{kind_of(manifest.engine)}",
        "inputs": [
            {
                "name": column.name,
                "datatype": DATATYPES[column.kind][0],
                "shape": [-1],
                "parameters": {"kind": column.kind, "nullable": column.nullable},
            }
            for column in columns
        ],
        "outputs": [
            {"name": name, "datatype": datatype, "shape": [-1, *width]}
            for name, (datatype, *width) in outputs(manifest).items()
        ],
    }
    if _is_matrix(columns):
        shape = [-1, len(columns)]
        document["parameters"] = {"instead_of_inputs": {"datatype": FLOATS[0], "shape": shape}}
    return document


def outputs(manifest: Manifest) -> dict[str, tuple[Any, ...]]:
    """The names of what infer gives; each has a datatype, and a width if it is a matrix."""
    if manifest.task == "regression":
        return {"value": ("FP64",), "id": ("BYTES",)}
    width = len(manifest.classes)
    return {
        "label": (_label_type(manifest),),
        "probabilities": ("FP64", width),
        "id": ("BYTES",),
    }


def _label_type(manifest: Manifest) -> str:
    kinds = {type(label) for label in manifest.classes}
    return {bool: "BOOL", int: "INT64"}.get(kinds.pop(), "BYTES") if len(kinds) == 1 else "BYTES"


def error_status(status: int) -> int:
    """The protocol's status: it has one for everything that a client does wrong."""
    return 400 if status == 422 else status


def error_body(problem: Problem) -> bytes:
    """The protocol's way to tell a problem; and every mistake beside it."""
    document: dict[str, Any] = {"error": problem.detail}
    if problem.errors:
        document["errors"] = problem.errors[:ALL_ERRORS]
        document["errors_total"] = len(problem.errors)
    return msgspec.json.encode(document)


def parse(
    body: bytes,
    headers: Mapping[bytes, bytes],
    manifest: Manifest,
    columns: Sequence[Column],
    max_rows: int,
) -> Asked:
    """The request in a body; header names in lower case.

    Raises Problem: 400 if it is not JSON, 413 for too many rows, 422 with all mistakes.
    """
    length = _header_length(headers.get(HEADER_LENGTH), len(body))
    document = parse_json(body[:length])
    if not isinstance(document, dict):
        raise Problem(422, f"found {show(document)}, allowed: an object with 'inputs'")
    reader = Reader(body[length:])
    errors = reader.errors
    errors += repeated(None, document)
    for key in document.keys() - set(_KEYS):
        errors.append(error(None, key, document[key], f"only {', '.join(_KEYS)}"))
    identity = document.get("id")
    try:
        check_cell(Column("id", "category"), identity)
    except ValueError:
        errors.append(error(None, "id", identity, "text"))
    wanted = _wanted(document, outputs(manifest), errors)
    inputs = document.get("inputs", MISSING)
    if not isinstance(inputs, list):
        errors.append(error(None, "inputs", inputs, "a list of tensors"))
        inputs = []
    tensors = reader.tensors(inputs)
    raise_all(errors)
    return Asked(identity, _table(tensors, columns, max_rows), wanted)


def _header_length(header: bytes | None, size: int) -> int:
    if header is None:
        return size
    if not header.isdigit() or len(header) > 18 or int(header) > size:
        found = header.decode("latin-1")
        raise Problem(400, f"Inference-Header-Content-Length: found {found}, allowed: 0 to {size}")
    return int(header)


def _wanted(
    document: dict[str, Any], known: Mapping[str, Any], errors: Errors
) -> list[tuple[str, bool]]:
    """The outputs that are asked for, all of them if none is; and whether as bytes."""
    binary = _flag(document, "parameters", "binary_data_output", errors)
    given = document.get("outputs")
    if given is None or given == []:
        return [(name, binary) for name in known]
    if not isinstance(given, list):
        errors.append(error(None, "outputs", given, "a list of outputs"))
        return []
    allowed = "an object whose name is " + " or ".join(known)
    found: dict[str, bool] = {}
    for output in given:
        name = output.get("name", MISSING) if isinstance(output, dict) else output
        if not isinstance(output, dict) or not isinstance(name, str) or name not in known:
            errors.append(error(None, "outputs", name, allowed))
            continue
        if name in found:
            errors.append(mistake(None, name, "it twice", "each output once"))
        found[name] = _flag(output, "parameters", "binary_data", errors, binary)
    return list(found.items())


def _flag(
    holder: dict[str, Any], key: str, name: str, errors: Errors, default: bool = False
) -> bool:
    """A parameter that is true or false; there may be others, which other servers understand."""
    parameters = holder.get(key)
    if parameters is None:
        return default
    if not isinstance(parameters, dict):
        errors.append(error(None, key, parameters, "an object of parameters"))
        return default
    errors += repeated(None, parameters)
    value = parameters.get(name, default)
    if type(value) is not bool:
        errors.append(error(None, name, value, "true or false"))
    return value is True


def _is_matrix(columns: Sequence[Column]) -> bool:
    """Whether one tensor can hold all columns."""
    return all(column.kind in ("number", "integer") for column in columns)


def _table(tensors: list[Tensor], columns: Sequence[Column], max_rows: int) -> Table:
    """The tensors' rows; raises Problem: 413, 422 with all mistakes."""
    errors: Errors = []
    width = len(columns)
    if len(tensors) == 1 and _is_matrix(columns) and tensors[0].shape[1:] == [width]:
        (whole,) = tensors
        if whole.name not in {column.name for column in columns} or width > 1:
            tensors = [
                whole._replace(
                    name=column.name, shape=whole.shape[:1], values=whole.values[at::width]
                )
                for at, column in enumerate(columns)
            ]
    by_name = {tensor.name: tensor for tensor in tensors}
    n = max((tensor.shape[0] for tensor in tensors), default=0)
    _check_tensors(by_name, columns, n)
    check_count(n, max_rows)
    read: list[Numbers | Texts] = []
    for column in columns:
        tensor = by_name.get(column.name)
        if tensor is not None:
            read.append(cells(column, tensor.datatype, tensor.values, errors))
        elif column.kind == "category":
            read.append([None] * n)
        else:
            read.append(np.full(n, np.nan))
    raise_all(errors)
    return Table(n, read)


def _check_tensors(by_name: Mapping[str, Tensor], columns: Sequence[Column], n: int) -> None:
    """Raises Problem 422 unless they are columns, of n rows each, and none is missing."""
    known = {column.name for column in columns}
    errors: Errors = []
    for name, tensor in by_name.items():
        if name not in known:
            errors.append(error(None, name, name, UNKNOWN))
        elif tensor.shape[1:] not in ([], [1]):
            errors.append(mistake(None, name, f"shape {tensor.shape}", "shape [n] or [n, 1]"))
        elif tensor.shape[0] != n:
            allowed = f"{n} rows, as in the longest tensor"
            errors.append(mistake(None, name, f"{tensor.shape[0]} rows", allowed))
    errors += [
        error(None, column.name, MISSING, f"a tensor of {allowed_in(column)}")
        for column in columns
        if column.name not in by_name and not column.nullable
    ]
    raise_all(errors)


def answer(manifest: Manifest, asked: Asked, ids: Sequence[str], scored: Scored) -> Answer:
    """The outputs that were asked for."""
    known = outputs(manifest)
    tensors: list[dict[str, Any]] = []
    behind: list[bytes] = []
    for name, binary in asked.outputs:
        datatype, *width = known[name]
        values = _values(manifest, name, ids, scored)
        tensor = {"name": name, "datatype": datatype, "shape": [len(ids), *width]}
        if binary:
            behind.append(pack(datatype, values))
            tensor["parameters"] = {"binary_data_size": len(behind[-1])}
        else:
            tensor["data"] = values
        tensors.append(tensor)
    head = {
        "model_name": manifest.model,
        "model_version": manifest.version,
        **({} if asked.id is None else {"id": asked.id}),
        "outputs": tensors,
    }
    body = msgspec.json.encode(head)
    if not behind:
        return Answer(body, b"application/json", ())
    length = (b"inference-header-content-length", str(len(body)).encode())
    return Answer(body + b"".join(behind), b"application/octet-stream", (length,))


def _values(manifest: Manifest, name: str, ids: Sequence[str], scored: Scored) -> Sequence[Any]:
    """One output, row by row."""
    if name == "id":
        return ids
    if name == "label":
        classes: list[Any] = list(manifest.classes)
        if _label_type(manifest) == "BYTES":
            classes = [class_key(label) for label in classes]
        return [classes[label] for label in scored.labels]
    return [score for row in scored.scores for score in row]
