"""Files, frames and records: training and serving must see one row the same way."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.adapters import tables
from andon.errors import DataError
from andon.spec import ModelSpec
from serving.bundle import Column
from serving.frame import to_input, to_table

SPEC = ModelSpec(
    name="toy", data="toy.parquet", target="y", task="regression", key="id", time="at", drop=("x",)
)
TABLE = pl.DataFrame(
    {
        "id": ["a", "b", "c"],
        "at": [datetime(2026, 1, i) for i in (1, 2, 3)],
        "x": [1, 2, 3],
        "price": [1.5, float("nan"), -0.1],
        "count": [3, None, 2**40],
        "paid": [True, False, None],
        "since": [date(2020, 2, 29), None, date(1969, 12, 31)],
        "seen": [datetime(2026, 1, 1, 10, 30, 0, 123_457), None, datetime(1960, 5, 5, 23, 59, 59)],
        "city": ["Ürümqi", None, "nan"],
        "none": pl.Series([None, None, None], dtype=pl.String),
        "y": [1, 2, 3],
    }
)
FEATURES = ["price", "count", "paid", "since", "seen", "city", "none"]


def save(table: pl.DataFrame, folder: Path) -> Path:
    path = folder / "source.parquet"
    table.write_parquet(path)
    return path


def as_served(table: pl.DataFrame, columns: list[Column]) -> list[list[object]]:
    return cells(np.asarray(to_input(to_table(columns, tables.records(table, columns)))))


def as_trained(table: pl.DataFrame, columns: list[Column]) -> list[list[object]]:
    return cells(tables.training_frame(table, columns).astype(object).to_numpy())


def cells(matrix: np.ndarray) -> list[list[object]]:
    """NaN is not equal to itself, and 1.0 equals True: compare what stands there."""
    return [[repr(float(v)) if not isinstance(v, str) else v for v in row] for row in matrix]


def test_a_row_is_the_same_in_training_and_in_serving() -> None:
    columns = tables.signature(TABLE, SPEC).columns
    assert [c.name for c in columns] == FEATURES
    assert as_trained(TABLE, columns) == as_served(TABLE, columns)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "number": st.none() | st.floats(allow_nan=False, allow_infinity=False),
                "integer": st.none() | st.integers(-(2**63), 2**63 - 1),
                "boolean": st.none() | st.booleans(),
                "category": st.none() | st.text(),
                "date": st.none() | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),
            }
        ),
        min_size=1,
    )
)
def test_any_row_is_the_same_in_training_and_in_serving(rows: list[dict[str, object]]) -> None:
    schema = {
        "number": pl.Float64,
        "integer": pl.Int64,
        "boolean": pl.Boolean,
        "category": pl.String,
        "date": pl.Datetime("us"),
    }
    table = pl.DataFrame(rows, schema=schema)
    columns = [Column(kind, kind) for kind in schema]
    assert as_trained(table, columns) == as_served(table, columns)
    assert tables.from_records(tables.records(table, columns), table.schema).equals(table)


def test_a_frame_has_floats_and_objects_only() -> None:
    frame = tables.training_frame(TABLE, tables.signature(TABLE, SPEC).columns)
    found = {name: str(dtype) for name, dtype in frame.dtypes.items()}
    assert found == dict.fromkeys(FEATURES, "float64") | {"city": "object", "none": "object"}


def test_a_signature_tells_what_training_saw() -> None:
    columns = {c.name: c for c in tables.signature(TABLE, SPEC).columns}
    assert columns["city"] == Column("city", "category", True, ["nan", "Ürümqi"])
    assert columns["count"] == Column("count", "integer", True, None, 3.0, 2.0**40)
    assert columns["paid"] == Column("paid", "boolean", True)
    assert columns["since"].low == -1.0
    whole = tables.signature(TABLE.head(1), SPEC).columns
    assert [c.name for c in whole if c.nullable] == ["none"]


def test_a_signature_needs_the_columns_that_the_spec_names() -> None:
    with pytest.raises(DataError, match=r"lacks: \['at', 'x'\]"):
        tables.signature(TABLE.drop("at", "x"), SPEC)
    with pytest.raises(DataError, match="no column is left as a feature"):
        tables.signature(TABLE.select("id", "at", "x", "y"), SPEC)


def test_a_snapshot_is_canonical(tmp_path: Path) -> None:
    odd = pl.DataFrame(
        {
            "price": [Decimal("1.25"), None],
            "city": pl.Series(["rome", "oslo"], dtype=pl.Categorical),
            "seen": pl.Series([datetime(2026, 1, 1, 12, tzinfo=UTC)] * 2).dt.convert_time_zone(
                "Asia/Kolkata"
            ),
            "gap": [float("nan"), 1.0],
            "void": [None, None],
        }
    )
    info = tables.write_snapshot(save(odd, tmp_path), tmp_path)
    assert info.rows == 2
    assert info.columns == {
        "price": "number",
        "city": "category",
        "seen": "date",
        "gap": "number",
        "void": "category",
    }
    back = pl.read_parquet(info.path)
    assert back["price"].to_list() == [1.25, None]
    assert back["seen"].to_list() == [datetime(2026, 1, 1, 12)] * 2
    assert back["gap"].to_list() == [None, 1.0]
    assert back["city"].dtype == back["void"].dtype == pl.String


def test_equal_content_gives_equal_bytes_from_parquet_and_csv(tmp_path: Path) -> None:
    table = TABLE.select("id", "count", "paid", "since")
    table.write_csv(tmp_path / "source.csv")
    found = []
    for source in (save(table, tmp_path), tmp_path / "source.csv"):
        folder = tmp_path / source.suffix[1:]
        folder.mkdir()
        found.append(tables.write_snapshot(source, folder).path.read_bytes())
    assert found[0] == found[1]


def test_files_that_are_no_tables_are_named(tmp_path: Path) -> None:
    text = tmp_path / "text.parquet"
    text.write_text("not a Parquet file at all")
    cut = save(TABLE, tmp_path).rename(tmp_path / "cut.parquet")
    cut.write_bytes(cut.read_bytes()[:-200])
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    for path, wanted in [
        (tmp_path / "gone.parquet", "no such file"),
        (tmp_path / "gone.csv", "no such file"),
        (tmp_path / "data.xlsx", "wanted .parquet or .csv"),
        (text, "not a readable Parquet"),
        (cut, "not a readable Parquet"),
        (empty, "not a readable CSV"),
        (tmp_path, "wanted .parquet or .csv"),
    ]:
        with pytest.raises(DataError, match=wanted) as caught:
            tables.write_snapshot(path, tmp_path)
        assert str(path) in str(caught.value)


def test_no_rows_and_doubled_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 rows"):
        tables.write_snapshot(save(TABLE.head(0), tmp_path), tmp_path)
    (tmp_path / "twice.csv").write_text("a,b,a\n1,2,3\n")
    with pytest.raises(DataError, match="stand twice: 'a'"):
        tables.write_snapshot(tmp_path / "twice.csv", tmp_path)
    array = pa.array([1])
    pq.write_table(pa.table([array, array], names=["a", "a"]), tmp_path / "twice.parquet")
    with pytest.raises(DataError, match=r"twice\.parquet"):
        tables.write_snapshot(tmp_path / "twice.parquet", tmp_path)


def test_columns_that_no_model_can_take_are_all_named(tmp_path: Path) -> None:
    bad = pl.DataFrame({"ok": [1], "tags": [["a"]], "took": [timedelta(seconds=1)]})
    with pytest.raises(DataError, match=r"tags is List\(String\), took is Duration"):
        tables.write_snapshot(save(bad, tmp_path), tmp_path)


def test_records_of_clients_become_a_table() -> None:
    schema = TABLE.select(FEATURES).schema
    rows = [
        {"price": 5, "count": 4.0, "since": "2020-02-29", "seen": "2026-01-01T14:00:00+05:30"},
        {"city": "rome", "seen": "2026-01-01T10:30:00Z"},
    ]
    table = tables.from_records(rows, schema)
    assert table.schema == schema
    assert table["price"].to_list() == [5.0, None]
    assert table["count"].to_list() == [4, None]
    assert table["since"].to_list() == [date(2020, 2, 29), None]
    assert table["seen"].to_list() == [datetime(2026, 1, 1, 8, 30), datetime(2026, 1, 1, 10, 30)]


@pytest.mark.parametrize(
    "row", [{"price": "dear"}, {"count": 1.5}, {"since": "soon"}, {"city": 3}, {"count": 2**70}]
)
def test_records_of_another_type_name_the_column(row: dict[str, object]) -> None:
    (name,) = row
    with pytest.raises(DataError, match=f"column {name}: not "):
        tables.from_records([row], TABLE.schema)


def test_keys_identify_rows_and_are_never_null() -> None:
    assert tables.keys(TABLE, SPEC) == ["a", "b", "c"]
    numbered = SPEC.model_copy(update={"key": "x"})
    assert tables.keys(TABLE, numbered) == ["1", "2", "3"]
    with pytest.raises(DataError, match="1 rows have no city"):
        tables.keys(TABLE, SPEC.model_copy(update={"key": "city"}))
    with pytest.raises(DataError, match="no column 'nope'"):
        tables.keys(TABLE, SPEC.model_copy(update={"key": "nope"}))


def test_without_a_key_equal_rows_have_equal_keys() -> None:
    keyless = SPEC.model_copy(update={"key": None})
    doubled = pl.concat([TABLE, TABLE.reverse()])
    found = tables.keys(doubled, keyless)
    assert found[:3] == found[:2:-1]
    assert len(set(found)) == 3
