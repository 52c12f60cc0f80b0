"""Requests are decoded by the signature, and every mistake is told at once."""

from __future__ import annotations

import json
import math

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.bundle import Column, Manifest, Signature
from serving.decode import Decoder, decode_labels
from serving.problem import ALL_ERRORS, Problem
from serving.table import Table

COLUMNS = [
    Column("mean radius", "number"),
    Column("class", "category"),  # no Python identifier
    Column("visits", "integer"),
    Column("paper", "boolean"),
    Column("since", "date"),
    Column("id", "integer", nullable=False),
]
NAMES = [column.name for column in COLUMNS]
KINDS = {column.name: column.kind for column in COLUMNS}
DECODER = Decoder(Signature(COLUMNS), max_rows=50)
GOOD = {
    "mean radius": 1.5,
    "class": "a",
    "visits": 3,
    "paper": True,
    "since": "2026-11-23",
    "id": 7,
}


def body(*records, **changes) -> bytes:
    return json.dumps({"records": list(records) or [GOOD | changes]}).encode()


def refused(raw: bytes, decoder: Decoder = DECODER) -> Problem:
    with pytest.raises(Problem) as caught:
        decoder.decode(raw)
    return caught.value


ROW = (1.5, "a", 3, True, 20780.0, 7)


def test_a_record_comes_back_as_a_row_of_every_column():
    assert DECODER.decode(body(GOOD, {"id": 1})) == [ROW, (None, None, None, None, None, 1)]


def test_columns_come_back_as_a_table():
    columns = {name: [value, None] for name, value in GOOD.items()} | {"id": [7, 8]}
    del columns["visits"]
    table = DECODER.decode(json.dumps({"columns": columns}).encode())
    assert isinstance(table, Table)
    assert table.n == 2
    assert table.columns[1] == ["a", None]
    numbers = [np.asarray(it).tolist() for i, it in enumerate(table.columns) if i != 1]
    nan = pytest.approx(math.nan, nan_ok=True)
    assert numbers == [[1.5, nan], [nan, nan], [1.0, nan], [20780.0, nan], [7.0, 8.0]]


COLUMN_MISTAKES = [
    ('{"columns": {"id": [1], "id": [2]}}', [(None, "id")]),
    ('{"columns": {"id": [1]}, "columns": {"id": [1]}}', [(None, "columns")]),
    ('{"columns": {"id": [1], "more": [1], "class": 5}}', [(None, "more"), (None, "class")]),
    ('{"columns": {"id": [1, 2], "class": ["a"]}}', [(None, "class")]),
    ('{"columns": {"id": [1, null], "class": [5, "a"]}}', [(0, "class"), (1, "id")]),
    ('{"columns": {"class": ["a", "b"]}}', [(0, "id"), (1, "id")]),
    ('{"columns": [], "more": 1}', [(None, "more"), (None, "columns")]),
]


@pytest.mark.parametrize(("raw", "places"), COLUMN_MISTAKES)
def test_all_mistakes_of_columns_are_told(raw, places):
    problem = refused(raw.encode())
    assert [(error["row"], error["column"]) for error in problem.errors] == places


TWICE = [
    '{"records": [{"id": 1, "id": 1}]}',
    '{"records": [{"id": 1, "class": null, "class": "b"}]}',  # as many quotes as without null
    '{"records": [{"id": 1, "class": "b", "class": null}]}',
    '{"records": [{"id": 1, "paper": true, "paper": null, "visits": null}]}',
    '{"records": [{"id": 1}], "records": [{"id": 1}]}',
    '{"records": [{"id": 1, "i\\u0064": 2}]}',
]


@pytest.mark.parametrize("raw", TWICE)
def test_a_key_that_stands_twice_is_refused(raw):
    (mistake,) = refused(raw.encode()).errors
    assert (mistake["found"], mistake["allowed"]) == ("it twice", "each key once")


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@st.composite
def pairs_of_records(draw):
    """Objects as text, some with a key that stands twice; and whether one does."""
    written, twice = [], False
    for _ in range(draw(st.integers(1, 3))):
        names = draw(st.lists(st.sampled_from(NAMES[:2]), max_size=4))
        pairs = [("id", 1), *((it, draw(TWICE_VALUES[KINDS[it]])) for it in names)]
        twice = twice or len(set(names)) < len(names)
        members = [f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in pairs]
        written.append("{" + ", ".join(members) + "}")
    return '{"records": [' + ", ".join(written) + "]}", twice


TWICE_VALUES = {"number": st.none() | st.just(1.5), "category": st.none() | TEXTS}


@given(pairs_of_records())
def test_exactly_the_keys_that_stand_twice_are_refused(case):
    raw, twice = case
    if twice:
        assert "it twice" in {error["found"] for error in refused(raw.encode()).errors}
    else:
        assert isinstance(DECODER.decode(raw.encode()), list)


@pytest.mark.parametrize("kind", ["number", "integer"])
def test_numbers_have_the_type_of_their_column_on_both_ways(kind):
    decoder = Decoder(Signature([Column("x", kind)]))
    for text in ("3", "3.0", "3e0"):
        (value,) = decoder.decode(f'{{"records":[{{"x":{text}}}]}}'.encode())[0]
        assert value == 3
        assert type(value) is (float if kind == "number" else int)


WRONG = [
    ("mean radius", "true", "a finite number or null"),
    ("mean radius", '"1"', "a finite number or null"),
    ("mean radius", "NaN", "a finite number or null"),
    ("mean radius", "-Infinity", "a finite number or null"),
    ("mean radius", "1e400", "a finite number or null"),
    ("mean radius", "1" + "0" * 5000, "a finite number or null"),
    ("mean radius", "[1]", "a finite number or null"),
    ("class", "1", "text or null"),
    ("class", '"\\ud800"', "text or null"),
    ("visits", "1.5", "a whole number of at most 64 bits or null"),
    ("visits", "false", "a whole number of at most 64 bits or null"),
    ("visits", "9223372036854775808", "a whole number of at most 64 bits or null"),
    ("paper", "1", "true or false or null"),
    ("since", '"2026-02-30"', "a date such as"),
    ("since", "20780", "a date such as"),
    ("id", "null", "a whole number of at most 64 bits"),
]


@pytest.mark.parametrize(("column", "value", "allowed"), WRONG)
def test_a_wrong_value_is_told_with_row_column_found_and_allowed(column, value, allowed):
    record = json.dumps({**GOOD, column: "@"}).replace('"@"', value)
    problem = refused(f'{{"records": [{json.dumps(GOOD)}, {record}]}}'.encode())
    assert problem.status == 422
    (error,) = problem.errors
    assert (error["row"], error["column"]) == (1, column)
    assert error["allowed"].startswith(allowed)
    assert error["found"]
    msgspec.json.decode(problem.body())


def test_all_mistakes_of_a_request_are_told_at_once():
    problem = refused(body({"class": 1, "nose": 2, "since": "x"}, 5, GOOD, {"id": True}))
    assert [(error["row"], error["column"]) for error in problem.errors] == [
        (0, "nose"), (0, "class"), (0, "since"), (0, "id"), (1, None), (3, "id"),
    ]  # fmt: skip
    assert problem.errors[3]["found"] == "nothing"
    assert "(and 5 more)" in problem.detail


def test_thousands_of_mistakes_are_counted_but_not_all_sent():
    decoder = Decoder(Signature(COLUMNS), max_rows=5_000)
    problem = refused(body(*[{"id": "x"}] * 1_500), decoder)
    sent = json.loads(problem.body())
    assert sent["errors_total"] == 1_500
    assert len(sent["errors"]) == ALL_ERRORS


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"records": [{}]} x', 400),
        (b'{"records": ["\xff"]}', 400),
        (b"\xef\xbb\xbf{}", 400),
        (json.dumps({"records": [GOOD]}).encode("utf-16"), 400),
        (b"[" * 100_000, 400),
        (b"null", 422),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"records": {}}', 422),
        (b'{"records": []}', 422),
        (b'{"records": [null]}', 422),
        (json.dumps({"records": [GOOD], "more": 1}).encode(), 422),
        (json.dumps({"records": [GOOD] * 51}).encode(), 413),
        (json.dumps({"records": [{}] * 51}).encode(), 413),
    ],
)
def test_what_is_not_a_request_has_its_status(raw, status):
    problem = refused(raw)
    assert problem.status == status
    assert json.loads(problem.body())["status"] == status


def test_names_that_cannot_be_sent_back_do_not_break_the_answer():
    problem = refused(b'{"records": [{"\\ud800": "\\udfff", "id": 1}]}')
    assert "\\ud800" in json.loads(problem.body())["errors"][0]["column"]


GOOD_VALUES = {
    "number": st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60),
    "integer": st.integers(-(2**63), 2**63 - 1) | st.integers(-(2**50), 2**50).map(float),
    "boolean": st.booleans(),
    "category": st.text(st.characters(exclude_categories=["Cs"])),
    "date": st.dates().map(str) | st.datetimes().map(lambda moment: moment.isoformat()),
}
NULL = st.none()
BAD_VALUES = {
    "number": st.booleans() | st.text() | st.just(math.inf) | st.just(math.nan),
    "integer": st.booleans() | st.text() | st.just(1.5) | st.just(2**70),
    "boolean": st.integers() | st.text(),
    "category": st.integers() | st.floats() | st.booleans() | st.just("\ud800"),
    "date": st.integers() | st.text(max_size=8) | st.just("2026-13-01"),
}


@st.composite
def records_with_mistakes(draw, bad=True):
    """Records, and the places of what is wrong in them."""
    records, wrong = [], set()
    for row in range(draw(st.integers(1, 4))):
        record = {}
        for column in COLUMNS:
            if bad and draw(st.booleans()):
                record[column.name] = draw(BAD_VALUES[column.kind])
                wrong.add((row, column.name))
            elif column.nullable and draw(st.booleans()):
                if draw(st.booleans()):
                    record[column.name] = None
            else:
                record[column.name] = draw(GOOD_VALUES[column.kind])
        records.append(record)
    return records, wrong


@given(records_with_mistakes())
def test_exactly_the_mistakes_are_told(case):
    records, wrong = case
    raw = body(*records)
    if wrong:
        problem = refused(raw)
        assert {(error["row"], error["column"]) for error in problem.errors} == wrong
        msgspec.json.decode(problem.body())
    else:
        assert len(DECODER.decode(raw)) == len(records)


@given(records_with_mistakes(bad=False))
def test_the_short_way_and_the_long_way_read_the_same(case):
    raw = body(*case[0])
    short, long = DECODER.decode(raw), DECODER._read(raw)
    assert short == long
    assert [[type(v) for v in row] for row in short] == [[type(v) for v in row] for row in long]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(NAMES), inner),
    max_leaves=15,
)


@given(
    st.binary()
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.lists(JSON).map(lambda rows: json.dumps({"records": rows}).encode())
)
@example(b'{"records":[{"since":"0001-01-01T00:00:00+23:59","id":1}]}')
@example(b'{"records":[{"since":"9999-12-31T23:59:59-23:59","id":1}]}')
def test_no_body_does_more_than_be_refused(raw):
    try:
        rows = DECODER.decode(raw)
    except Problem as problem:
        assert problem.status in (400, 413, 422)
        msgspec.json.decode(problem.body())
    else:
        assert isinstance(rows, Table) or all(len(row) == len(NAMES) for row in rows)


CLASSES = Manifest("m", "1", "binary", "y", "b", classes=["no", "yes"])
NUMBERS = Manifest("m", "1", "regression", "y", "b")


def labels(*rows) -> bytes:
    return json.dumps({"labels": list(rows)}).encode()


def test_labels_are_classes_or_numbers():
    row = {"id": "ab12", "label": "yes"}
    assert decode_labels(labels(row), CLASSES) == [row]
    assert decode_labels(labels({"id": "ab12", "label": 2.5}), NUMBERS)[0]["label"] == 2.5
    assert decode_labels(labels(), CLASSES) == []


@pytest.mark.parametrize("label", ["maybe", None, True, 1, [], {}])
def test_a_label_that_is_no_class_is_told(label):
    with pytest.raises(Problem) as caught:
        decode_labels(labels({"id": "ab12", "label": label}), CLASSES)
    assert caught.value.errors[0]["allowed"] == 'one of "no", "yes"'


@pytest.mark.parametrize("label", [True, "1", None, math.nan])
def test_a_value_that_is_no_number_is_told(label):
    with pytest.raises(Problem, match="a finite number"):
        decode_labels(labels({"id": "ab12", "label": label}), NUMBERS)


def test_integer_classes_are_not_booleans():
    manifest = Manifest("m", "1", "binary", "y", "b", classes=[0, 1])
    assert decode_labels(labels({"id": "a", "label": 1}), manifest)
    with pytest.raises(Problem):
        decode_labels(labels({"id": "a", "label": True}), manifest)


def test_all_mistakes_of_labels_are_told_at_once():
    raw = labels({"id": 1, "label": "x"}, 3, {"id": "", "label": "yes", "more": 1}, {"id": "ü"})
    with pytest.raises(Problem) as caught:
        decode_labels(raw, CLASSES)
    assert [(error["row"], error["column"]) for error in caught.value.errors] == [
        (0, "id"), (0, "label"), (1, None), (2, "more"), (2, "id"), (3, "id"), (3, "label"),
    ]  # fmt: skip
