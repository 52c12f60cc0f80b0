"""Drift: the formulas against other people's, the outcomes, and how often they are right."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import simulations
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chi2, chi2_contingency, false_discovery_control, mannwhitneyu

from andon import profile
from andon.drift import (
    drift,
    outside_p,
    rank_p,
    stability_index,
    total_variation,
    two_sample_p,
    wasserstein,
)
from andon.profile import Feature
from andon.summary import Tally
from andon.verdict import Outcome, gate
from andon.windows import benjamini_hochberg
from serving.bundle import Column

counts = st.lists(st.integers(0, 500), min_size=2, max_size=30)


def of(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int64)


def feature(*numbers: int) -> Feature:
    """A column of numbers with so many rows in each bin, and none elsewhere."""
    edges = [float(it) for it in range(len(numbers) + 1)]
    return Feature("x", "number", edges, counts=[0, *numbers, 0, 0], std=1.0)


def tally(*numbers: int) -> Tally:
    return Tally(of(0, *numbers, 0, 0))


def judge(reference, *windows, **changes):
    settings = {"alpha": 0.01, "effect": 0.1, "min_rows": 100}
    return {it.check: it for it in drift(reference, windows, **{**settings, **changes})}


@pytest.mark.parametrize(
    ("reference", "window", "distance"),
    [
        (of(50, 50), of(5, 5), 0.0),
        (of(50, 50), of(10, 0), 0.5),
        (of(1, 0), of(0, 7), 1.0),
        (of(20, 30, 50), of(30, 30, 40), 0.1),
    ],
)
def test_total_variation_by_hand(reference, window, distance):
    assert total_variation(reference, window) == pytest.approx(distance)


def test_benjamini_hochberg_by_hand():
    # sorted: 0.005·4/1 = 0.02, 0.01·4/2 = 0.02, 0.03·4/3 = 0.04, 0.04·4/4 = 0.04
    found = benjamini_hochberg(np.array([0.01, 0.04, 0.03, 0.005]))
    assert found == pytest.approx([0.02, 0.04, 0.04, 0.02])
    # a larger p with a smaller adjusted value pulls the ones before it down
    assert benjamini_hochberg(np.array([0.02, 0.021])) == pytest.approx([0.021, 0.021])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_benjamini_hochberg_is_scipys(p_values):
    found = benjamini_hochberg(np.array(p_values))
    assert found == pytest.approx(false_discovery_control(p_values, method="bh"), abs=1e-12)


@given(st.lists(st.tuples(st.integers(20, 500), st.integers(20, 500)), min_size=2, max_size=30))
def test_two_sample_p_is_scipys_where_no_bin_is_rare(pairs):
    table = np.array(pairs).T
    expected = table.sum(axis=0) * table.sum(axis=1).min() / table.sum()
    assume(expected.min() >= 5)
    assert two_sample_p(table[0], table[1]) == pytest.approx(
        chi2_contingency(table, correction=False).pvalue
    )


def test_two_sample_p_by_hand():
    # 100 | 200 against 150 | 150: sum of (found - expected)² / expected = 17.142857, 1 degree
    assert two_sample_p(of(100, 200), of(150, 150)) == pytest.approx(chi2.sf(120 / 7, 1))


def test_rare_bins_are_one_bin():
    reference, window = of(5_000, 4_990, 4, 3, 3), of(480, 490, 10, 10, 10)
    assert two_sample_p(reference, window) == two_sample_p(of(5_000, 4_990, 10), of(480, 490, 30))


@given(counts, counts)
def test_a_p_is_a_probability_and_the_same_shares_are_no_evidence(reference, window):
    size = min(len(reference), len(window))
    a, b = np.array(reference[:size]) + 1, np.array(window[:size]) + 1
    assert 0.0 <= two_sample_p(a, b) <= 1.0
    assert two_sample_p(a, 3 * a) == pytest.approx(1.0)


def test_an_alarm_needs_effect_and_evidence():
    reference = {name: feature(50_000, 50_000) for name in ("same", "tiny", "few", "moved")}
    window = {
        "same": tally(25_000, 25_000),
        "tiny": tally(26_000, 24_000),  # sure, and too small to matter: 0.02
        "few": tally(66, 54),  # 0.05, and anybody's guess
        "moved": tally(32_000, 18_000),
    }
    found = judge(reference, window)
    assert {name: it.outcome for name, it in found.items()} == {
        "same": Outcome.PASS,
        "tiny": Outcome.PASS,
        "few": Outcome.PASS,
        "moved": Outcome.FAIL,
    }
    assert found["tiny"].evidence["adjusted_p"] < 0.01
    assert found["moved"].value == pytest.approx(0.14)
    assert judge(reference, window, effect=0.01)["tiny"].outcome is Outcome.FAIL


def test_a_large_effect_without_evidence_is_no_alarm():
    found = judge({"x": feature(500, 500)}, {"x": tally(16, 8)}, min_rows=10)["x"]
    assert found.value == pytest.approx(1 / 6)
    assert found.outcome is Outcome.PASS


def test_too_few_rows_are_inconclusive_for_that_feature_alone():
    reference = {name: feature(500, 500) for name in "abc"}
    found = judge(reference, {"a": tally(0, 99), "b": tally(0, 100)})
    assert found["a"].outcome is Outcome.INCONCLUSIVE
    assert found["a"].detail == "99 rows, wanted at least 100"
    assert found["b"].outcome is Outcome.FAIL
    assert found["c"].outcome is Outcome.INCONCLUSIVE, "a feature that nobody counted"


def test_no_rows_and_no_reference_are_inconclusive():
    nothing = feature(0, 0)
    found = judge(
        {"a": feature(5, 5), "b": nothing}, {"a": tally(0, 0), "b": tally(900, 0)}, min_rows=0
    )
    assert {it.outcome for it in found.values()} == {Outcome.INCONCLUSIVE}
    assert gate(judge({}).values()) is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("usual", [0.0, 0.02])
def test_nulls_are_a_bin_of_their_own_and_are_seen(usual):
    """Also in a column that has one value and never had a null: there is no other bin to move."""
    rng = np.random.default_rng(4)

    def column(n: int, nulls: float, values: list[float]) -> pl.Series:
        drawn = np.where(rng.random(n) < nulls, None, rng.choice(values, n))
        return pl.Series("x", drawn.tolist(), pl.Float64)

    for values in ([1.0], list(range(40))):
        reference = pl.DataFrame({"x": column(100_000, usual, values)})
        feature = profile.build(reference, [Column("x", "number")], np.zeros(1)).features[0]
        for nulls, outcome in ((usual, Outcome.PASS), (usual + 0.2, Outcome.FAIL)):
            window = profile.window_counts(feature, column(1_000, nulls, values))
            found = judge({"x": feature}, {"x": Tally(window)})["x"]
            assert found.outcome is outcome


def test_a_category_that_nobody_ever_saw_is_seen():
    reference = pl.DataFrame({"x": ["a", "b"] * 50_000})
    feature = profile.build(reference, [Column("x", "category")], np.zeros(1)).features[0]
    window = profile.window_counts(feature, pl.Series("x", ["a", "b"] * 400 + ["c"] * 200))
    found = judge({"x": feature}, {"x": Tally(window)})["x"]
    assert found.outcome is Outcome.FAIL


def test_bad_windows_have_to_last():
    reference, calm, moved = (
        {"x": feature(500, 500)},
        {"x": tally(500, 500)},
        {"x": tally(700, 300)},
    )
    for windows, outcome in (
        ([moved], Outcome.INCONCLUSIVE),
        ([moved, calm], Outcome.INCONCLUSIVE),
        ([moved, moved], Outcome.FAIL),
        ([moved, calm, moved], Outcome.FAIL),
        ([calm, moved, moved], Outcome.PASS),
        ([{"x": tally(9, 9)}, moved, moved], Outcome.INCONCLUSIVE),
    ):
        assert judge(reference, *windows, need=2)["x"].outcome is outcome
    found = judge(reference, moved, calm, need=2)["x"]
    assert found.detail.endswith("; bad in 1 of 2 windows, an alarm needs 2")
    assert [it["bad"] for it in found.evidence["windows"]] == [True, False]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=2, max_size=12))
def test_rank_p_is_scipys(pairs):
    reference, window = (np.array(it) for it in zip(*pairs, strict=True))
    rows = [np.repeat(np.arange(len(pairs)), it) for it in (reference, window)]
    assume(all(len(it) for it in rows) and len(np.unique(np.concatenate(rows))) > 1)
    expected = mannwhitneyu(*rows, method="asymptotic", use_continuity=False).pvalue
    assert rank_p(reference, window) == pytest.approx(expected, abs=1e-9)


def test_outside_p_by_hand():
    # of 3 + 2 rows the highest is a window's in 2 of 5 orders, or the lowest is: 2 ways
    assert outside_p(3, 2, 1) == pytest.approx(0.8)
    assert outside_p(98, 2, 2) == pytest.approx(3 * (2 / 100) * (1 / 99))
    assert outside_p(100, 100, 0) == 1.0


def test_values_out_of_a_small_references_range_are_no_evidence():
    """Half of all windows have a higher value than a reference of the same size."""
    rng, alarms = np.random.default_rng(6), 0
    for _ in range(200):
        made = profile.feature_of(Column("x", "number"), pl.Series("x", rng.normal(size=300)))
        counted = profile.window_counts(made, pl.Series("x", rng.normal(size=300)))
        (found,) = drift({"x": made}, [{"x": Tally(counted)}], alpha=0.05, effect=1e-9, min_rows=1)
        alarms += found.outcome is Outcome.FAIL
    assert alarms <= 20, "5 % is 10 of 200, and more than 20 in 0.2 % of such tests"


def test_many_rare_categories_are_no_evidence():
    """2,000 categories, of which the reference's most frequent 100 are frequent by chance."""
    rng = np.random.default_rng(7)

    def draw(n: int) -> pl.Series:
        return pl.Series("x", [f"c{it}" for it in rng.integers(0, 2_000, n)])

    made = profile.feature_of(Column("x", "category"), draw(10_000))
    alarms = 0
    for _ in range(100):
        counted = profile.window_counts(made, draw(1_000))
        (found,) = drift({"x": made}, [{"x": Tally(counted)}], alpha=0.01, effect=0.01, min_rows=1)
        alarms += found.outcome is Outcome.FAIL
    assert alarms <= 5


def test_psi_and_wasserstein_by_hand():
    reference, window = of(0, 100, 100, 0, 0), of(0, 50, 150, 0, 0)
    assert stability_index(reference, window) == pytest.approx(
        sum((q - p) * np.log(q / p) for p, q in zip(
            (reference + 0.5) / 202.5, (window + 0.5) / 202.5, strict=True)))  # fmt: skip
    # F is 1/2 and 1/4 at the middle edge: a triangle of base 2 and height 1/4
    assert wasserstein(feature(100, 100), tally(50, 150)) == pytest.approx(0.25)


# 300 windows: a true rate of 1 % gives more than 8 alarms (2.7 %) in 0.4 % of such tests.
WINDOWS = 150


def test_without_drift_there_is_hardly_an_alarm():
    """1,000 rows, a reference of 100,000, 15 columns, both monitors."""
    assert simulations.share(simulations.single(WINDOWS, 1_000)) <= 0.05


def test_without_drift_evidence_alone_is_wrong_at_most_as_often_as_alpha_says():
    """With no floor under the effect: else the floor would hide p values that mean nothing."""
    for rows, size in ((1_000, 20_000), (500, 500)):
        judges = simulations.bare(alpha=0.05)
        assert simulations.share(simulations.single(WINDOWS, rows, size=size, judges=judges)) <= 0.1


def test_a_modest_shift_is_seen_and_hardly_another_column_is_blamed():
    found = list(simulations.single(60, 1_000, simulations.SHIFT))
    assert simulations.share(found) >= 0.7
    moved = {"drift: n0", "drift: n1", "drift: n2", "prediction drift"}
    assert sum(bool(it - moved) for it in found) <= 4


def test_with_the_default_persistence_nothing_becomes_an_incident_without_drift():
    assert simulations.incidents(simulations.scheduled(60, 500)) == 0


def test_more_nulls_are_seen():
    found = list(simulations.single(40, 1_000, simulations.NULLS))
    assert sum("data: n0" in it for it in found) >= 32
