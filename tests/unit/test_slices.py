"""Slices: how columns are cut, that found ones are honestly measured, and how often they alarm."""

from __future__ import annotations

import time
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from andon.cuts import Coded, coded
from andon.metrics import METRICS
from andon.scorers import named as scorer
from andon.slices import Rows, holm, named, text, verdict
from andon.verdict import Outcome
from andon.worst import worst

ACCURACY, RMSE = METRICS["accuracy"], METRICS["rmse"]


def shares(column: pl.Series, **settings: object) -> dict[str, int]:
    found = coded(column, **settings)
    return {value: int((found.codes == code).sum()) for code, value in enumerate(found.values)}


def test_categories_stay_numbers_and_dates_are_quarters_and_nulls_are_apart():
    assert shares(pl.Series("c", ["b", "a", "b", None])) == {"b": 2, "a": 1, "null": 1}
    assert shares(pl.Series("c", [True, False, None, True])) == {"true": 2, "false": 1, "null": 1}
    assert shares(pl.Series("c", [3, 10, 10, None])) == {"3": 1, "10": 2, "null": 1}
    numbers = pl.Series("c", [*range(100), None])
    assert shares(numbers) == {
        "below 24.75": 25, "24.75 to 49.5": 25, "49.5 to 74.25": 25, "74.25 or more": 25, "null": 1,
    }  # fmt: skip
    days = pl.Series("c", [date(2026, 1, 1) + timedelta(days=it) for it in range(40)])
    assert list(shares(days)) == [
        "below 2026-01-10", "2026-01-10 to 2026-01-20", "2026-01-20 to 2026-01-30",
        "2026-01-30 or more",
    ]  # fmt: skip


def test_columns_with_little_in_them_are_cut_as_far_as_they_go():
    assert shares(pl.Series("c", [None, None], dtype=pl.Float64)) == {"null": 2}
    assert shares(pl.Series("c", [0.0] * 90 + [float(it) for it in range(1, 11)])) == {"any": 100}
    assert len(shares(pl.Series("c", [f"v{it}" for it in range(500)]), most=12)) == 12


def test_masked_columns_show_no_values():
    column = pl.Series("c", ["secret", "hidden", None])
    assert list(shares(column, masked=True)) == ["masked 1", "masked 2", "null"]
    assert list(shares(pl.Series("c", range(100)), masked=True)) == [
        f"masked {i}" for i in (1, 2, 3, 4)
    ]


def test_holm_is_as_published():
    # Holm 1979 by hand: 0.01 * 4, 0.02 * 3, 0.03 * 2, 0.04 (not below the one before).
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def world(n: int, seed: int, harm: float) -> tuple[Rows, pl.DataFrame]:
    """Two equally good models, but for `harm` more errors of one where a is x and b is high."""
    rng = np.random.default_rng(seed)
    table = pl.DataFrame(
        {"a": rng.choice(["x", "y", "z"], n), "b": rng.normal(size=n), "c": rng.normal(size=n)}
    )
    bad = ((table["a"] == "x") & (table["b"] > 0)).to_numpy()
    y = rng.integers(0, 2, n).astype(float)
    wrong = [rng.random(n) < 0.15 + (harm * bad if it else 0) for it in (0, 1)]
    champion, challenger = (np.where(it, 1 - y, y) for it in wrong)
    return Rows(y, challenger, champion), table


def columns(table: pl.DataFrame):
    return lambda name, chosen: coded(table[name][chosen], most=12)


def test_a_harmed_named_slice_fails_and_says_which():
    rows, table = world(6_000, 0, harm=0.5)
    found = named(
        ACCURACY, rows, [coded(table[it]) for it in ("a", "b")], margin=0.05, min_rows=100, seed=0
    )
    said = verdict(found, margin=0.05, min_rows=100)
    assert said.outcome is Outcome.FAIL
    assert "a = x" in said.detail
    assert {text(it) for it in found if it.outcome == "fail"} >= {"a = x"}
    assert sum(it.n for it in found if it.conditions[0].column == "a") == 6_000


@pytest.mark.parametrize("metric", ["rmse", "f1"])
def test_one_harmed_slice_among_sixty_is_seen_by_any_kind_of_interval(metric):
    rng, info = np.random.default_rng(0), METRICS.get(metric) or scorer(metric, "binary")
    y = rng.integers(0, 2, 6_000).astype(float)
    column = Coded("c", [f"v{it}" for it in range(60)], rng.integers(0, 60, 6_000))
    wrong = rng.random(6_000) < np.where(column.codes == 7, 0.6, 0.05)
    challenger, champion = np.where(wrong, 1 - y, y), np.where(rng.random(6_000) < 0.05, 1 - y, y)
    found = named(info, Rows(y, challenger, champion), [column], margin=0.05, min_rows=50, seed=0)
    assert [text(it) for it in found if it.outcome == "fail"] == ["c = v7"]


def test_equally_good_models_do_no_harm_and_too_few_rows_are_inconclusive():
    rows, table = world(6_000, 1, harm=0.0)
    found = named(ACCURACY, rows, [coded(table["a"])], margin=0.05, min_rows=100, seed=0)
    assert verdict(found, margin=0.05, min_rows=100).outcome is Outcome.PASS
    none = named(ACCURACY, rows, [coded(table["a"])], margin=0.05, min_rows=5_000, seed=0)
    assert verdict(none, margin=0.05, min_rows=5_000).outcome is Outcome.INCONCLUSIVE


def test_slices_without_a_champion_are_measured_and_not_tested():
    rows, table = world(2_000, 1, harm=0.3)
    alone = Rows(rows.y, rows.challenger)
    found = named(ACCURACY, alone, [coded(table["a"])], margin=0.05, min_rows=100, seed=0)
    assert [it.p for it in found] == [None] * 3
    assert found[0].challenger == min(it.challenger for it in found)
    (first, *_), _ = worst(ACCURACY, alone, columns(table), ["a", "b", "c"], min_rows=100, seed=0)
    assert {it.column for it in first.conditions} == {"a", "b"}


def test_the_worst_slice_of_two_columns_is_found_and_confirmed_on_other_rows():
    rows, table = world(8_000, 2, harm=0.4)
    found, looked = worst(ACCURACY, rows, columns(table), ["a", "b", "c"], min_rows=100, seed=0)
    assert looked > 20
    first = found[0]
    assert {it.column for it in first.conditions} == {"a", "b"}
    assert first.p < 0.001
    assert first.gain.value == pytest.approx(-0.4, abs=0.12)
    assert first.outcome == "shown"


def test_the_measure_of_a_found_slice_is_not_biased_by_the_choice():
    """Nothing is there to be found: it looks bad where it was searched, and nowhere else."""
    search, confirmed = [], []
    for seed in range(60):
        rows, table = world(1_500, 100 + seed, harm=0.0)
        found, _ = worst(ACCURACY, rows, columns(table), ["a", "b", "c"], min_rows=60, seed=seed)
        search += [it.search - 0.85 for it in found]
        confirmed += [it.challenger - 0.85 for it in found]
    assert np.mean(search) < -0.015
    assert abs(np.mean(confirmed)) < 3 * np.std(confirmed) / np.sqrt(len(confirmed))


@pytest.mark.parametrize("metric", ["accuracy", "brier", "rmse", "roc_auc"])
def test_named_slices_alarm_falsely_in_five_percent_of_evaluations_at_most(metric):
    """The hardest case: the challenger is worse by exactly the margin (here 0) on every slice.

    100 evaluations of 12 slices: at most 5 %, and up to 11 are within chance (p < 0.01).
    """
    info, rng, alarms = METRICS[metric], np.random.default_rng(0), 0
    for seed in range(100):
        y = rng.integers(0, 2, 1_200).astype(float)
        one, two = (np.clip(0.3 + 0.4 * y + rng.normal(0, 0.3, 1_200), 0, 1) for _ in range(2))
        if info.uses == "label":
            one, two = (one > 0.5) * 1.0, (two > 0.5) * 1.0
        columns = [Coded(f"c{it}", list("abcd"), rng.integers(0, 4, 1_200)) for it in range(3)]
        found = named(info, Rows(y, two, one), columns, margin=0.0, min_rows=100, seed=seed)
        alarms += verdict(found, margin=0.0, min_rows=100).outcome is Outcome.FAIL
    assert alarms <= 11


def test_a_million_rows_and_fifty_columns_are_bounded_work():
    """Ten times the rows are not ten times the search: it draws as many as it needs."""
    rng, took = np.random.default_rng(0), []
    table = pl.DataFrame({f"c{it}": rng.integers(0, 20, 1_000_000) * 1.5 for it in range(50)})
    for n in (150_000, 1_000_000):
        y = rng.normal(size=n)
        rows, begun = Rows(y, y + rng.normal(size=n), y + rng.normal(size=n)), time.perf_counter()
        part = table.head(n)
        worst(RMSE, rows, columns(part), part.columns, min_rows=1_000, seed=0)
        took.append(time.perf_counter() - begun)
    assert took[1] < 5 * took[0]
