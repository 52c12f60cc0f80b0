"""What bodies look like, as JSON Schema: made from a model's signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serving.bundle import Column, Manifest
from serving.cells import INTEGERS
from serving.engine import class_key
from serving.protocols.tensors import DATATYPES
from serving.protocols.v2 import outputs

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
_DAY = r"(?!0000)\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_TIME = r"([01]\d|2[0-3]):[0-5]\d"
DATE = rf"^{_DAY}([T ]{_TIME}(:[0-5]\d(\.\d{{1,9}})?)?(Z|[+-]{_TIME})?)?$"
_TYPES: dict[str, Schema] = {
    "number": {"type": "number"},
    "integer": {"type": "integer", "minimum": INTEGERS[0], "maximum": INTEGERS[1]},
    "boolean": {"type": "boolean"},
    "category": TEXT,
    "date": {"type": "string", "pattern": DATE},
}
# [n] or [n, 1]; that n is the length of the data is more than a schema can say.
SHAPE: Schema = {
    "type": "array",
    "items": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
    "minItems": 1,
    "maxItems": 2,
}
ID: Schema = {"type": "string", "minLength": 1, "maxLength": 100, "pattern": r"^[\x00-\x7f]*$"}
MOST_CATEGORIES = 50  # that are listed for people


def cell(column: Column) -> Schema:
    """One value of a column."""
    schema = dict(_TYPES[column.kind])
    if column.nullable:
        schema["type"] = [schema["type"], "null"]
    said = _seen(column)
    return schema | ({"description": said} if said else {})


def _seen(column: Column) -> str:
    """What training saw, which limits nothing."""
    if column.categories:
        listed = ", ".join(column.categories[:MOST_CATEGORIES])
        more = len(column.categories) - MOST_CATEGORIES
        return f"in training: {listed}" + (f" and {more} more" if more > 0 else "")
    if column.low is not None and column.high is not None:
        unit = " days since 1970-01-01" if column.kind == "date" else ""
        return f"in training: {column.low:g} to {column.high:g}{unit}"
    return ""


def record(columns: Sequence[Column]) -> Schema:
    """A row as an object."""
    return {
        "type": "object",
        "properties": {column.name: cell(column) for column in columns},
        "required": [column.name for column in columns if not column.nullable],
        "additionalProperties": False,
    }


def lists(columns: Sequence[Column]) -> Schema:
    """Rows by column; all lists have the same length, which JSON Schema cannot say."""
    return {
        "type": "object",
        "properties": {
            it.name: {"type": "array", "items": cell(it), "minItems": 1} for it in columns
        },
        "required": [column.name for column in columns if not column.nullable],
        "minProperties": 1,
        "additionalProperties": False,
    }


def one_of(name: str, schema: Schema, **more: Schema) -> Schema:
    """An object with that key, and optional others."""
    return {
        "type": "object",
        "properties": {name: schema, **more},
        "required": [name],
        "additionalProperties": False,
    }


def predict_request(rows: int) -> Schema:
    """POST /predict."""
    return {
        "oneOf": [
            one_of("records", some(ref("Record"), rows)),
            one_of("columns", ref("Columns")),
        ]
    }


def invocations_request(columns: Sequence[Column], rows: int) -> Schema:
    """POST /invocations: MLflow's four shapes."""
    params: Schema = {"type": ["object", "null"], "maxProperties": 0}
    by_position: Schema = {
        "type": "array",
        "prefixItems": [cell(column) for column in columns],
        "minItems": len(columns),
        "maxItems": len(columns),
    }
    split = {
        "type": "object",
        "properties": {
            "columns": {"const": [column.name for column in columns]},
            "data": some(by_position, rows),
            "index": {"type": "array"},
        },
        "required": ["columns", "data"],
        "additionalProperties": False,
    }
    either = {"anyOf": [some(ref("Record"), rows), some(by_position, rows)]}
    return {
        "oneOf": [
            one_of("dataframe_records", some(ref("Record"), rows), params=params),
            one_of("dataframe_split", split, params=params),
            one_of("instances", either, params=params),
            one_of("inputs", {"anyOf": [ref("Columns"), *either["anyOf"]]}, params=params),
        ]
    }


def infer_request(manifest: Manifest, columns: Sequence[Column]) -> Schema:
    """POST /v2/models/NAME/infer, without its binary extension: one row, or any number.

    One row can be said to the letter, so that tools which make up requests make right ones.
    """
    tensors = [_tensor(column, {"enum": list(DATATYPES[column.kind])}, SHAPE) for column in columns]
    exact = [_tensor(it, {"const": DATATYPES[it.kind][0]}, {"const": [1]}, 1) for it in columns]
    one_row = {
        "type": "array",
        "prefixItems": exact,
        "minItems": len(columns),
        "maxItems": len(columns),
    }
    wanted = one_of("name", {"enum": list(outputs(manifest))}, parameters={"type": "object"})
    return {
        "anyOf": [
            one_of("inputs", one_row, id=TEXT),
            {
                "type": "object",
                "properties": {
                    "id": TEXT,
                    "parameters": {"type": "object"},
                    "inputs": {"type": "array", "items": {"anyOf": tensors}, "minItems": 1},
                    "outputs": {"type": "array", "items": wanted},
                },
                "required": ["inputs"],
                "additionalProperties": False,
            },
        ]
    }


def _tensor(column: Column, datatype: Schema, shape: Schema, values: int | None = None) -> Schema:
    data = {"type": "array", "items": cell(column), "minItems": 1}
    return {
        "type": "object",
        "properties": {
            "name": {"const": column.name},
            "datatype": datatype,
            "shape": shape,
            "data": data if values is None else data | {"maxItems": values},
            "parameters": {"type": "object"},
        },
        "required": ["name", "datatype", "shape", "data"],
        "additionalProperties": False,
    }


def infer_answer(manifest: Manifest) -> Schema:
    """Tensors, each with its data or the size of what stands behind the document."""
    tensor = {
        "type": "object",
        "properties": {
            "name": {"enum": list(outputs(manifest))},
            "datatype": TEXT,
            "shape": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["name", "datatype", "shape"],
    }
    properties: Mapping[str, Schema] = {
        "model_name": TEXT,
        "model_version": TEXT,
        "id": TEXT,
        "outputs": {"type": "array", "items": tensor},
    }
    return {
        "type": "object",
        "properties": dict(properties),
        "required": ["model_name", "model_version", "outputs"],
    }


def prediction(manifest: Manifest, columns: Sequence[Column]) -> Schema:
    """One answer of /predict."""
    properties: dict[str, Schema] = {"id": TEXT}
    if manifest.classes:
        keys = [class_key(label) for label in manifest.classes]
        properties["label"] = {"enum": list(manifest.classes)}
        properties["probabilities"] = {
            "type": "object",
            "properties": {key: {"type": "number", "minimum": 0, "maximum": 1} for key in keys},
            "required": keys,
            "additionalProperties": False,
        }
    else:
        properties["value"] = {"type": "number"}
    required = list(properties)
    properties["contributions"] = {
        "type": "object",
        "properties": {column.name: {"type": "number"} for column in columns},
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def infer_example(columns: Sequence[Column], sample: Mapping[str, Any]) -> Schema:
    """A sample as tensors of one row; what is null is left out."""
    inputs = [
        {
            "name": column.name,
            "datatype": DATATYPES[column.kind][0],
            "shape": [1],
            "data": [sample[column.name]],
        }
        for column in columns
        if sample.get(column.name) is not None
    ]
    return {"inputs": inputs}


def label(manifest: Manifest) -> Schema:
    """What feedback may say."""
    return {"enum": list(manifest.classes)} if manifest.classes else {"type": "number"}


def some(items: Schema, most: int) -> Schema:
    """At least one of them."""
    return {"type": "array", "items": items, "minItems": 1, "maxItems": most}


def ref(name: str) -> Schema:
    """A schema of the document's own."""
    return {"$ref": f"#/components/schemas/{name}"}
