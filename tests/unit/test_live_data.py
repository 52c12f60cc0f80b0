"""Data checks of live inputs: what is worse, and what only a small reference has not seen."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import fisher_exact

from andon import profile
from andon.live_data import live_data, more_p, repeated
from andon.profile import Feature
from andon.summary import Summary, Tally
from andon.verdict import Outcome
from serving.bundle import Column

NUMBER = Feature("fee", "number", [0.0, 1.0, 2.0], counts=[0, 500, 480, 0, 20])
CITY = Feature("city", "category", top=["a", "b"], counts=[600, 400, 0, 0, 0])


def look(features, *windows: dict[str, list[int]], unread=None, **changes):
    made = [
        Summary(1_000, 0, 0, {k: Tally(np.array(v)) for k, v in it.items()}, None, unread or {})
        for it in windows
    ]
    settings = {"alpha": 0.01, "rise": 0.02, "min_rows": 100}
    return {it.check: it for it in live_data(features, made, **{**settings, **changes})}


@pytest.mark.parametrize(
    ("counts", "outcome", "what"),
    [
        ([0, 500, 480, 0, 20], Outcome.PASS, "null"),
        ([0, 480, 470, 0, 50], Outcome.FAIL, "5.0 % null, 2.0 % in the reference"),
        ([0, 500, 500, 0, 0], Outcome.PASS, ""),
        ([15, 500, 450, 15, 20], Outcome.FAIL, "3.0 % out of range"),
        ([0, 500, 470, 10, 20], Outcome.PASS, "1.0 % out of range"),
    ],
)
def test_numbers(counts, outcome, what):
    found = look([NUMBER], {"fee": counts})["data: fee"]
    assert found.outcome is outcome
    assert what in found.detail
    assert set(found.evidence["kinds"]) == {"null", "out of range"}


def test_categories():
    found = look([CITY], {"city": [600, 370, 0, 30, 0]})["data: city"]
    assert found.outcome is Outcome.FAIL
    assert found.detail.startswith("3.0 % never seen, 0.0 % in the reference")
    assert look([CITY], {"city": [900, 100, 0, 0, 0]})["data: city"].outcome is Outcome.PASS


def test_categories_that_any_sample_has_once_are_usual():
    """A long tail: 30 % of other rows have a category that the reference does not know."""
    rng = np.random.default_rng(3)

    def draw(n: int) -> pl.Series:
        return pl.Series("x", [f"c{it}" for it in rng.zipf(1.3, n)])

    made = profile.feature_of(Column("city", "category"), draw(2_000))
    for _ in range(30):
        counted = profile.window_counts(made, draw(1_000)).tolist()
        assert counted[-2] > 50
        assert look([made], {"city": counted})["data: city"].outcome is Outcome.PASS


def test_a_column_that_cannot_be_read_is_a_finding():
    found = look([NUMBER, CITY], {"city": [600, 400, 0, 0, 0]}, unread={"fee": "found string"})
    assert found["data: fee"].outcome is Outcome.FAIL
    assert found["data: fee"].detail == "cannot be read: found string"
    assert found["data: city"].outcome is Outcome.PASS


def test_few_rows_and_none_are_inconclusive():
    few, none = look([CITY], {"city": [50, 40, 0, 9, 0]}), look([CITY])
    assert few["data: city"].outcome is none["data: city"].outcome is Outcome.INCONCLUSIVE
    assert few["data: city"].detail == "99 rows, wanted at least 100"


def test_it_has_to_last():
    bad, good = {"city": [600, 300, 0, 100, 0]}, {"city": [600, 400, 0, 0, 0]}
    assert look([CITY], bad, good, need=2)["data: city"].outcome is Outcome.INCONCLUSIVE
    assert look([CITY], bad, bad, good, need=2)["data: city"].outcome is Outcome.FAIL


def test_more_p_is_fishers():
    table = [[9, 191], [10, 890]]
    expected = fisher_exact(table, alternative="greater").pvalue
    assert more_p(10, 900, 9, 200) == pytest.approx(expected)


def test_rows_that_are_there_twice_are_told():
    found = repeated(30, 2_000, limit=0.01, min_rows=500)
    assert found.outcome is Outcome.FAIL
    assert found.detail == "30 of 2,000 rows have an id that another one has"
    assert repeated(20, 2_000, limit=0.01, min_rows=500).outcome is Outcome.PASS
    assert repeated(30, 300, limit=0.01, min_rows=500).outcome is Outcome.INCONCLUSIVE
