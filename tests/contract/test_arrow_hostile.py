"""Arrow streams made to harm: they promise much, mean little, or point where they should not."""

from __future__ import annotations

import io
import struct
import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest

from serving.arrow import ipc, read_table
from serving.arrow.cells import TEXT
from serving.bundle import Column
from serving.problem import ALL_ERRORS, Problem

COLUMNS = [Column("fee", "number"), Column("plan", "category"), Column("city", "category")]
TABLE = pa.table({"fee": [1.5, 2.5], "plan": ["basic", "more"], "city": ["Ürümqi", None]})


def stream_of(batches: Sequence[pa.RecordBatch] | pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    batches = batches.to_batches() if isinstance(batches, pa.Table) else batches
    made = pa.ipc.IpcWriteOptions(**options)
    with pa.ipc.new_stream(out, batches[0].schema, options=made) as stream:
        for batch in batches:
            stream.write_batch(batch)
    return out.getvalue()


def refused(body: bytes, rows: int = 1_000) -> Problem:
    with pytest.raises(Problem) as caught:
        read_table(body, COLUMNS, rows)
    return caught.value


def texts(*values: bytes, kind: pa.DataType = pa.string()) -> pa.Array:  # noqa: B008
    """Texts that pyarrow would not make of these bytes."""
    return pa.array(values, pa.binary()).view(kind)


def test_every_beginning_of_a_stream_is_refused_or_whole():
    body = stream_of(TABLE)
    read = [cut for cut in range(len(body)) if not is_refused(body[:cut])]
    # Without its end mark a stream is whole, too.
    assert read == [len(body) - 8]


def is_refused(body: bytes) -> bool:
    try:
        read_table(body, COLUMNS, 10)
    except Problem as problem:
        return problem.status in (400, 422)
    return False


def test_bytes_after_the_end_of_a_stream_are_refused():
    problem = refused(stream_of(TABLE) * 2)
    assert problem.status == 400
    assert "the body goes on" in problem.detail


@pytest.mark.parametrize("promised", [2**20, 2**40, 2**62, -1])
def test_rows_that_are_promised_take_no_memory(promised):
    body = stream_of(TABLE)
    places = [i for i in range(len(body)) if body[i : i + 8] == struct.pack("<q", 2)]
    assert len(places) > 3, "the batch's rows, and those of each column"
    for place in places:
        body = body[:place] + struct.pack("<q", promised) + body[place + 8 :]
    tracemalloc.start()
    try:
        assert refused(body, rows=2**63).status in (400, 413)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_buffers_may_not_overlap():
    body = stream_of(TABLE)
    batch = list(ipc.messages(body))[1]
    places = batch.header.pairs(2)
    all_of_it = np.where(places[:, 1:] > 8, [0, len(batch.body)], places)
    assert (all_of_it != places).any()
    body = body.replace(places.tobytes(), all_of_it.tobytes())
    problem = refused(body)
    assert problem.status == 400
    assert "overlap" in problem.detail


def test_a_dictionary_cannot_make_gigabytes_of_megabytes():
    long = "x" * (TEXT // 32)
    plan = pa.DictionaryArray.from_arrays(pa.array([0] * 33, pa.int8()), pa.array([long]))
    problem = refused(stream_of(pa.table({"plan": plan})))
    assert problem.status == 413
    assert "characters of text" in problem.detail


def test_views_cannot_make_gigabytes_of_megabytes():
    long, rows = b"y" * 2**20, 300
    views = b"".join(struct.pack("<i4sii", len(long) - n, b"yyyy", 0, n) for n in range(rows))
    buffers = [None, pa.py_buffer(views), pa.py_buffer(long)]
    plan = pa.Array.from_buffers(pa.string_view(), rows, buffers)
    problem = refused(stream_of(pa.table({"plan": plan})))
    assert problem.status == 422
    assert "overlap" in problem.detail


def test_batches_without_number_are_refused():
    one = TABLE.slice(0, 1).to_batches()[0]
    assert refused(stream_of([one] * (ipc.MESSAGES + 1)), rows=10**6).status == 422
    assert refused(stream_of([one.slice(0, 0)] * (ipc.MESSAGES + 1))).status == 422


def test_columns_without_number_are_refused():
    wide = pa.table({f"c{n}": pa.array([1]) for n in range(ipc.FIELDS + 1)})
    assert refused(stream_of(wide)).status == 422


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
def test_text_that_is_none_is_told_with_its_row(kind):
    odd = texts(b"fine", b"\xff\xfe", kind=pa.string())
    plan = odd if kind == pa.string() else odd.cast(pa.binary()).cast(pa.large_binary()).view(kind)
    problem = refused(stream_of(pa.table({"plan": plan})))
    assert problem.status == 422
    assert [(it["row"], it["column"]) for it in problem.errors] == [(1, "plan")]
    assert "UTF-8" in problem.errors[0]["found"]


def test_more_mistakes_than_anyone_reads_are_counted():
    rows = 5 * ALL_ERRORS
    problem = refused(stream_of(pa.table({"fee": np.full(rows, np.inf)})), rows=rows)
    assert len(problem.errors) == rows
    assert [it["row"] for it in problem.errors[:ALL_ERRORS]] == list(range(ALL_ERRORS))
    assert len(problem.body()) < 2**18


def coded(*values: str) -> pa.RecordBatch:
    return pa.record_batch({"plan": pa.array(values).dictionary_encode()})


def test_a_dictionary_may_be_replaced_by_the_next_one():
    body = stream_of([coded("a", "b", "a"), coded("c", "d"), coded("b")])
    found = read_table(body, COLUMNS, 10)
    assert found.columns[1] == ["a", "b", "a", "c", "d", "b"]


def test_a_dictionary_in_parts_is_refused_with_the_reason():
    body = stream_of([coded("a"), coded("a", "b")], emit_dictionary_deltas=True)
    problem = refused(body)
    assert problem.status == 422
    assert "deltas" in problem.detail


def test_a_code_that_its_dictionary_lacks_is_refused():
    plan = pa.DictionaryArray.from_arrays(pa.array([0, 7], pa.int8()), pa.array(["a"]), safe=False)
    assert refused(stream_of(pa.table({"plan": plan}))).status == 400
