"""The other protocols read the same cells, and refuse whatever else they are sent."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.bundle import Column, Manifest, Signature
from serving.decode import Decoder
from serving.engines.base import Scored
from serving.problem import Problem
from serving.protocols import mlflow, openapi, v2
from serving.table import Table

COLUMNS = [
    Column("fee", "number", low=1.0, high=9.0),
    Column("visits", "integer"),
    Column("paper", "boolean", nullable=False),
    Column("since", "date"),
    Column("plan", "category", categories=["a", "b"]),
]
NAMES = [column.name for column in COLUMNS]
SIGNATURE = Signature(COLUMNS)
BINARY = Manifest("churn", "3", "binary", "y", "b", ["no", "yes"], 1)
MANY = Manifest("kind", "1", "multiclass", "y", "b", [0, 1, 2])
VALUE = Manifest("cost", "1", "regression", "y", "b")
DECODER = Decoder(SIGNATURE)

CELLS = {
    "fee": st.none() | st.floats(allow_nan=False, allow_infinity=False),
    "visits": st.none() | st.integers(-(2**63), 2**63 - 1),
    "paper": st.booleans(),
    "since": st.none() | st.dates().map(str),
    "plan": st.none() | st.text(st.characters(exclude_categories=["Cs"])),
}
RECORDS = st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=4)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)


def columns_of(decoded: Any) -> list[list[Any]]:
    table = decoded if isinstance(decoded, Table) else Table.of_rows(COLUMNS, decoded)
    return [
        [None if it != it else it for it in np.asarray(values, dtype=object).tolist()]  # noqa: PLR0124
        for values in table.columns
    ]


def as_predict_reads(records: list[dict[str, Any]]) -> list[list[Any]]:
    return columns_of(DECODER.decode(json.dumps({"records": records}).encode()))


def by_position(records: list[dict[str, Any]]) -> list[list[Any]]:
    return [[record[name] for name in NAMES] for record in records]


def by_column(records: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [record[name] for record in records] for name in NAMES}


@given(RECORDS)
def test_mlflows_shapes_are_the_same_cells(records):
    expected = as_predict_reads(records)
    for document in (
        {"dataframe_records": records},
        {"dataframe_split": {"columns": NAMES, "data": by_position(records)}},
        {"instances": records},
        {"instances": by_position(records)},
        {"inputs": by_column(records)},
    ):
        body = json.dumps(document).encode()
        assert columns_of(mlflow.parse(body, "application/json", COLUMNS, 10)) == expected


@given(RECORDS)
def test_tensors_are_the_same_cells(records):
    kinds = {"number": "FP64", "integer": "INT64", "boolean": "BOOL"}
    inputs = [
        {
            "name": column.name,
            "datatype": kinds.get(column.kind, "BYTES"),
            "shape": [len(records)],
            "data": [record[column.name] for record in records],
        }
        for column in COLUMNS
    ]
    asked = v2.parse(json.dumps({"inputs": inputs}).encode(), {}, BINARY, COLUMNS, 10)
    assert columns_of(asked.decoded) == as_predict_reads(records)


BODIES = st.binary(max_size=60) | JSON.map(lambda it: json.dumps(it).encode())


@given(
    BODIES
    | st.tuples(st.sampled_from(mlflow.SHAPES), JSON).map(
        lambda it: json.dumps({it[0]: it[1]}).encode()
    ),
    st.sampled_from(["application/json", "text/csv"]),
)
def test_no_invocation_does_more_than_be_refused(body, media):
    try:
        mlflow.parse(body, media, COLUMNS, 10)
    except Problem as problem:
        assert problem.status in (400, 413, 422)
        json.loads(problem.body())


TENSOR = st.fixed_dictionaries(
    {
        "name": st.sampled_from([*NAMES, "other"]) | JSON,
        "datatype": st.sampled_from(["FP64", "FP32", "INT64", "UINT8", "BOOL", "BYTES", "X"]),
        "shape": st.lists(st.integers(-2, 4) | st.just(2**40), max_size=3) | JSON,
    },
    optional={
        "data": st.lists(JSON, max_size=4) | JSON,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 40)}) | JSON,
    },
)


@given(
    BODIES
    | st.lists(TENSOR, max_size=6).map(lambda it: json.dumps({"inputs": it}).encode())
    | st.tuples(st.lists(TENSOR, max_size=6), st.binary(max_size=40)).map(
        lambda it: json.dumps({"inputs": it[0]}).encode() + it[1]
    ),
    st.none() | st.integers(0, 200),
)
def test_no_inference_does_more_than_be_refused(body, length):
    headers = {} if length is None else {v2.HEADER_LENGTH: b"%d" % length}
    try:
        v2.parse(body, headers, BINARY, COLUMNS, 10)
    except Problem as problem:
        assert problem.status in (400, 413, 422)
        json.loads(v2.error_body(problem))


@pytest.mark.parametrize("manifest", [BINARY, MANY, VALUE], ids=lambda it: it.task)
def test_answers_have_the_form_that_is_promised(manifest):
    k = len(manifest.classes)
    scored = Scored([1], [[0.25] * k]) if k else Scored([], [[2.5]])
    found = json.loads(mlflow.answer(manifest, ["id1"], scored))
    assert found["predictions"] == ([manifest.classes[1]] if k else [2.5])
    asked = v2.Asked("7", Table(1, []), [(name, False) for name in v2.outputs(manifest)])
    answer = json.loads(v2.answer(manifest, asked, ["id1"], scored).body)
    described = openapi.document(manifest, SIGNATURE)
    path = f"/v2/models/{manifest.model}/infer"
    responses = described["paths"][path]["post"]["responses"]
    validate(answer, responses["200"]["content"]["application/json"]["schema"], described)


def validate(value: Any, schema: dict[str, Any], described: dict[str, Any]) -> None:
    whole = {**schema, "components": described["components"]}
    jsonschema.Draft202012Validator(whole).validate(value)


def request_schema(path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    described = openapi.document(BINARY, SIGNATURE)
    body = described["paths"][path]["post"]["requestBody"]
    return body["content"]["application/json"]["schema"], described


@given(RECORDS)
def test_what_is_read_is_what_the_document_promises(records):
    validate({"records": records}, *request_schema("/predict"))
    validate({"columns": by_column(records)}, *request_schema("/predict"))
    validate({"inputs": by_column(records)}, *request_schema("/invocations"))


WRONG = [
    {"records": [{"paper": 1}]},
    {"records": [{}]},
    {"records": []},
    {"records": [{"paper": True, "more": 1}]},
    {"records": [{"paper": True, "visits": 1.5}]},
    {"records": [{"paper": True, "since": "yesterday"}]},
    {"columns": {}},
]


@pytest.mark.parametrize("body", WRONG, ids=str)
def test_what_the_document_forbids_is_refused(body):
    with pytest.raises(jsonschema.ValidationError):
        validate(body, *request_schema("/predict"))
    with pytest.raises(Problem):
        DECODER.decode(json.dumps(body).encode())


def test_the_document_has_an_example_that_is_read():
    sample = {"fee": 1.5, "visits": 2, "paper": True, "since": "2026-11-23", "plan": "a"}
    described = openapi.document(BINARY, SIGNATURE, samples=[sample])
    content = described["paths"]["/predict"]["post"]["requestBody"]["content"]
    body = content["application/json"]
    validate(body["example"], body["schema"], described)
    assert DECODER.decode(json.dumps(body["example"]).encode())
    assert "in training: 1 to 9" in json.dumps(described)
