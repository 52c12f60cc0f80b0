"""Thresholds by cost: the cheapest one, what it saves, and that labels follow it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from andon.errors import DataError
from andon.spec import Costs
from andon.thresholds import cheapest, cost_metric, curve, judged, threshold_of, with_threshold

rows = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.8, 1.0])), min_size=1
)
prices = st.floats(0.1, 10)


def cost(y, score, threshold, costs) -> float:
    return cost_metric(costs).of(y, (score >= threshold).astype(float))


@given(rows, prices, prices)
def test_no_threshold_is_cheaper_than_the_chosen_one(rows, positive, negative):
    y, score = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    costs = Costs(false_positive=positive, false_negative=negative)
    chosen = cheapest(y, score, costs)
    assert 0 <= chosen <= 1
    least = min(cost(y, score, it, costs) for it in (0.0, 0.05, 0.2, 0.4, 0.6, 0.9))
    assert cost(y, score, chosen, costs) <= least + 1e-9


def world(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    return x, rng.random(n) < 1 / (1 + np.exp(-2 * x[:, 0]))


@pytest.mark.parametrize(("negative", "expected"), [(1.0, 0.5), (9.0, 0.1), (1 / 9, 0.9)])
def test_calibrated_scores_have_the_threshold_that_theory_gives(negative, expected):
    """Elkan 2001: a yes from false_positive / (false_positive + false_negative) on."""
    p = np.random.default_rng(0).random(200_000)
    y = (np.random.default_rng(1).random(200_000) < p).astype(float)
    found = cheapest(y, p, Costs(false_negative=negative))
    assert found == pytest.approx(expected, abs=0.03)


def test_the_curve_is_scikit_learns():
    rng = np.random.default_rng(0)
    y, score = np.arange(150) % 2.0, rng.random(150)
    points = {it.threshold: it for it in curve(y, score, Costs())}
    for false, true, threshold in zip(*roc_curve(y, score), strict=True):
        if threshold in points:
            found = points[threshold]
            assert (found.false_positive_rate, found.recall) == pytest.approx((false, true))
    assert [it.recall for it in points.values()] == sorted(it.recall for it in points.values())
    assert len(curve(y.repeat(10), rng.random(1_500), Costs())) == 200
    assert curve(np.ones(50), rng.random(50), Costs()) == []


@pytest.mark.parametrize("positive", ["yes", "no"])
def test_the_labels_follow_the_threshold_and_the_scores_stay(positive):
    x, truth = world(600)
    y = np.where(truth, "yes", "no")
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y)
    costs = Costs(false_negative=8.0)
    fixed = with_threshold(model, x, y, costs, positive, seed=0)
    place = list(fixed.classes_).index(positive)
    scores = fixed.predict_proba(x)[:, place]
    assert scores == pytest.approx(model.predict_proba(x)[:, place])
    threshold = threshold_of(fixed)
    assert threshold < 0.3
    assert ((fixed.predict(x) == positive) == (scores >= threshold)).all()
    assert threshold_of(model) is None


def test_the_threshold_saves_on_rows_that_it_never_saw():
    x, truth = world(3_000)
    y, learn, held = np.where(truth, "yes", "no"), slice(0, 1_500), slice(1_500, None)
    model = LogisticRegression().fit(x[learn], y[learn])
    costs = Costs(false_negative=8.0)
    fixed = with_threshold(model, x[learn], y[learn], costs, "yes", seed=0)
    said = [np.asarray(it.predict(x[held]) == "yes", dtype=float) for it in (fixed, model)]
    found = judged(
        truth[held].astype(float), fixed.predict_proba(x[held])[:, 1], said[0], costs,
        chosen=threshold_of(fixed), champion=said[1], seed=0,
    )  # fmt: skip
    assert found.saved.low > 0
    assert found.saved == found.saved_champion
    assert found.cost.value == pytest.approx(found.at_half.value - found.saved.value)
    assert found.cost.low < found.cost.value < found.cost.high


def test_a_class_without_enough_rows_for_folds_is_told():
    x, _ = world(50)
    y = np.array(["no"] * 49 + ["yes"])
    model = LogisticRegression().fit(x, y)
    with pytest.raises(DataError, match="a class has 1 rows to learn from, wanted at least 2"):
        with_threshold(model, x, y, Costs(), "yes", seed=0)
