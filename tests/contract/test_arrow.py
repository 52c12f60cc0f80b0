"""Arrow streams as requests and answers: what pyarrow and Polars write, and what nobody would."""

from __future__ import annotations

import io
import json
import random
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.arrow import read_table, write_table
from serving.bundle import Column, Manifest, Signature
from serving.decode import Decoder
from serving.engines.base import Scored
from serving.problem import Problem
from serving.table import Table

COLUMNS = [
    Column("fee", "number"),
    Column("visits", "integer"),
    Column("paper", "boolean", nullable=False),
    Column("since", "date"),
    Column("plan", "category"),
]
DAY = datetime(2026, 11, 23, 6, tzinfo=UTC)
GOOD: dict[str, list[Any]] = {
    "fee": [1.5, None, -0.0],
    "visits": [3, None, 2**40],
    "paper": [True, False, True],
    "since": [DAY, None, datetime(1969, 12, 31, tzinfo=UTC)],
    "plan": ["basic", None, "Ürümqi"],
}
TYPES = {
    "fee": pa.float64(),
    "visits": pa.int64(),
    "paper": pa.bool_(),
    "since": pa.timestamp("us", "UTC"),
    "plan": pa.string(),
}
EXPECTED = [
    [1.5, None, 0.0], [3.0, None, 2.0**40], [1.0, 0.0, 1.0], [20_780.25, None, -1.0],
    ["basic", None, "Ürümqi"],
]  # fmt: skip


def table_of(values: dict[str, list[Any]] = GOOD, **types: pa.DataType) -> pa.Table:
    kinds = TYPES | types
    return pa.table({name: pa.array(it, kinds[name]) for name, it in values.items()})


def stream_of(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as stream:
        stream.write_table(table)
    return out.getvalue()


def read(body: bytes, most: int = 1_000) -> list[list[Any]]:
    table = read_table(body, COLUMNS, most)
    assert isinstance(table, Table)
    return [
        [None if it != it else it for it in np.asarray(values).tolist()]  # noqa: PLR0124
        if isinstance(values, np.ndarray)
        else list(values)
        for values in table.columns
    ]


def refused(body: bytes, most: int = 1_000) -> Problem:
    with pytest.raises(Problem) as caught:
        read_table(body, COLUMNS, most)
    return caught.value


def test_a_stream_of_pyarrow_is_read():
    assert read(stream_of(table_of())) == EXPECTED


WAYS = [
    {"fee": pa.float32()}, {"visits": pa.int32()}, {"visits": pa.float64()}, {"fee": pa.int16()},
    {"since": pa.timestamp("s")}, {"since": pa.timestamp("ns", "UTC")},
    {"plan": pa.large_string()}, {"plan": pa.string_view()},
    {"plan": pa.dictionary(pa.int8(), pa.string())},
    {"plan": pa.dictionary(pa.int32(), pa.large_string())},
]  # fmt: skip


@pytest.mark.parametrize("types", WAYS, ids=str)
def test_other_types_hold_the_same(types):
    values = GOOD | {"visits": [3, None, 7], "fee": [1, None, 0]}
    expected = [[1.0, None, 0.0], [3.0, None, 7.0], *EXPECTED[2:]]
    assert read(stream_of(table_of(values, **types))) == expected


def test_dates_of_32_and_64_bits_and_as_text():
    days = GOOD | {"since": [date(2026, 11, 23), None, date(1969, 12, 31)]}
    for kind in (pa.date32(), pa.date64()):
        assert read(stream_of(table_of(days, since=kind)))[3] == [20_780.0, None, -1.0]
    text = GOOD | {"since": ["2026-11-23", None, "1969-12-31T00:00:00Z"]}
    assert read(stream_of(table_of(text, since=pa.string())))[3] == [20_780.0, None, -1.0]


@pytest.mark.parametrize("batches", [1, 2])
def test_several_batches_and_a_slice_are_one_table(batches):
    whole = pa.concat_tables([table_of()] * 4).combine_chunks().slice(2, 7)
    body = stream_of(whole) if batches == 1 else stream_of(pa.concat_tables([whole, whole]))
    found = read(body)
    order = [2, 0, 1, 2, 0, 1, 2] * batches
    assert found == [[column[i] for i in order] for column in EXPECTED]


def test_polars_own_form_is_read():
    out = io.BytesIO()
    frame = pl.from_arrow(table_of())
    assert isinstance(frame, pl.DataFrame)
    frame.with_columns(pl.col("plan").cast(pl.Categorical)).write_ipc_stream(out)
    assert read(out.getvalue()) == EXPECTED


def test_a_nullable_column_may_be_left_out():
    assert read(stream_of(table_of().select(["paper"])))[0] == [None] * 3


MISTAKES = [
    ({"paper": [True, None, True]}, {}, [(1, "paper")]),
    ({"fee": [1.0, float("nan"), float("inf")]}, {}, [(1, "fee"), (2, "fee")]),
    ({"visits": [1.5, 2.0, 1e300]}, {"visits": pa.float64()}, [(0, "visits"), (2, "visits")]),
    ({"visits": [2**63, 1, 2]}, {"visits": pa.uint64()}, [(0, "visits")]),
    ({"since": ["x", None, "2026-02-30"]}, {"since": pa.string()}, [(0, "since"), (2, "since")]),
    ({"plan": [1, 2, 3]}, {"plan": pa.int64()}, [(None, "plan")]),
    ({"fee": ["1", "2", "3"]}, {"fee": pa.string()}, [(None, "fee")]),
    ({"fee": [[1.0], [], None]}, {"fee": pa.list_(pa.float64())}, [(None, "fee")]),
    ({"more": [1, 2, 3]}, {"more": pa.int64()}, [(None, "more")]),
]


@pytest.mark.parametrize(("values", "types", "places"), MISTAKES, ids=str)
def test_all_mistakes_are_told(values, types, places):
    problem = refused(stream_of(table_of(GOOD | values, **types)))
    assert problem.status == 422
    assert [(it["row"], it["column"]) for it in problem.errors] == places


def test_too_many_rows_and_none():
    assert refused(stream_of(table_of()), most=2).status == 413
    assert refused(stream_of(table_of().slice(0, 0))).status == 422


@pytest.mark.parametrize("body", [b"", b"{}", b"ARROW1\0\0", b"\xff" * 64, b"\0" * 64])
def test_what_is_no_stream_is_a_400(body):
    assert refused(body).status == 400


@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(allow_nan=False, allow_infinity=False),
            st.none() | st.integers(-(2**53), 2**53),
            st.booleans(),
            st.none() | st.dates(date(1, 1, 2), date(9999, 12, 30)).map(str),
            st.none() | st.text(st.characters(exclude_categories=["Cs"])),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_cells_are_those_that_json_gives(rows):
    names = [column.name for column in COLUMNS]
    columns = {name: list(it) for name, it in zip(names, zip(*rows, strict=True), strict=True)}
    decoded = Decoder(Signature(COLUMNS)).decode(json.dumps({"columns": columns}).encode())
    assert isinstance(decoded, Table)
    found = read_table(stream_of(table_of(columns, since=pa.string())), COLUMNS, 10)
    for left, right in zip(found.columns, decoded.columns, strict=True):
        if isinstance(right, np.ndarray):
            np.testing.assert_array_equal(left, right)
        else:
            assert list(left) == list(right)


def damaged(body: bytes, draw: random.Random) -> bytes:
    raw = bytearray(body)
    for _ in range(draw.randint(1, 6)):
        how = draw.random()
        at = draw.randrange(len(raw)) if raw else 0
        if how < 0.6 and raw:
            raw[at] = draw.choice([0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)])
        elif how < 0.8:
            del raw[at : at + draw.randint(1, 40)]
        else:
            start = draw.randrange(len(body))
            raw[at:at] = body[start : start + draw.randint(1, 64)]
    return bytes(raw)


WHOLE = [
    stream_of(table_of()),
    stream_of(table_of(plan=pa.dictionary(pa.int8(), pa.string()))),
    stream_of(table_of(plan=pa.string_view())),
]


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_damaged_streams_are_refused_or_read_and_nothing_else(compression):
    draw = random.Random(str(compression))  # noqa: S311
    bodies = [stream_of(table_of(), compression=compression)] if compression else WHOLE
    outcomes = set()
    for _ in range(3_000):
        try:
            read_table(damaged(draw.choice(bodies), draw), COLUMNS, 1_000)
            outcomes.add(200)
        except Problem as problem:
            outcomes.add(problem.status)
    assert outcomes <= {200, 400, 413, 422}
    assert 400 in outcomes


def read_back(raw: bytes) -> tuple[pa.Table, dict[bytes, bytes]]:
    table = pa.ipc.open_stream(raw).read_all()
    table.validate(full=True)
    return table, table.schema.metadata


def test_answers_are_streams_that_pyarrow_reads():
    manifest = Manifest("churn", "3", "binary", "y", "b", ["no", "yes"], 1)
    raw = write_table(manifest, ["a", "b"], Scored([1, 0], [[0.25, 0.75], [0.9, 0.1]]))
    table, facts = read_back(raw)
    assert table.to_pydict() == {
        "id": ["a", "b"], "label": ["yes", "no"], "probability.no": [0.25, 0.9],
        "probability.yes": [0.75, 0.1],
    }  # fmt: skip
    assert (facts[b"andon.model"], facts[b"andon.version"]) == (b"churn", b"3")
    value = Manifest("fee", "1", "regression", "y", "b")
    assert read_back(write_table(value, ["a"], Scored([], [[1.5]])))[0].to_pydict() == {
        "id": ["a"], "value": [1.5],
    }  # fmt: skip


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compressed_streams_are_refused_with_the_reason(compression):
    problem = refused(stream_of(table_of(), compression=compression))
    assert problem.status == 422
    assert "compress" in problem.detail
