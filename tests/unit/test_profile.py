from datetime import date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon import profile
from andon.errors import DataError
from serving.bundle import Column

RNG = np.random.default_rng(0)
N = 4_000
TABLE = pl.DataFrame(
    {
        "amount": RNG.normal(50, 10, N),
        "visits": RNG.poisson(1.0, N),
        "member": RNG.random(N) < 0.3,
        "since": [date(2020, 1, 1 + i % 28) for i in range(N)],
        "city": RNG.choice(["rome", "oslo", "lima"], N),
        "nothing": pl.Series([None] * N, dtype=pl.Float64),
    }
)
COLUMNS = [
    Column("amount", "number"),
    Column("visits", "integer"),
    Column("member", "boolean"),
    Column("since", "date"),
    Column("city", "category"),
    Column("nothing", "number"),
]
PROFILE = profile.build(TABLE, COLUMNS, RNG.random(N))
BY_NAME = {feature.name: feature for feature in PROFILE.features}


@pytest.mark.parametrize("name", [c.name for c in COLUMNS])
def test_reference_counted_as_a_window_gives_the_reference(name: str) -> None:
    feature = BY_NAME[name]
    again = profile.window_counts(feature, TABLE[name])
    assert again.tolist() == profile.counts(feature).tolist()
    assert again.sum() == feature.n == N
    assert len(profile.labels(feature)) == len(again)


def test_a_continuous_column_has_twenty_even_bins_and_nothing_outside() -> None:
    found = profile.counts(BY_NAME["amount"])
    below, inside, above, null = found[0], found[1:-2], found[-2], found[-1]
    assert len(inside) == 20
    assert inside.min() > 0.9 * N / 20
    assert inside.max() < 1.1 * N / 20
    assert (below, above, null) == (0, 0, 0)


def test_values_out_of_range_and_nulls_have_bins_of_their_own() -> None:
    window = pl.Series("amount", [-1e9, 1e9, float("inf"), None, float("nan"), 50.0])
    found = profile.window_counts(BY_NAME["amount"], window)
    assert (found[0], found[-2], found[-1]) == (1, 2, 2)
    assert found.sum() == 6


def test_each_frequent_whole_number_has_a_bin_of_its_own() -> None:
    feature = BY_NAME["visits"]
    for value in (0, 1, 2, 3):
        found = profile.window_counts(feature, pl.Series("visits", [value]))
        same = profile.counts(feature)[found.argmax()]
        assert same == (TABLE["visits"] == value).sum()


def test_booleans_count_false_and_true_apart() -> None:
    found = profile.counts(BY_NAME["member"])
    true = TABLE["member"].sum()
    assert found[found > 0].tolist() == [N - true, true]


def test_a_value_that_a_constant_column_never_had_is_seen() -> None:
    constant = profile.build(
        pl.DataFrame({"flag": [False] * 10}), [Column("flag", "boolean")], np.zeros(10)
    ).features[0]
    assert profile.counts(constant).tolist() == [0, 10, 0, 0]
    window = pl.Series("flag", [False, True, None])
    assert profile.window_counts(constant, window).tolist() == [0, 1, 1, 1]


def test_a_column_without_any_value_counts_nulls_and_what_comes_later() -> None:
    assert profile.counts(BY_NAME["nothing"]).tolist() == [0, N]
    later = profile.window_counts(BY_NAME["nothing"], pl.Series("nothing", [1.0, None]))
    assert later.tolist() == [1, 1]


def test_dates_and_times_of_the_same_day_fall_into_the_same_bin() -> None:
    feature = BY_NAME["since"]
    day = profile.window_counts(feature, pl.Series("since", [date(2020, 1, 5)]))
    time = profile.window_counts(feature, pl.Series("since", [datetime(2020, 1, 5, 0, 0)]))
    assert day.tolist() == time.tolist()
    assert day.sum() == 1


def test_unseen_and_null_categories_have_bins_of_their_own() -> None:
    feature = BY_NAME["city"]
    found = profile.window_counts(feature, pl.Series("city", ["oslo", "paris", None, "paris"]))
    named = dict(zip(profile.labels(feature), found.tolist(), strict=True))
    expected = {"rome": 0, "oslo": 1, "lima": 0, "(rarer)": 0, "(unseen)": 2, "(null)": 1}
    assert named == expected


def test_of_many_categories_the_rarer_ones_share_a_bin_and_are_not_unseen() -> None:
    cities = [f"c{i:03d}" for i in range(150) for _ in range(150 - i)]
    table = pl.DataFrame({"city": cities})
    feature = profile.build(table, [Column("city", "category")], np.zeros(1)).features[0]
    assert feature.top == [f"c{i:03d}" for i in range(100)]
    found = profile.window_counts(feature, pl.Series("city", ["c000", "c149", "new"]))
    assert found.sum() == 3
    assert found[-3:].tolist() == [1, 1, 0]


def test_a_missing_column_is_all_null_and_does_not_stop_the_others() -> None:
    window = profile.summarize(TABLE.drop("amount"), PROFILE, np.full(N, 0.5))
    missing = {feature.name: feature for feature in window.features}
    assert missing["amount"].nulls == N
    assert missing["amount"].mean is None
    assert missing["city"].counts == BY_NAME["city"].counts


def test_a_summary_keeps_the_bins_and_has_its_own_counts_and_moments() -> None:
    window = profile.summarize(TABLE.head(10), PROFILE, np.array([0.1] * 10))
    amount = window.features[0]
    assert amount.edges == BY_NAME["amount"].edges
    assert (window.rows, amount.n) == (10, 10)
    assert amount.mean == pytest.approx(TABLE["amount"].head(10).mean())
    assert window.score.n == 10
    assert window.score.high == 0.1


def test_text_in_a_column_of_numbers_names_the_column() -> None:
    with pytest.raises(DataError, match="column amount: found String, expected numbers"):
        profile.window_counts(BY_NAME["amount"], pl.Series("amount", ["a"]))


def test_json_brings_it_back_to_the_last_bit() -> None:
    assert profile.from_json(profile.to_json(PROFILE)) == PROFILE
    with pytest.raises(DataError, match=r"profile\.json"):
        profile.from_json(b'{"rows": "many"}')


@given(
    st.lists(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)), max_size=60),
    st.lists(st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)), max_size=60),
)
def test_every_row_is_counted_once_whatever_it_holds(
    reference: list[float | None], window: list[float | None]
) -> None:
    table = pl.DataFrame({"x": pl.Series(reference, dtype=pl.Float64)})
    made = profile.build(table, [Column("x", "number")], np.zeros(1))
    feature = made.features[0]
    found = profile.window_counts(feature, pl.Series("x", window, dtype=pl.Float64))
    assert found.sum() == len(window)
    assert len(found) == len(feature.counts)
    assert profile.from_json(profile.to_json(made)) == made
