"""Tensors of the Open Inference Protocol: what is read of them, and what is refused."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.bundle import Column, Linear, Manifest
from serving.engines.base import Scored
from serving.problem import Problem
from serving.protocols import v2
from serving.protocols.tensors import NUMPY

COLUMNS = [
    Column("fee", "number"),
    Column("visits", "integer"),
    Column("paper", "boolean", nullable=False),
    Column("since", "date"),
    Column("plan", "category"),
]
BINARY = Manifest("churn", "3", "binary", "left", "b", ["no", "yes"], 1, Linear())
COST = Manifest("cost", "1", "regression", "cost", "b")
PAPER = {"name": "paper", "shape": [2], "datatype": "BOOL", "data": [True, False]}
MEASURES = [Column("a", "number"), Column("b", "integer"), Column("c", "number", nullable=False)]


def tensor(name: str, datatype: str, raw: bytes, shape: list[int]) -> tuple[dict[str, Any], bytes]:
    size = {"binary_data_size": len(raw)}
    return {"name": name, "shape": shape, "datatype": datatype, "parameters": size}, raw


def array(name: str, datatype: str, values: Any, shape: list[int] | None = None) -> Any:
    found = np.array(values, NUMPY[datatype])
    return tensor(name, datatype, found.tobytes(), shape or [len(values)])


def texts(name: str, values: list[bytes]) -> Any:
    raw = b"".join(struct.pack("<I", len(value)) + value for value in values)
    return tensor(name, "BYTES", raw, [len(values)])


def read(*tensors: Any, columns=COLUMNS, manifest=BINARY, most=50, **document) -> v2.Asked:
    """Tensors are documents, or pairs of one and the bytes behind it."""
    pairs = [it if isinstance(it, tuple) else (it, b"") for it in tensors]
    head = json.dumps({"inputs": [it for it, _ in pairs], **document}).encode()
    headers = {v2.HEADER_LENGTH: b"%d" % len(head)}
    return v2.parse(head + b"".join(raw for _, raw in pairs), headers, manifest, columns, most)


def mistakes(*tensors: Any, **more: Any) -> list[tuple[Any, ...]]:
    """Rows, columns and what was found."""
    with pytest.raises(Problem) as caught:
        read(*tensors, **more)
    assert caught.value.status == 422
    assert json.loads(v2.error_body(caught.value))["error"]
    return [(it["row"], it["column"], it["found"]) for it in caught.value.errors]


def cells(asked: v2.Asked, column: int) -> list[Any]:
    return [None if it != it else it for it in list(asked.decoded.columns[column])]  # noqa: PLR0124


def test_binary_tensors_are_read_in_their_order_between_others():
    asked = read(
        texts("plan", ["ä".encode(), b""]),
        PAPER,
        array("visits", "INT8", [-3, 4]),
        texts("since", [b"1970-01-02", b"1970-01-01T12:00:00Z"]),
        array("fee", "FP32", [0.5, math.nan]),
    )
    assert [cells(asked, i) for i in range(5)] == [
        [0.5, None],
        [-3.0, 4.0],
        [1.0, 0.0],
        [1.0, 0.5],
        ["ä", ""],
    ]


def test_a_tensor_that_is_left_out_is_null_and_a_shape_of_two_is_a_column():
    asked = read(PAPER | {"shape": [2, 1], "data": [[True], [False]]})
    assert [cells(asked, i) for i in (0, 1, 3, 4)] == [[None, None]] * 4
    assert cells(asked, 2) == [1.0, 0.0]
    assert mistakes() == [(None, "paper", "nothing")]


@given(st.lists(st.floats(), min_size=1, max_size=5), st.sampled_from(["FP64", "FP32", "FP16"]))
@example([float(2**63), -float(2**63)], "FP64")
def test_a_float_is_the_same_in_binary_and_in_json(values, datatype):
    with np.errstate(over="ignore"):
        values = np.array(values, NUMPY[datatype]).tolist()
    columns = [Column("fee", "number"), Column("visits", "integer"), Column("x", "number", False)]
    for column in columns:
        plain = {"name": column.name, "shape": [len(values)], "datatype": datatype, "data": values}
        outcomes: list[Any] = []
        for given_ in (plain, array(column.name, datatype, values)):
            try:
                outcomes.append(cells(read(given_, columns=[column]), 0))
            except Problem as problem:
                outcomes.append([(it["row"], it["found"]) for it in problem.errors])
        assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("datatype", [it for it in NUMPY if "INT" in it])
def test_the_ends_of_whole_numbers_are_the_same_in_binary_and_in_json(datatype):
    limits = np.iinfo(NUMPY[datatype])
    values = [int(limits.min), int(limits.max)]
    plain = {"name": "visits", "shape": [2], "datatype": datatype, "data": values}
    column = [Column("visits", "integer")]
    if datatype == "UINT64":
        expected = [(1, "visits", str(2**64 - 1))]
        assert mistakes(plain, columns=column) == expected
        assert mistakes(array("visits", datatype, values), columns=column) == expected
        return
    assert cells(read(plain, columns=column), 0) == [float(it) for it in values]
    assert cells(read(array("visits", datatype, values), columns=column), 0) == values
    beyond = {**plain, "data": [values[0] - 1, values[1] + 1]}
    assert [row for row, *_ in mistakes(beyond, columns=column)] == [0, 1]


@pytest.mark.parametrize("datatype", ["FP64", "FP32"])
def test_one_matrix_holds_all_columns_where_all_are_numbers(datatype):
    rows = [[1.5, 2.0, 3.0], [math.nan, 4.0, 5.0]]
    flat = [value for row in rows for value in row]
    plain = {"name": "input-0", "shape": [2, 3], "datatype": datatype, "data": rows}
    for given_ in (plain, {**plain, "data": flat}, array("x", datatype, flat, [2, 3])):
        asked = read(given_, columns=MEASURES)
        assert [cells(asked, i) for i in range(3)] == [[1.5, None], [2.0, 4.0], [3.0, 5.0]]
    flat[1], flat[5] = 2.5, math.nan
    assert mistakes(array("x", datatype, flat, [2, 3]), columns=MEASURES) == [
        (0, "b", "2.5"),
        (1, "c", "NaN"),
    ]
    assert mistakes(array("x", datatype, flat, [2, 3])) == [
        (None, "x", '"x"'),
        (None, "paper", "nothing"),
    ]


def test_every_mistake_is_told_at_once():
    assert mistakes(
        PAPER | {"data": [1, None]},
        array("fee", "FP64", [math.inf, 1.0]),
        array("visits", "FP64", [1.5, 1e300]),
        {"name": "since", "shape": [2], "datatype": "BYTES", "data": ["soon", "2026-11-23"]},
        {"name": "plan", "shape": [2], "datatype": "INT64", "data": [1, 2]},
    ) == [
        (0, "fee", "Infinity"),
        (0, "visits", "1.5"),
        (1, "visits", "1e+300"),
        (0, "paper", "1"),
        (1, "paper", "null"),
        (0, "since", '"soon"'),
        (None, "plan", '"INT64"'),
    ]


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        ([PAPER, PAPER], [(None, "paper", "it twice")]),
        ([PAPER, PAPER | {"name": "other"}], [(None, "other", '"other"')]),
        ([PAPER, array("fee", "FP64", [1.0])], [(None, "fee", "1 rows")]),
        ([PAPER, array("fee", "FP64", [1.0], [2])], [(None, "fee", "8 bytes")]),
        ([PAPER | {"data": [True]}], [(None, "paper", "1 values")]),
        ([PAPER | {"shape": [2, 2], "data": [[True, True], [True]]}],
         [(None, "paper", "a list of 1 values")]),
        ([PAPER | {"shape": [2, 2], "data": [True] * 4}], [(None, "paper", "shape [2, 2]")]),
        ([PAPER | {"shape": [-2]}], [(None, "paper", "a list")]),
        ([PAPER | {"shape": [True]}], [(None, "paper", "a list")]),
        ([PAPER | {"datatype": "BF16"}], [(None, "paper", '"BF16"')]),
        ([PAPER | {"datatype": ["BOOL"]}], [(None, "paper", "a list")]),
        ([PAPER | {"parameters": {"binary_data_size": -1}}], [(None, "paper", "-1")]),
        ([PAPER | {"parameters": {"binary_data_size": 0}}], [(None, "paper", "a list")]),
        ([{"name": "paper", "shape": [2], "datatype": "BOOL"}], [(None, "paper", "nothing")]),
        ([({"name": "paper", "shape": [2], "datatype": "BOOL",
            "parameters": {"binary_data_size": 2}}, b"\1")], [(None, "paper", "1 bytes")]),
        ([array("paper", "BOOL", [1, 2])], [(1, "paper", "2")]),
        ([(PAPER, b"abc")], [(None, None, "3 bytes behind the last tensor")]),
        ([PAPER, texts("plan", [b"\xff", b"a"])], [(None, "plan", "other bytes in value 0")]),
        ([PAPER, tensor("plan", "BYTES", b"\1\0\0\0a\xff\xff\xff\xffb", [2])],
         [(None, "plan", "less bytes")]),
        ([PAPER, tensor("plan", "BYTES", b"\1\0\0\0a\0", [1])], [(None, "plan", "less bytes")]),
        ([PAPER, 7], [(None, "inputs[1]", "7")]),
        ([PAPER | {"more": 1}], [(None, "paper.more", "1")]),
    ],
)  # fmt: skip
def test_what_is_no_such_tensor_is_refused(tensors, expected):
    assert mistakes(*tensors) == expected


def test_keys_that_stand_twice_are_refused():
    text = '{"inputs": [{"name": "paper", "shape": [1], "datatype": "BOOL", "data": [true], %s}]}'
    for twice, column in (('"shape": [1]', "shape"), ('"name": "paper"', "name")):
        with pytest.raises(Problem) as caught:
            v2.parse((text % twice).encode(), {}, BINARY, COLUMNS, 9)
        assert [it["column"] for it in caught.value.errors] == [column]


@pytest.mark.parametrize("length", [b"", b"x", b"-1", b"1e2", b"99999", "٣".encode(), b"9" * 5_000])
def test_a_wrong_length_of_the_header_is_refused(length):
    with pytest.raises(Problem, match="Inference-Header-Content-Length") as caught:
        v2.parse(b"{}", {v2.HEADER_LENGTH: length}, BINARY, COLUMNS, 9)
    assert caught.value.status == 400


def test_too_many_rows_and_none_are_refused():
    for rows, status in ((51, 413), (0, 422)):
        with pytest.raises(Problem) as caught:
            read(array("paper", "BOOL", [True] * rows, [rows]))
        assert caught.value.status == status


SCORED = Scored([1, 0], [[0.25, 0.75], [0.5, 0.5]])


def answered(asked: v2.Asked, manifest=BINARY, scored=SCORED) -> tuple[dict[str, Any], bytes]:
    answer = v2.answer(manifest, asked, ["i", "jj"], scored)
    length = int(dict(answer.headers).get(v2.HEADER_LENGTH, len(answer.body)))
    return json.loads(answer.body[:length]), answer.body[length:]


def test_all_outputs_are_given_where_none_is_asked_for():
    head, behind = answered(read(PAPER, id="7"))
    assert behind == b""
    assert head == {
        "model_name": "churn",
        "model_version": "3",
        "id": "7",
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["yes", "no"]},
            {"name": "probabilities", "datatype": "FP64", "shape": [2, 2],
             "data": [0.25, 0.75, 0.5, 0.5]},
            {"name": "id", "datatype": "BYTES", "shape": [2], "data": ["i", "jj"]},
        ],
    }  # fmt: skip


def test_outputs_come_as_bytes_where_that_is_asked_for():
    wanted = [{"name": "id", "parameters": {"binary_data": False}}, {"name": "probabilities"}]
    asked = read(PAPER, outputs=wanted, parameters={"binary_data_output": True, "priority": 1})
    head, behind = answered(asked)
    assert "id" not in head
    first, second = head["outputs"]
    assert (first["name"], first["data"]) == ("id", ["i", "jj"])
    assert second["parameters"] == {"binary_data_size": 32}
    assert np.frombuffer(behind, "<f8").tolist() == [0.25, 0.75, 0.5, 0.5]


def test_labels_have_the_type_of_the_classes():
    for classes, datatype, labels in (
        ([False, True], "BOOL", b"\1\0"),
        ([3, 7], "INT64", struct.pack("<qq", 7, 3)),
        (["no", 1], "BYTES", b"\1\0\0\0001\2\0\0\0no"),
    ):
        manifest = Manifest("m", "1", "binary", "y", "b", classes, 1)
        parameters = {"binary_data_output": True}
        asked = read(PAPER, manifest=manifest, outputs=[{"name": "label"}], parameters=parameters)
        head, behind = answered(asked, manifest)
        assert (head["outputs"][0]["datatype"], behind) == (datatype, labels)


def test_a_regression_gives_its_values():
    asked = read(PAPER, manifest=COST)
    head, _ = answered(asked, COST, Scored([], [[1.5], [2.5]]))
    assert [(it["name"], it["data"]) for it in head["outputs"]] == [
        ("value", [1.5, 2.5]),
        ("id", ["i", "jj"]),
    ]
    assert mistakes(PAPER, manifest=COST, outputs=[{"name": "label"}]) == [
        (None, "outputs", '"label"')
    ]


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({"outputs": [{"name": "label"}, {"name": "label"}]}, "it twice"),
        ({"outputs": "label"}, '"label"'),
        ({"outputs": ["label"]}, '"label"'),
        ({"outputs": [{"name": ["label"]}]}, "a list"),
        ({"outputs": [{"name": "label", "parameters": {"binary_data": 1}}]}, "1"),
        ({"parameters": {"binary_data_output": "yes"}}, '"yes"'),
        ({"parameters": []}, "a list"),
        ({"id": 7}, "7"),
        ({"id": "\ud800"}, '"\\ud800"'),
        ({"more": 1}, "1"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(document, found):
    assert [it for *_, it in mistakes(PAPER, **document)] == [found]


def test_metadata_says_what_is_taken_and_given():
    document = v2.model_metadata(BINARY, COLUMNS)
    assert (document["name"], document["versions"]) == ("churn", ["3"])
    assert document["platform"] == "andon_linear"
    assert [(it["name"], it["datatype"]) for it in document["inputs"]] == [
        ("fee", "FP64"),
        ("visits", "INT64"),
        ("paper", "BOOL"),
        ("since", "BYTES"),
        ("plan", "BYTES"),
    ]
    assert {it["name"]: it["shape"] for it in document["outputs"]} == {
        "label": [-1],
        "probabilities": [-1, 2],
        "id": [-1],
    }
    assert "parameters" not in document
    whole = v2.model_metadata(COST, MEASURES)["parameters"]
    assert whole == {"instead_of_inputs": {"datatype": "FP64", "shape": [-1, 3]}}


DAMAGE = st.lists(st.tuples(st.integers(0, 2_000), st.integers(0, 255)), min_size=1, max_size=4)


@given(DAMAGE, st.integers(-3, 3), st.booleans())
def test_a_damaged_request_is_read_or_refused(damage, shift, matrix):
    if matrix:
        columns, sent = MEASURES, [array("x", "FP64", [1.0, 2.0, 3.0], [1, 3])]
    else:
        columns = COLUMNS
        sent = [
            texts("plan", [b"a", b"bc"]),
            (PAPER, b""),
            array("visits", "INT64", [1, 2]),
            array("fee", "FP32", [1.0, 2.0]),
        ]
    head = json.dumps({"inputs": [it for it, _ in sent]}).encode()
    raw = bytearray(head + b"".join(behind for _, behind in sent))
    for at, byte in damage:
        raw[at % len(raw)] = byte
    try:
        headers = {v2.HEADER_LENGTH: b"%d" % (len(head) + shift)}
        asked = v2.parse(bytes(raw), headers, BINARY, columns, 10)
    except Problem as problem:
        assert problem.status in (400, 413, 422)
        assert json.loads(v2.error_body(problem))["error"]
    else:
        assert [len(it) for it in asked.decoded.columns] == [asked.decoded.n] * len(columns)
