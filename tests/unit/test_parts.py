"""Slices of the spec in monitoring: the scores of a part can drift while those of all do not."""

from __future__ import annotations

import numpy as np
import polars as pl

from andon import profile
from andon.monitoring import verdicts
from andon.profile import Feature, Profile
from andon.spec import DriftMonitor, Persistence
from andon.summary import Summary, Tally
from andon.verdict import Outcome, Verdict
from serving.bundle import Column

MONITOR = DriftMonitor(persistence=Persistence(of=1, need=1), min_rows=200)
REGIONS = ["north", "south"]


def rows(n: int, seed: int, moved: float = 0.0) -> tuple[pl.DataFrame, np.ndarray]:
    """Scores in the north go up by `moved`, and as far down in the south."""
    rng = np.random.default_rng(seed)
    region = rng.choice(REGIONS, n)
    score = rng.normal(0.5, 0.1, n) + np.where(region == "north", moved, -moved)
    return pl.DataFrame({"region": region, "big": score > 0.6, "fee": score}), score


def reference(names: list[str], min_rows: int = 100) -> Profile:
    table, score = rows(5_000, 1)
    made = profile.build(table, [Column("region", "category")], score)
    parts = profile.parts_of(table, score, names, made.score, min_rows)
    return Profile(made.rows, made.features, made.score, parts)


def window(of: Profile, table: pl.DataFrame, score: np.ndarray) -> Summary:
    def tally(feature: Feature, values: pl.Series) -> Tally:
        return Tally(profile.window_counts(feature, values))

    parts = {
        it.name: tally(it.score, pl.Series(score[(table["region"] == it.value).to_numpy()]))
        for it in of.parts
    }
    features = {"region": tally(of.features[0], table["region"])}
    return Summary(len(score), 0, 1, features, tally(of.score, pl.Series(score)), {}, parts)


def found(of: Profile, n: int, moved: float) -> dict[str, Verdict]:
    return {it.check: it for it in verdicts(MONITOR, of, [window(of, *rows(n, 2, moved))])}


def test_columns_of_few_values_have_parts_and_numbers_have_none():
    of = reference(["region", "big", "fee", "nothing"])
    assert [it.name for it in of.parts][:2] in (
        ["region=north", "region=south"], ["region=south", "region=north"],
    )  # fmt: skip
    assert [it.name for it in of.parts][2:] == ["big=false", "big=true"]
    assert sum(it.score.n for it in of.parts[:2]) == 5_000
    assert reference(["region"], min_rows=4_000).parts == []
    assert profile.from_json(profile.to_json(of)) == of


def test_a_slice_that_moves_is_found_and_one_that_stays_is_not():
    of = reference(["region"])
    moved = found(of, 2_000, 0.05)
    for region in REGIONS:
        assert moved[f"prediction drift in region={region}"].outcome is Outcome.FAIL
    same = found(of, 2_000, 0.0)
    assert {it.outcome for it in same.values()} == {Outcome.PASS}


def test_a_slice_with_few_rows_is_silent():
    assert found(reference(["region"]), 300, 0.05).keys() == {"drift: region", "prediction drift"}


def test_slices_are_within_the_same_error_budget():
    """300 windows without a change: 1 % may alarm, and 10 leave room for chance."""
    of = reference(["region"])
    alarms = 0
    for seed in range(10, 310):
        given = verdicts(MONITOR, of, [window(of, *rows(1_000, seed))])
        alarms += any(it.outcome is Outcome.FAIL for it in given)
    assert alarms <= 10
