"""Raw values become cells the same way in training and in serving."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.bundle import Column
from serving.frame import (
    Mixed,
    cell,
    date_to_days,
    days_to_date,
    microseconds_to_days,
    raw_value,
    to_input,
    to_table,
)

COLUMNS = [
    Column("age", "number"),
    Column("plan", "category"),
    Column("since", "date"),
    Column("paper", "boolean"),
]


def test_cells_are_floats_and_texts():
    assert cell("number", 2) == 2.0
    assert cell("integer", 3) == 3.0
    assert cell("boolean", True) == 1.0
    assert cell("category", "a") == "a"
    assert cell("date", "1970-01-02T12:00:00") == 1.5
    assert all(type(cell(kind, 1)) is float for kind in ("number", "integer", "boolean"))


@pytest.mark.parametrize("kind", ["number", "integer", "boolean", "category", "date"])
@pytest.mark.parametrize("null", [None, math.nan, np.datetime64("NaT")])
def test_every_null_is_nan(kind, null):
    assert math.isnan(cell(kind, null))
    assert raw_value(kind, null) is None


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("1970-01-01", 0.0),
        ("1969-12-31", -1.0),
        ("2026-11-23", 20780.0),
        ("1970-01-01T06:00", 0.25),
        ("1970-01-01 06:00:00.000", 0.25),
        ("1970-01-01T06:00:00Z", 0.25),
        ("1970-01-01T06:00:00.000000000+06:00", 0.0),
    ],
)
def test_dates_are_days_since_the_epoch(text, days):
    assert date_to_days(text) == days


@pytest.mark.parametrize(
    "text",
    ["", "2026-02-30", "20261123", "2026-W48-1", "2026-11-23T24:00", "23.11.2026", "2026-11-23T",
     "2026-11-23T10:00:60", "2026-11-23T10:00+99:00", "٢٠٢٦-11-23", "2026-11-23\n", "0000-01-01"],
)  # fmt: skip
def test_what_is_not_a_date_is_an_error(text):
    with pytest.raises(ValueError):
        date_to_days(text)


def test_date_objects_are_dates_too():
    assert date_to_days(date(1970, 1, 3)) == 2.0
    assert date_to_days(datetime(1970, 1, 3, 12)) == 2.5
    there = timezone(timedelta(hours=12))
    assert date_to_days(datetime(1970, 1, 3, 12, tzinfo=there)) == 2.0


@given(st.datetimes())
def test_one_date_and_a_column_of_dates_agree_to_the_last_bit(moment):
    microseconds = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        microseconds=1
    )
    many = microseconds_to_days(np.array([microseconds], dtype=np.int64))
    assert date_to_days(moment.isoformat()) == many[0] == date_to_days(moment)


@example(datetime(2060, 1, 1, 0, 9, 0, 129))
@given(st.datetimes(datetime(1700, 1, 1), datetime(2250, 1, 1)))
def test_days_become_dates_and_days_again(moment):
    days = date_to_days(moment)
    assert date_to_days(days_to_date(days)) == days


@pytest.mark.parametrize(
    ("kind", "value", "raw"),
    [
        ("number", np.float64(1.5), 1.5),
        ("integer", 3.0, 3),
        ("boolean", 1.0, True),
        ("category", "a", "a"),
        ("date", 20780.0, "2026-11-23"),
        ("date", 20780.5, "2026-11-23T12:00:00"),
    ],
)
def test_raw_values_are_json_and_lead_back_to_the_cell(kind, value, raw):
    found = raw_value(kind, value)
    assert found == raw
    assert type(found) is type(raw)
    assert cell(kind, found) == value


def test_a_cell_that_is_no_boolean_is_not_made_one():
    with pytest.raises(ValueError, match="true or false"):
        raw_value("boolean", 0.5)


def test_rows_follow_the_columns_and_not_the_record():
    records = [{"since": "1970-01-02", "plan": "a", "age": 1}, {"paper": False}]
    table = to_table(COLUMNS, records)
    assert [np.asarray(it).tolist()[0] for it in table.columns[:3]] == [1.0, "a", 1.0]
    assert table.columns[1] == ["a", None]
    assert table.columns[3][1] == 0.0
    matrix = to_input(table)
    assert matrix.dtype == object
    assert [type(value) for value in np.asarray(matrix)[1]] == [float] * 4


def test_number_columns_are_selected_as_floats_from_a_mixed_matrix():
    mixed = to_input(to_table(COLUMNS, [{"age": 1.5, "plan": "a"}, {"paper": True}]))
    assert isinstance(mixed, Mixed)
    assert mixed[:, [0, 3]].dtype == np.float64
    assert mixed[:, 2].dtype == np.float64
    assert mixed[:, slice(2, 4)].dtype == np.float64
    assert mixed[:, [0, 1]].dtype == object
    assert mixed[:, 1].tolist()[0] == "a"
    assert type(mixed[:, [0, 1]]) is np.ndarray


def test_a_matrix_without_text_is_floats():
    only = [column for column in COLUMNS if column.kind != "category"]
    assert to_input(to_table(only, [{"age": 2}])).dtype == np.float64
