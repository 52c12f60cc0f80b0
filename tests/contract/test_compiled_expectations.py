"""The one scan says of a suite what GX's pandas engine says: on clean and on corrupted tables."""

from __future__ import annotations

import math
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from andon.adapters.scan import gx, unique
from andon.adapters.scan.compiled import compiled
from andon.adapters.scan.patterns import translated

Json = dict[str, Any]
KINDS = {"n": pl.Float64(), "i": pl.Int64(), "s": pl.String(), "d": pl.Datetime("us")}
START = datetime(2024, 1, 1)
FLOATS = st.sampled_from([0.0, -0.0, 0.1, 1.5, -2.0, 3.0, math.inf, -math.inf, math.nan])
CELLS = {
    "n": st.one_of(FLOATS, st.floats(-5, 5, allow_nan=False)),
    "i": st.integers(-4, 6),
    "s": st.sampled_from(
        ["", "a", "ab", "a\n", "b", "B1", "é", "zażółć", "7", "\N{ARABIC-INDIC DIGIT THREE}"]
    ),
    "d": st.integers(0, 4).map(lambda days: START + timedelta(days=days)),
}
BOUNDS = {"min_value": -1, "max_value": 3}


def expect(kind: str, **kwargs: Any) -> Json:
    return {"type": f"expect_{kind}", "kwargs": kwargs}


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    """Small tables; each column is free of nulls, has some, or has nothing else."""
    rows = draw(st.integers(0, 9))
    data = {}
    for name, cells in CELLS.items():
        cell = draw(st.sampled_from([cells, st.one_of(st.none(), cells), st.none()]))
        values = draw(st.lists(cell, min_size=rows, max_size=rows))
        data[name] = pl.Series(name, values, dtype=KINDS[name])
    return pl.DataFrame(data)


@st.composite
def suites(draw: st.DrawFn) -> list[Json]:
    low, width = draw(st.integers(-3, 3)), draw(st.integers(0, 4))
    bounds: Json = draw(
        st.sampled_from(
            [
                {"min_value": low, "max_value": low + width},
                {"min_value": low + 0.5},
                {"max_value": low},
            ]
        )
    )
    strict = {
        side: True for side in ("min", "max") if f"{side}_value" in bounds and draw(st.booleans())
    }
    edges = {**bounds, **{f"strict_{side}": it for side, it in strict.items()}}
    mostly = draw(st.sampled_from([{}, {"mostly": 0.5}, {"mostly": 0.9}]))
    known = [*of_tables(low), *of_rows(edges, mostly), *of_columns(edges)]
    return draw(st.lists(st.sampled_from(known), min_size=6, max_size=6))


def of_tables(n: int) -> list[Json]:
    return [
        expect("table_row_count_to_be_between", min_value=max(n, 0), max_value=5),
        expect("table_row_count_to_equal", value=abs(n)),
        expect("table_column_count_to_equal", value=4),
        expect("table_column_count_to_be_between", min_value=1, max_value=3),
        expect("table_columns_to_match_set", column_set=["n", "i", "x"]),
        expect("table_columns_to_match_ordered_list", column_list=["n", "i", "s", "d"]),
        expect("column_to_exist", column="n"),
        expect("column_to_exist", column="x"),
    ]


def of_rows(edges: Json, mostly: Json) -> list[Json]:
    found = []
    for name in KINDS:
        found += [
            expect("column_values_to_not_be_null", column=name, **mostly),
            expect("column_values_to_be_null", column=name, **mostly),
            expect("column_values_to_be_unique", column=name, **mostly),
        ]
    for name in ("n", "i", "d"):
        found += [
            expect("column_values_to_be_increasing", column=name, **mostly),
            expect("column_values_to_be_increasing", column=name, strictly=True),
            expect("column_values_to_be_decreasing", column=name),
            expect("column_values_to_be_decreasing", column=name, strictly=True, **mostly),
        ]
    for name in ("n", "i"):
        found += [
            expect("column_values_to_be_between", column=name, **edges, **mostly),
            expect("column_values_to_be_in_set", column=name, value_set=[0, 1, 3, 5], **mostly),
            expect("column_values_to_not_be_in_set", column=name, value_set=[0, 1.5], **mostly),
        ]
    return [
        *found,
        expect("column_values_to_be_in_set", column="s", value_set=["a", "é"], **mostly),
        expect("column_values_to_not_be_in_set", column="s", value_set=["", "7"], **mostly),
        expect("column_values_to_match_regex", column="s", regex=r"^[a-z]+$", **mostly),
        expect("column_values_to_match_regex", column="s", regex=r"\d", **mostly),
        expect("column_values_to_not_match_regex", column="s", regex="^a.?$", **mostly),
        expect("column_value_lengths_to_be_between", column="s", **edges, **mostly),
        expect("column_value_lengths_to_equal", column="s", value=2, **mostly),
    ]


def of_columns(edges: Json) -> list[Json]:
    ranges = {
        "quantiles": [0.1, 0.5, 0.75, 1],
        "value_ranges": [[-1, 2], [None, 3], [0, None], [0, 3]],
    }
    found = []
    for name in ("n", "i"):
        found += [
            expect(f"column_{figure}_to_be_between", column=name, **edges)
            for figure in ("min", "max", "mean", "sum", "stdev", "median")
        ]
        found.append(
            expect("column_quantile_values_to_be_between", column=name, quantile_ranges=ranges)
        )
    found += [
        expect(f"column_distinct_values_to_{what}_set", column=name, value_set=values)
        for what in ("be_in", "contain", "equal")
        for name, values in (("i", [0, 1, 2]), ("s", ["a", "b"]))
    ]
    for name in ("n", "i", "s"):
        found += [
            expect("column_unique_value_count_to_be_between", column=name, **edges),
            expect("column_proportion_of_unique_values_to_be_between", column=name, max_value=0.8),
            expect(
                "column_proportion_of_non_null_values_to_be_between", column=name, min_value=0.5
            ),
        ]
    types = ["int64", "float64", "str", "datetime64"]
    found += [
        expect("column_values_to_be_of_type", column=name, type_=kind)
        for name in KINDS
        for kind in types
    ]
    return [
        *found,
        *(expect("column_values_to_be_in_type_list", column=n, type_list=types) for n in KINDS),
    ]


def told(table: pl.DataFrame, suite: list[Json]) -> tuple[dict[int, Json], dict[int, Json]]:
    """Results by place: of the scan, over more than one row group, and of GX on pandas."""
    expectations = gx.built(suite, None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.parquet"
        table.write_parquet(path, row_group_size=4)
        ours, _ = compiled(pl.scan_parquet(path), expectations, {})
    theirs = gx.run(table, expectations, "toy")["results"]
    places = {it["expectation_config"]["meta"][gx.PLACE]: it for it in theirs}
    return {place: gx.plain_json(it) for place, it in ours.items()}, places


def comparable(value: Any) -> Any:
    """Lists of GX come in any order where it goes through sets; figures differ in a last digit."""
    if isinstance(value, dict):
        return {key: comparable(it) for key, it in value.items()}
    if isinstance(value, list):
        return sorted((comparable(it) for it in value), key=repr)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return float(f"{value:.9g}") + 0.0


def same(table: pl.DataFrame, suite: list[Json]) -> set[int]:
    ours, theirs = told(table, suite)
    for place, found in ours.items():
        wanted = theirs[place]
        said = (suite[place], table.to_dict(as_series=False))
        assert found["success"] == wanted["success"], said
        assert comparable(found.get("result")) == comparable(wanted.get("result")), said
    return set(ours)


CLEAN = pl.DataFrame(
    {
        "n": [0.5, 1.5, 2.5, 3.0],
        "i": [1, 2, 3, 4],
        "s": ["a", "b", "ab", "é"],
        "d": [START + timedelta(days=i) for i in range(4)],
    },
    schema=KINDS,
)
PLAIN = [*of_tables(1), *of_rows(BOUNDS, {}), *of_columns(BOUNDS)]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(table=tables(), suite=suites())
@example(table=CLEAN, suite=PLAIN)
@example(table=CLEAN.head(0), suite=PLAIN)
@example(table=CLEAN.head(1), suite=PLAIN)
@example(table=CLEAN.clear(3), suite=PLAIN)
@example(table=pl.concat([CLEAN, CLEAN.clear(2), CLEAN[::-1]]), suite=PLAIN)
@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    report_multiple_bugs=False,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_the_scan_says_what_gx_says(table: pl.DataFrame, suite: list[Json]) -> None:
    same(table, suite)


def test_the_scan_answers_all_of_these_by_itself() -> None:
    assert same(CLEAN, PLAIN) == set(range(len(PLAIN)))


def test_a_bound_of_zero_is_a_bound() -> None:
    """0 equals False in Python; the scan once took it for a bound that is not there."""
    zeros = [{"min_value": 0}, {"max_value": 0}, {"min_value": 0, "max_value": 0}]
    table = CLEAN.with_columns(n=pl.col("n") - 2, i=pl.col("i") - 2, s=pl.lit("a"))
    suite = [*[it for zero in zeros for it in [*of_rows(zero, {}), *of_columns(zero)]]]
    suite += [expect("table_row_count_to_be_between", max_value=0)]
    suite += [expect("table_row_count_to_equal", value=0)]
    suite += [expect("column_value_lengths_to_equal", column="s", value=0)]
    assert same(table, suite) == set(range(len(suite)))
    ours, _ = told(table, suite)
    bounded = [
        ours[n]["success"] for n, it in enumerate(suite) if zeros[0].items() <= it["kwargs"].items()
    ]
    assert not all(bounded)
    assert [ours[n]["success"] for n in range(len(suite) - 3, len(suite))] == [False] * 3


@pytest.mark.parametrize(
    "left",
    [
        expect("column_values_to_be_between", column="d", min_value="2024-01-01T00:00:00"),
        expect("column_values_to_be_between", column="i", min_value=1, row_condition="n > 1"),
        expect("column_values_to_match_regex", column="s", regex=r"^(?=a)\w"),
        expect("column_values_to_be_in_set", column="i", value_set=["1", 2]),
        expect("column_values_to_be_between", column="gone", min_value=1),
        expect("column_mean_to_be_between", column="s", min_value=1),
        expect("compound_columns_to_be_unique", column_list=["i", "s"]),
    ],
    ids=lambda it: it["type"],
)
def test_what_is_not_covered_is_left_to_gx(left: Json) -> None:
    if "row_condition" in left["kwargs"]:
        left["kwargs"]["condition_parser"] = "pandas"
    ours, _ = compiled(CLEAN.lazy(), gx.built([left], None), {})
    assert ours == {}


@pytest.mark.parametrize(
    "pattern", [r"\w", r"a\b", "(?i)a", "a++", "a$b", r"(a)\1", "[[a]", "a{,2}", "(", "[a-\\d]"]
)
def test_a_pattern_that_may_mean_something_else_is_not_translated(pattern: str) -> None:
    assert translated(pattern) is None


@pytest.mark.parametrize(("held", "small"), [(7, 0), (1000, 0), (1000, 1000)])
def test_uniqueness_is_the_same_in_parts_and_with_half_the_bits(
    held: int, small: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unique, "_HELD", held)
    monkeypatch.setattr(unique, "_SMALL", small)
    table = pl.DataFrame({"i": [*range(50), 3, 3, None, 49], "s": [f"v{i}" for i in range(54)]})
    suite = [expect("column_values_to_be_unique", column=name) for name in ("i", "s")]
    assert same(table, suite) == {0, 1}
    ours, _ = told(table, suite)
    assert [ours[n]["result"]["unexpected_count"] for n in (0, 1)] == [5, 0]


def test_the_first_values_that_repeat_are_told_in_the_order_of_rows() -> None:
    table = pl.DataFrame({"s": [f"v{i % 700}" for i in range(1000)]})
    suite = [expect("column_values_to_be_unique", column="s", mostly=0.3)]
    ours, theirs = told(table, suite)
    assert ours[0]["result"] == theirs[0]["result"]
    assert ours[0]["result"]["unexpected_count"] == 600
