"""Permutation importance: what matters is found, and chance is told from it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.importance import deal, donors, importance, moved, narrow, told
from andon.metrics import METRICS
from andon.verdict import Outcome

SHARES = st.dictionaries(st.sampled_from("abcdef"), st.floats(-1, 10), min_size=1)


@given(st.integers(0, 400), st.integers(1, 4), st.integers(0, 2**32))
def test_values_move_within_their_group_and_no_row_keeps_its_own(n, repeats, seed):
    group = deal(n, seed)
    sizes = np.bincount(group) if n else np.zeros(1)
    assert sizes.max() - sizes.min() <= 1
    for given_by in donors(group, repeats, seed):
        assert sorted(given_by) == list(range(n)), "each value is given once"
        assert (group[given_by] == group).all()
        if n >= 2:
            assert not (given_by == np.arange(n)).any()


def test_the_same_seed_gives_the_same():
    assert (deal(99, 7) == deal(99, 7)).all()
    assert (donors(deal(99, 7), 3, 7) == donors(deal(99, 7), 3, 7)).all()
    assert not (donors(deal(99, 7), 3, 7) == donors(deal(99, 7), 3, 8)).all()


def measured(metric, y, model, columns, *, seed=0, repeats=5):
    group = deal(len(y), seed)
    given_by = donors(group, repeats, seed)
    found = []
    for at in range(columns.shape[1]):
        without = []
        for order in given_by:
            changed = columns.copy()
            changed[:, at] = changed[order, at]
            without.append(model(changed))
        found.append(importance(metric, y, model(columns), without, group))
    return found


def test_known_importances_are_recovered():
    """Of a line with the right weights, moving a column of variance 1 adds 2 w² to the MSE."""
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(4_000, 3)), np.array([2.0, 1.0, 0.0])
    y = x @ weights + rng.normal(size=len(x))
    found = measured("rmse", y, lambda it: it @ weights, x)
    for importance_, weight in zip(found[:2], weights[:2], strict=True):
        wanted = np.sqrt(1 + 2 * weight**2) - 1
        assert importance_.low < wanted < importance_.high
        assert importance_.value == pytest.approx(wanted, rel=0.05)
    nothing = (found[2].value, found[2].low, found[2].high)
    assert nothing == pytest.approx((0, 0, 0), abs=1e-9), "the line does not look at it"


@pytest.mark.parametrize(
    "metric", ["rmse", "mae", "r2", "roc_auc", "log_loss", "brier", "accuracy"]
)
def test_it_is_positive_where_a_column_matters_whichever_way_the_metric_points(metric):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(600, 1))
    y = (x[:, 0] + rng.normal(size=600) > 0).astype(float)

    def model(it):
        p = 1 / (1 + np.exp(-2 * it[:, 0]))
        return p.round() if METRICS[metric].uses == "label" else p

    (found,) = measured(metric, y, model, x)
    assert found.matters
    assert found.low < found.value < found.high


@pytest.mark.parametrize(("metric", "n"), [("rmse", 60), ("roc_auc", 200), ("accuracy", 500)])
def test_noise_that_a_model_looks_at_is_told_from_what_matters(metric, n):
    """The model uses columns that only hurt or do nothing; over data sets, 0 is in most intervals.

    A model fitted to noise has a true importance just below 0, so that `matters` is what must be
    rare: 2.5 % are expected above, 200 trials leave ±2.2 points.
    """
    above, covered, trials = 0, 0, 200
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(n, 2))
        y = (x[:, 0] + rng.normal(size=n) > 0).astype(float)

        def model(it):
            score = 1 / (1 + np.exp(-(2 * it[:, 0] + 0.1 * it[:, 1])))
            return score.round() if metric == "accuracy" else score

        signal, noise = measured(metric, y, model, x, seed=seed)
        assert signal.value > noise.value
        above += noise.low > 0
        covered += noise.low <= 0 <= noise.high
    assert covered / trials >= 0.9
    assert above / trials <= 0.05


def test_the_interval_covers_what_more_rows_would_say():
    """Of an importance that is not 0, too: 95 % wanted, 200 trials, three standard errors."""
    weights, inside, trials = np.array([1.0, 0.5]), 0, 200
    wanted = np.sqrt(1 + 2 * 0.5**2) - 1
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(300, 2))
        y = x @ weights + rng.normal(size=300)
        found = measured("rmse", y, lambda it: it @ weights, x, seed=seed, repeats=2)[1]
        inside += found.low <= wanted <= found.high
    assert inside / trials >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / trials)


@pytest.mark.parametrize("n", [0, 1, 2, 9])
def test_of_few_rows_there_is_no_interval(n):
    y = np.arange(n, dtype=float)
    found = importance("mae", y, y, [y[::-1]], deal(n, 0)) if n else None
    assert found is None or (found.low, found.high, found.matters) == (None, None, False)


def test_a_metric_that_is_undefined_has_no_interval():
    y = np.zeros(100)
    found = importance("roc_auc", y, np.arange(100.0), [np.arange(100.0)], deal(100, 0))
    assert np.isnan(found.value)
    assert found.low is None


@given(st.integers(1, 3_000), st.sets(st.integers(0, 2_999), max_size=8), st.integers(8, 50))
def test_the_columns_that_matter_are_found_among_many(columns, chosen, most):
    matter, asked = {it for it in chosen if it < columns}, []

    def loss(block):
        asked.append(len(block))
        return float(len(matter & set(block)))

    single, blocks = narrow(columns, loss, most)
    assert sorted([*single, *(it for block in blocks for it in block)]) == list(range(columns))
    assert len(single) <= most
    assert len(asked) <= 32 + 8 * most
    if most * 4 > 12 * (len(matter) + 1):
        assert matter <= set(single)


@given(SHARES, SHARES)
def test_what_moved_is_a_share(before, now):
    share = moved(before, now)
    assert share is None or -1e-9 <= share <= 1 + 1e-9
    assert moved(before, before) in (None, pytest.approx(0))
    again = moved(now, before)
    assert share == again or share == pytest.approx(again)


def test_importance_that_moved_is_told_and_stops_nothing():
    same = told({"a": 2, "b": 2}, {"a": 1, "b": 1}, 0.3, 100, "v1")
    assert (same.outcome, same.value) == (Outcome.PASS, 0)
    assert "warning" not in same.detail
    other = told({"a": 1, "b": -1}, {"b": 1, "c": 0}, 0.3, 100, "v1")
    assert (other.outcome, other.value) == (Outcome.PASS, 1)
    assert other.detail.startswith("warning, stops nothing: 100% of the importance")
    none = told({"a": 0}, {"a": 1}, 0.3, 100, "v1")
    assert none.value is None
    assert "not comparable" in none.detail
