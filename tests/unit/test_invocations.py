"""MLflow's shapes and CSV: what is null, what is refused, and where."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.bundle import Column, Manifest
from serving.cells import records_to_rows
from serving.engines.base import Scored
from serving.problem import Problem
from serving.protocols import mlflow
from serving.table import Table

COLUMNS = [
    Column("fee", "number"),
    Column("visits", "integer", nullable=False),
    Column("paper", "boolean"),
    Column("since", "date"),
    Column("plan, old", "category"),
]
NAMES = [column.name for column in COLUMNS]
ONE = [Column("fee", "number")]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ROW = st.fixed_dictionaries(
    {
        "fee": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "visits": st.integers(-(2**63), 2**63 - 1),
        "paper": st.none() | st.booleans(),
        "since": st.none() | st.dates().map(str) | st.just("2026-11-23T10:30:00.5Z"),
        "plan, old": st.none() | TEXT.filter(bool),
    }
)


def as_json(document: Any, columns=COLUMNS, most=20) -> Any:
    return mlflow.parse(json.dumps(document).encode(), "application/json", columns, most)


def as_csv(text: str, columns=COLUMNS, most=20) -> Any:
    return mlflow.parse(text.encode(), "text/csv", columns, most)


def mistakes(read: Any, given_: Any, columns=COLUMNS, status=422) -> list[tuple[Any, ...]]:
    with pytest.raises(Problem) as caught:
        read(given_, columns)
    assert caught.value.status == status
    return [(it["row"], it["column"], it["found"]) for it in caught.value.errors]


@given(
    st.lists(ROW, min_size=1, max_size=5), st.permutations(NAMES), st.sampled_from(["\n", "\r\n"])
)
@example([{**dict.fromkeys(NAMES), "visits": 1, "plan, old": '"\r\n,'}], NAMES, "\n")
@example([{**dict.fromkeys(NAMES), "visits": 1, "plan, old": "\0"}], NAMES, "\n")
def test_a_table_is_the_same_in_csv(records, order, ending):
    out = io.StringIO()
    # Quoted: this writer leaves a carriage return as it is where lines end otherwise.
    writer = csv.DictWriter(out, order, lineterminator=ending, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(records)
    assert as_csv(out.getvalue()) == records_to_rows(COLUMNS, records)


def test_csv_is_read_by_what_the_columns_are():
    text = "\ufeffvisits,paper,fee\r\n+3,TRUE,.5\r\n-0,false,1e3\r\n7.0,,\r\n\r\n"
    assert as_csv(text) == [
        (0.5, 3, True, None, None),
        (1000.0, 0, False, None, None),
        (None, 7, None, None, None),
    ]


FIELDS = ["1_000", " 1", "nan", "inf", "0x1", "1,5", "\u0661", "1e999", "9" * 5_000, "true", "--1"]


@pytest.mark.parametrize("field", FIELDS)
def test_a_number_in_csv_is_one_to_the_letter(field):
    assert [it[:2] for it in mistakes(as_csv, f'visits,fee\n1,"{field}"\n')] == [(0, "fee")]


def test_every_mistake_in_csv_is_told_at_once():
    text = "visits,paper,since\n1.5,1,today\n,yes,2026-11-23\n1,2\n"
    assert mistakes(as_csv, text) == [
        (0, "visits", "1.5"),
        (0, "paper", '"1"'),
        (0, "since", '"today"'),
        (1, "visits", "null"),
        (1, "paper", '"yes"'),
        (2, None, "2 values"),
    ]
    assert mistakes(as_csv, "fee,fee,more\n1,2,3\n") == [
        (None, "more", '"more"'),
        (None, "fee", "it 2 times"),
        (None, "visits", "nothing"),
    ]
    for text in ("", "\r\n\r\n"):
        assert mistakes(as_csv, text) == [(None, "visits", "nothing")]
    assert mistakes(as_csv, "visits\n") == []


@pytest.mark.parametrize("text", ['visits\n"1', 'visits\n"1"2\n', "visits\n" + "9" * 200_000])
def test_what_is_not_csv_is_refused(text):
    assert mistakes(as_csv, text, status=400) == []


def test_other_encodings_are_refused():
    with pytest.raises(Problem, match="UTF-8") as caught:
        mlflow.parse("visits\n1\n".encode("utf-16"), "text/csv", COLUMNS, 9)
    assert caught.value.status == 400


def test_one_column_may_come_without_lists_around_its_values():
    for shape in ("instances", "inputs"):
        assert as_json({shape: [1, 2.5, None, [3]]}, ONE) == [(1.0,), (2.5,), (None,), (3.0,)]
    assert as_csv('fee\n1\n""\n\n2\n', ONE) == [(1.0,), (None,), (2.0,)]


def test_nan_is_null_as_mlflows_client_sends_it():
    split = {"columns": ["visits", "fee", "since"], "data": [[3.0, float("nan"), float("nan")]]}
    assert as_json({"dataframe_split": split}) == [(None, 3, None, None, None)]
    assert mistakes(as_json, {"instances": [{"visits": float("nan"), "fee": float("inf")}]}) == [
        (0, "fee", "Infinity"),
        (0, "visits", "NaN"),
    ]
    table = as_json({"inputs": {"visits": [1, 2], "plan, old": ["a", float("nan")]}})
    assert isinstance(table, Table)
    assert list(table.columns[4]) == ["a", None]


GOOD = [[1, 2, True, "2026-11-23", "a"]]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, [(None, None, "none of them")]),
        ({"instances": GOOD, "inputs": GOOD}, [(None, None, "instances and inputs")]),
        ({"instances": GOOD, "more": 1}, [(None, "more", "1")]),
        ({"instances": GOOD, "params": {"a": 1, "b": 2}},
         [(None, "params.a", "1"), (None, "params.b", "2")]),
        ({"instances": GOOD, "params": 1}, [(None, "params", "1")]),
        ({"instances": {"visits": 1}}, [(None, "instances", "an object")]),
        ({"inputs": 1}, [(None, "inputs", "1")]),
        ({"dataframe_records": GOOD}, [(0, None, "a list")]),
        ({"dataframe_records": {"visits": [1]}}, [(None, "dataframe_records", "an object")]),
        ({"dataframe_split": GOOD}, [(None, "dataframe_split", "a list")]),
        ({"dataframe_split": {"data": [1]}}, [(0, None, "1")]),
        ({"dataframe_split": {"data": GOOD, "more": 1}}, [(None, "more", "1")]),
        ({"dataframe_split": {"columns": [1]}},
         [(None, "columns", "a list"), (None, "data", "nothing")]),
        ({"dataframe_split": {"columns": ["visits", "visits"], "data": [[1, 2]]}},
         [(None, "visits", "it 2 times")]),
        ({"dataframe_split": {"columns": ["fee"], "data": [[1]]}}, [(None, "visits", "nothing")]),
        ({"instances": [1, GOOD[0][1:], {"visits": 1, "x": 2}]},
         [(0, None, "1"), (1, None, "4 values"), (2, "x", "2")]),
        ({"inputs": {"visits": [1, 2], "fee": [1]}}, [(None, "fee", "1 values")]),
    ],
)  # fmt: skip
def test_what_is_in_no_shape_is_refused(document, expected):
    assert mistakes(as_json, document) == expected


def test_keys_that_stand_twice_are_refused():
    for body in (
        b'{"instances": [], "instances": [{"visits": 1}]}',
        b'{"instances": [{"visits": 1, "visits": 2}]}',
        b'{"inputs": {"visits": [1], "visits": [2]}}',
        b'{"dataframe_split": {"data": [], "data": [[1, 2, true, null, null]]}}',
    ):
        with pytest.raises(Problem) as caught:
            mlflow.parse(body, "application/json", COLUMNS, 9)
        assert [it["found"] for it in caught.value.errors] == ["it twice"]


@pytest.mark.parametrize("shape", mlflow.SHAPES)
def test_too_many_rows_and_none_are_refused(shape):
    for rows, status in ((21, 413), (0, 422)):
        data: Any = [[1, 2, True, None, None]] * rows
        if shape == "dataframe_records":
            data = [{"visits": 1}] * rows
        document = {shape: {"data": data} if shape == "dataframe_split" else data}
        with pytest.raises(Problem) as caught:
            as_json(document)
        assert caught.value.status == status


def test_answers_are_labels_with_their_probabilities_or_values():
    binary = Manifest("churn", "3", "binary", "left", "b", [False, True], 1)
    scored = Scored([1, 0], [[0.25, 0.75], [0.5, 0.5]])
    assert json.loads(mlflow.answer(binary, ["i", "j"], scored)) == {
        "predictions": [True, False],
        "ids": ["i", "j"],
        "model": "churn",
        "version": "3",
        "probabilities": [{"false": 0.25, "true": 0.75}, {"false": 0.5, "true": 0.5}],
    }
    cost = Manifest("cost", "1", "regression", "cost", "b")
    answer = json.loads(mlflow.answer(cost, ["i"], Scored([], [[1.5]])))
    assert answer == {"predictions": [1.5], "ids": ["i"], "model": "cost", "version": "1"}
