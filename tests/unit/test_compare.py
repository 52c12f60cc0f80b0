"""Comparisons: metrics against scikit-learn's, the three outcomes, and how often they are right.

Tolerances of the simulations, 100 trials a row with fixed seeds: an interval of 95 % lets a true
loss of exactly the margin pass in 2.5 % of trials; a bootstrap on few rows in up to about 5 %, and
100 trials of those show more than 10 passes in 1 % of such tests.
"""

from __future__ import annotations

import numpy as np
import pytest
import simulations
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn import metrics as sklearn

from andon.compare import not_worse, quality, within_limit
from andon.metrics import METRICS, default_metric
from andon.paired import Tango
from andon.verdict import Outcome

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
RNG = np.random.default_rng(0)
Y = RNG.integers(0, 2, 400)
P = np.clip(0.25 + 0.5 * Y + RNG.normal(0, 0.25, 400), 0.001, 0.999)
VALUES = RNG.normal(size=400)
SAID = VALUES + RNG.normal(0, 0.5, 400)

OF_CLASSES = {
    "roc_auc": sklearn.roc_auc_score,
    "log_loss": sklearn.log_loss,
    "brier": sklearn.brier_score_loss,
}
OF_VALUES = {
    "rmse": sklearn.root_mean_squared_error,
    "mae": sklearn.mean_absolute_error,
    "r2": sklearn.r2_score,
}

labelled = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9])), min_size=2
)
numbers = st.floats(-1e6, 1e6)


@pytest.mark.parametrize("metric", OF_CLASSES)
@given(rows=labelled)
def test_metrics_of_probabilities_are_scikit_learns_with_ties(metric, rows):
    y, p = (np.array(column) for column in zip(*rows, strict=True))
    assume(len(set(y)) == 2)
    expected = OF_CLASSES[metric](y, p)
    assert METRICS[metric].of(y.astype(float), p) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", OF_VALUES)
@given(rows=st.lists(st.tuples(numbers, numbers), min_size=2))
def test_metrics_of_values_are_scikit_learns(metric, rows):
    y, said = (np.array(column) for column in zip(*rows, strict=True))
    assume(np.ptp(y) > 1e-3)
    expected = OF_VALUES[metric](y, said)
    assert METRICS[metric].of(y, said) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_accuracy_is_scikit_learns_for_labels_of_any_kind():
    for y in (np.array(["a", "b", "c", "a"]), np.array([1, 2, 3, 1])):
        said = y[[0, 0, 2, 3]]
        assert METRICS["accuracy"].of(y, said) == sklearn.accuracy_score(y, said) == 0.75


def test_a_certain_and_wrong_probability_is_bad_but_finite():
    found = METRICS["log_loss"].of(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    assert 30 < found < 40


def test_each_task_has_a_default_metric_that_is_for_it():
    for task in ("binary", "multiclass", "regression"):
        assert task in METRICS[default_metric(task)].tasks


@pytest.mark.parametrize(
    ("metric", "value", "outcome"),
    [
        ("roc_auc", 0.8, PASS), ("roc_auc", 0.7999, FAIL), ("rmse", 0.8, PASS),
        ("rmse", 0.8001, FAIL), ("roc_auc", float("nan"), INCONCLUSIVE),
        ("rmse", float("inf"), INCONCLUSIVE),
    ],
)  # fmt: skip
def test_the_limit_is_the_worst_that_is_accepted(metric, value, outcome):
    assert within_limit(metric, value, 0.8, 100, "absolute limit").outcome is outcome


def compare(metric, y, champion, challenger, margin=0.02):
    return not_worse(metric, y, champion, challenger, margin=margin, seed=0)


def outputs(metric: str) -> tuple[np.ndarray, np.ndarray]:
    if metric in OF_VALUES:
        return VALUES, SAID
    return (Y, P > 0.5) if metric == "accuracy" else (Y, P)


@pytest.mark.parametrize("metric", METRICS)
def test_an_identical_model_is_not_worse(metric):
    y, said = outputs(metric)
    verdict = compare(metric, y, said, said.copy())
    assert verdict.outcome is PASS
    assert verdict.value == 0.0


@pytest.mark.parametrize("metric", METRICS)
def test_a_model_that_knows_nothing_is_worse_and_the_other_way_round_it_is_better(metric):
    y, said = outputs(metric)
    nothing = RNG.permutation(said)
    worse, better = compare(metric, y, said, nothing), compare(metric, y, nothing, said)
    assert (worse.outcome, better.outcome) == (FAIL, PASS)
    assert worse.value < 0 < better.value
    assert worse.evidence["low"] < worse.value < worse.evidence["high"] < -0.02


def test_what_cannot_be_told_on_so_many_rows_is_inconclusive():
    y, champion, challenger = Y[:60], P[:60], np.clip(P[:60] + RNG.normal(0, 0.3, 60), 0, 1)
    verdict = compare("roc_auc", y, champion, challenger)
    assert verdict.outcome is INCONCLUSIVE
    assert verdict.evidence["low"] < -0.02 < verdict.evidence["high"]


@pytest.mark.parametrize("n", [0, 1, 29])
def test_too_few_rows_are_inconclusive_whatever_they_say(n):
    verdict = compare("roc_auc", Y[:n], P[:n], 1 - P[:n])
    assert verdict.outcome is INCONCLUSIVE
    assert f"{n} held-out rows" in verdict.detail


@pytest.mark.parametrize(
    ("metric", "y"), [("roc_auc", np.zeros(200)), ("roc_auc", np.ones(200)), ("r2", np.ones(200))]
)
def test_a_metric_that_is_undefined_is_inconclusive(metric, y):
    verdict = compare(metric, y, P[:200], 1 - P[:200])
    assert verdict.outcome is INCONCLUSIVE
    assert "undefined" in verdict.detail


def test_predictions_that_are_no_numbers_never_pass():
    broken = P.copy()
    broken[7] = np.nan
    for metric in ("roc_auc", "log_loss", "brier"):
        assert compare(metric, Y, P, broken).outcome is INCONCLUSIVE


def test_a_comparison_can_be_repeated():
    challenger = np.clip(P + RNG.normal(0, 0.1, 400), 0, 1)
    first = not_worse("brier", Y, P, challenger, margin=0.01, seed=3)
    assert not_worse("brier", Y, P, challenger, margin=0.01, seed=3) == first
    assert not_worse("brier", Y, P, challenger, margin=0.01, seed=4) != first


def test_the_limit_tells_its_interval_and_is_decided_by_the_value():
    near = within_limit("roc_auc", 0.81, 0.8, 100, "absolute limit", (0.72, 0.88))
    assert near.outcome is PASS
    assert "(95 % 0.7200 to 0.8800); so many rows do not tell it from the limit" in near.detail
    far = within_limit("roc_auc", 0.81, 0.8, 10_000, "absolute limit", (0.805, 0.815))
    assert "do not tell" not in far.detail
    assert far.evidence == {"low": 0.805, "high": 0.815}


def test_what_is_better_beyond_doubt_is_told_and_what_is_undecided_says_what_would_settle_it():
    better = compare("roc_auc", Y, RNG.permutation(P), P)
    assert better.evidence["better"]
    assert better.detail.endswith("better beyond doubt")
    assert better.evidence["equal_p"] < 0.001
    noise = np.random.default_rng(1).normal(0, 0.15, 60)
    unclear = compare("roc_auc", Y[:60], P[:60], P[:60] + 1.5 * noise)
    assert unclear.outcome is INCONCLUSIVE
    assert not unclear.evidence["better"]
    assert unclear.evidence["more_rows"] > 0
    assert "more held-out rows would settle it" in unclear.detail


def test_the_paired_interval_as_published():
    # Airway reactivity, 21 pairs (1, 1, 7, 12): Fagerland, Lydersen & Laake 2014, Tango's interval
    low, high = Tango(21, won=1, lost=7).interval()
    assert (low, high) == (pytest.approx(-0.517, abs=5e-4), pytest.approx(-0.026, abs=5e-4))


@pytest.mark.parametrize("n", [30, 100, 1_000])
def test_models_that_never_differ_may_still_differ_by_a_little(n):
    z2 = 1.959964**2
    low, high = Tango(n, 0, 0).interval()
    assert (low, high) == (pytest.approx(-z2 / (n + z2)), pytest.approx(z2 / (n + z2)))


@given(st.integers(30, 300), st.integers(0, 30), st.integers(0, 30))
def test_the_paired_interval_is_where_the_score_test_says_so(n, won, lost):
    """The nuisance share, by maximising its likelihood instead of the closed form."""
    assume(won + lost < n)
    for edge in Tango(n, won, lost).interval():
        assert -1 <= edge <= 1

        def minus_likelihood(share: float, edge: float = edge) -> float:
            cells = (share + edge, share, 1 - 2 * share - edge)
            seen = (won, lost, n - won - lost)
            return -sum(k * np.log(max(p, 1e-12)) for k, p in zip(seen, cells, strict=True) if k)

        bounds = (max(0.0, -edge), (1 - edge) / 2)
        share = minimize_scalar(
            minus_likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-10}
        ).x
        spread = np.sqrt(n * (2 * share + edge * (1 - edge)))
        assert abs(won - lost - n * edge) / spread == pytest.approx(1.96, abs=2e-3)


@pytest.mark.parametrize(("metric", "n"), [("accuracy", 50), ("roc_auc", 60), ("rmse", 60)])
def test_a_model_worse_by_the_margin_hardly_ever_passes_on_few_rows(metric, n):
    assert simulations.compared(metric, 100, n, loss=0.05, margin=0.05)["pass"] <= 10
    assert simulations.compared(metric, 30, n, loss=0.2, margin=0.05)["pass"] == 0


def test_accuracy_on_few_rows_is_not_told_from_the_absence_of_differences():
    """A loss of 1 % shows in none of 100 rows as often as not: that is no proof that there is none.

    Of 200 trials at most 5 % pass: 10, and 3 more for chance.
    """
    found = simulations.compared("accuracy", 200, 100, loss=0.01, margin=0.01)
    assert found["pass"] <= 13


def test_with_enough_rows_the_truth_comes_out():
    for metric in ("accuracy", "rmse"):
        good = simulations.compared(metric, 20, 5_000, loss=0.0, margin=0.05)
        bad = simulations.compared(metric, 20, 5_000, loss=0.15, margin=0.05)
        assert (good["pass"], bad["fail"]) == (20, 20)


def watch(metric, y, output, expected, **changes):
    settings = {"expected": expected, "margin": 0.05, "min_labels": 200}
    return quality(metric, y, output, **{**settings, **changes})


@pytest.mark.parametrize("metric", METRICS)
def test_quality_as_at_training_passes_and_a_clear_loss_fails(metric):
    y, said = (np.tile(it, 20) for it in outputs(metric))
    value = METRICS[metric].of(y, said)
    sign = 1 if METRICS[metric].greater_is_better else -1
    assert watch(metric, y, said, value).outcome is PASS
    lost = watch(metric, y, said, value + sign * 0.2)
    assert lost.outcome is FAIL
    assert lost.value == pytest.approx(0.2)
    assert watch(metric, y, said, value + sign * 0.05).outcome is INCONCLUSIVE
    assert watch(metric, y, said, value - sign * 0.2).outcome is PASS, "better than at training"


def test_quality_needs_labels():
    found = watch("roc_auc", Y[:199], P[:199], 0.2)
    assert found.outcome is INCONCLUSIVE
    assert found.detail == "199 labels came back, wanted at least 200"
    assert watch("roc_auc", Y[:0], P[:0], 0.9, min_labels=0).outcome is INCONCLUSIVE


def test_quality_of_one_class_is_undefined_and_says_so():
    found = watch("roc_auc", np.ones(300), P[:300], 0.9)
    assert found.outcome is INCONCLUSIVE
    assert "undefined on these 300 labels" in found.detail


def test_quality_with_a_single_positive_label_is_no_evidence():
    y = np.zeros(300)
    y[5] = 1
    assert watch("roc_auc", y, np.linspace(0, 1, 300), 0.9).outcome is INCONCLUSIVE
    y[6:12] = 1
    assert watch("roc_auc", y, np.linspace(0, 1, 300), 0.9).outcome is FAIL


def test_no_loss_is_hardly_ever_called_one():
    """At a true loss of exactly the margin about 2.5 % fail; without any, none of 100 may."""
    for metric in ("accuracy", "rmse"):
        assert simulations.watched(metric, 100, 200, loss=0.05, margin=0.05)["fail"] <= 10
        assert simulations.watched(metric, 100, 200, loss=0.0, margin=0.05)["fail"] == 0
