"""Summaries: the same counts however the rows are parted, and windows of the sizes promised."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from andon import profile
from andon.profile import Feature
from andon.summary import Coded, Cut, Summary, Tally, tallies, total
from serving.bundle import Column

numbers = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1.0, 2.0, 1e308, -1e308, 5e-324]),
    st.floats(-3, 3),
)


def feature(values: np.ndarray) -> Feature:
    return profile.feature_of(Column("x", "number"), pl.Series("x", values))


@given(
    arrays.arrays(np.float64, st.integers(1, 60), elements=numbers),
    arrays.arrays(np.float64, st.integers(0, 60), elements=numbers),
)
def test_numbers_are_in_the_bins_that_the_profile_counts(reference, window):
    made = feature(reference)
    with np.errstate(over="ignore", under="ignore"):
        beside = np.nextafter(made.edges, -np.inf)
    window = np.concatenate([window, np.array(made.edges), beside])
    (found,) = tallies(made, window, np.zeros(len(window), np.intp), 1)
    assert found.counts.tolist() == profile.window_counts(made, pl.Series("x", window)).tolist()


@given(st.integers(1, 200), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_parts_add_up_to_the_whole(n, many, seed):
    rng = np.random.default_rng(seed)
    made = feature(rng.normal(size=500))
    values = np.where(rng.random(n) < 0.1, np.nan, 1e3 + rng.normal(size=n))
    groups = rng.integers(0, many, n)
    (whole,) = tallies(made, values, np.zeros(n, np.intp), 1)
    parts = tallies(made, values, groups, many)
    added = parts[0]
    for it in parts[1:]:
        added = added + it
    assert added.counts.tolist() == whole.counts.tolist()
    assert (added.real, added.n) == (whole.real, n)
    assert added.mean == pytest.approx(whole.mean)
    assert added.std == pytest.approx(whole.std, abs=1e-9)


def test_categories_are_known_rare_unseen_or_null():
    made = Feature("x", "category", top=["a", "b"], rare=["c"], counts=[9, 8, 1, 0, 0])
    values = Coded(np.array([0, 0, 1, 2, -1, 1], np.int32), ["b", "c", "new"])
    first, second = tallies(made, values, np.array([0, 0, 0, 0, 1, 1]), 2)
    assert first.counts.tolist() == [0, 2, 1, 1, 0]
    assert second.counts.tolist() == [0, 0, 1, 0, 1]


def piece(rows: int, number: int = 0) -> Summary:
    return Summary(rows, -number, -number, {"x": Tally(np.array([rows]))}, None, {})


def windows(cut: Cut, rows: int) -> list[int]:
    """Sizes of the windows of so many rows that are there."""
    rows = min(rows, cut.latest)
    sizes = [min(cut.piece, rows - it) for it in range(0, rows, cut.piece)]
    found = cut.windows({number: piece(it, number) for number, it in enumerate(sizes)})
    assert [it.last for it in found] == sorted((it.last for it in found), reverse=True)
    return [it.rows for it in found]


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [
        (0, []),
        (300, [300]),
        (600, [500, 100]),
        (1_000, [500, 500]),
        (1_400, [625, 625, 150]),
        (4_000, [2_000, 2_000]),
        (5_000, [2_000, 2_000, 1_000]),
        (99_000, [2_000, 2_000, 2_000]),
    ],
)
def test_two_windows_are_there_as_early_as_both_can_be_judged(rows, sizes):
    assert windows(Cut(2_000, 500), rows) == sizes


@given(
    st.integers(1, 50_000), st.integers(1, 3_000), st.integers(1, 9), st.integers(1, 9),
    st.integers(0, 200_000),
)  # fmt: skip
def test_no_window_is_larger_than_asked_and_few_pieces_are_kept(rows, least, of, need, there):
    cut = Cut(rows, least, max(of, need), min(of, need))
    found = windows(cut, there)
    assert len(found) <= cut.of
    assert all(it <= rows for it in found)
    assert cut.latest / cut.piece <= 512
    if there >= cut.latest:
        assert min(found) > rows / 2


def test_two_summaries_are_one_of_both():
    both = total([piece(3, 1), piece(4, 2)])
    assert (both.rows, both.first, both.last) == (7, -2, -1)
    assert both.features["x"].counts.tolist() == [7]
    other = Summary(1, 5, 6, {"y": Tally(np.array([1]))}, None, {"z": "found string"})
    joined = both + other
    assert set(joined.features) == {"x", "y"}
    assert joined.unread == {"z": "found string"}
