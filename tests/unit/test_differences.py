"""What differs between two snapshots."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from andon import differences, profile
from andon.differences import ColumnChange, Shift
from andon.verdict import Outcome
from serving.bundle import Column

RNG = np.random.default_rng(7)
N = 4_000
BEFORE = pl.DataFrame(
    {
        "amount": RNG.normal(50, 10, N),
        "city": RNG.choice(["rome", "oslo", "lima"], N),
        "visits": RNG.poisson(3.0, N),
    }
)
COLUMNS = [Column("amount", "number"), Column("city", "category"), Column("visits", "integer")]


def shifts(after: pl.DataFrame, masked: tuple[str, ...] = ()) -> dict[str, Shift]:
    pairs = []
    for column in COLUMNS:
        made = profile.feature_of(column, BEFORE[column.name])
        pairs.append((made, profile.recounted(made, after[column.name])))
    found = differences.shifts(pairs, alpha=0.01, effect=0.1, min_rows=100, masked=masked)
    effects = [it.verdict.value or 0.0 for it in found]
    assert effects == sorted(effects, reverse=True)
    return {it.column: it for it in found}


def test_columns_that_came_went_or_changed_their_kind() -> None:
    before = {"a": "integer", "b": "number", "c": "category"}
    after = {"b": "number", "c": "date", "d": "boolean"}
    found = differences.column_changes(before, after)
    assert found == [
        ColumnChange("a", "integer", None),
        ColumnChange("c", "category", "date"),
        ColumnChange("d", None, "boolean"),
    ]
    assert list(map(str, found)) == [
        "a is gone (was integer)",
        "c is date (was category)",
        "d is new (boolean)",
    ]
    assert differences.column_changes(before, before) == []


def test_the_same_rows_in_another_order_have_not_moved() -> None:
    found = shifts(BEFORE.sample(fraction=1.0, shuffle=True, seed=1))
    assert {it.verdict.value for it in found.values()} == {0.0}
    assert {it.largest for it in found.values()} == {""}
    assert differences.changed(list(found.values())) == []


def test_a_shift_is_told_with_its_effect_its_evidence_and_its_largest_part() -> None:
    after = BEFORE.with_columns(
        pl.col("amount") + 10,
        pl.when(pl.int_range(N) < N // 2).then(None).otherwise(pl.col("city")).alias("city"),
    )
    found = shifts(after)
    assert {it.column for it in differences.changed(list(found.values()))} == {"amount", "city"}
    amount, city = found["amount"], found["city"]
    assert amount.mean[1] == pytest.approx((amount.mean[0] or 0) + 10)
    assert city.nulls == (0.0, 0.5)
    assert city.largest == "(null): 0.0% → 50.0%"
    assert city.verdict.value == pytest.approx(0.5)
    assert found["visits"].verdict.outcome is Outcome.PASS


def test_few_rows_tell_nothing() -> None:
    found = shifts(BEFORE.head(99))
    assert {it.verdict.outcome for it in found.values()} == {Outcome.INCONCLUSIVE}


def test_nothing_of_a_masked_column_s_values_is_told() -> None:
    after = BEFORE.with_columns(pl.lit("secret").alias("city"), pl.col("amount") * 3)
    found = shifts(after, masked=("city", "amount"))
    for name in ("city", "amount"):
        assert found[name].largest == differences.HIDDEN
        assert found[name].mean == (None, None)
        assert found[name].verdict.outcome is Outcome.FAIL
    assert "rome" not in repr(found)
    assert found["visits"].mean[0] is not None


def test_small_samples_of_one_source_seldom_differ() -> None:
    """200 draws of 300 rows: with alpha 0.01 on 3 columns, at most 5 % may be called changed."""
    alarms = 0
    for seed in range(200):
        drawn = BEFORE.sample(300, seed=seed, with_replacement=True)
        alarms += bool(differences.changed(list(shifts(drawn).values())))
    assert alarms <= 10
