"""Training: what a pipeline may do wrong, and whether it learned anything."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import LinearSVC

from andon.errors import DataError, LineError
from andon.metrics import METRICS
from andon.scorers import named
from andon.training import Measure, Outputs, checks, classes_of, fit, outputs, truth
from andon.verdict import Outcome

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 2))
Y = np.where(X[:, 0] + RNG.normal(0, 0.5, 300) > 0, "yes", "no")
VALUES = X @ [1.0, -2.0] + RNG.normal(0, 0.1, 300)


@pytest.mark.parametrize(
    ("y", "task", "positive", "expected"),
    [
        (["b", "a", "b"], "binary", None, (["a", "b"], 1)),
        (["b", "a", "b"], "binary", "a", (["a", "b"], 0)),
        ([1, 0], "binary", 0, ([0, 1], 0)),
        ([True, False], "binary", True, ([False, True], 1)),
        (["c", "a", "b"], "multiclass", None, (["a", "b", "c"], -1)),
        ([1.5, 2.5], "regression", None, ([], -1)),
    ],
)
def test_classes_are_sorted_and_the_positive_one_is_the_last_or_the_named(
    y, task, positive, expected
):
    assert classes_of(np.array(y), task, positive) == expected


@pytest.mark.parametrize(
    ("y", "task", "positive", "says"),
    [
        (["a", "a"], "binary", None, "found 1 classes ['a'], wanted 2"),
        (["a", "b", "c"], "binary", None, "found 3 classes ['a', 'b', 'c'], wanted 2"),
        (["a"], "multiclass", None, "found 1 classes ['a'], wanted at least 2"),
        ([], "binary", None, "found 0 classes"),
        (["no", "yes"], "binary", "ja", "positive: found 'ja', the target has ['no', 'yes']"),
        (["no", "yes"], "binary", True, "positive: found True, the target has ['no', 'yes']"),
    ],
)
def test_classes_that_do_not_fit_the_task_are_named(y, task, positive, says):
    with pytest.raises(DataError) as caught:
        classes_of(np.array(y), task, positive)
    assert says in str(caught.value)


def test_a_target_of_many_classes_is_not_listed_in_full():
    with pytest.raises(DataError) as caught:
        classes_of(np.arange(10_000), "binary", None)
    assert str(caught.value) == "target: found 10000 classes [0, 1, 2, 3, 4], wanted 2"


def test_the_target_as_its_metric_wants_it():
    assert truth(np.array(["a", "b"]), "roc_auc", "b").tolist() == [0.0, 1.0]
    assert truth(np.array(["a", "b"]), "accuracy", "b").tolist() == [0.0, 1.0]
    assert truth(np.array(["a", "b", "c"]), "accuracy", None).tolist() == ["a", "b", "c"]
    ovr = named("roc_auc_ovr", "multiclass")
    assert truth(np.array(["c", "a"]), ovr, None, ["a", "b", "c"]).tolist() == [2, 0]
    with pytest.raises(DataError, match="never learned: d"):
        truth(np.array(["c", "d"]), ovr, None, ["a", "b", "c"])
    assert truth(np.array([1, 2]), "rmse", None).dtype == float


@pytest.mark.parametrize("positive", [0, 1])
def test_the_score_is_the_probability_of_the_positive_class(positive):
    model = fit(LogisticRegression(), X, Y)
    said = outputs(model, X, "binary", positive)
    assert said.scores == pytest.approx(model.predict_proba(X)[:, positive])
    assert said.labels.tolist() == model.predict(X).tolist()


def test_a_multiclass_score_is_the_highest_and_a_regression_s_is_the_value():
    y = np.array(["a", "b", "c"])[np.arange(300) % 3]
    said = outputs(fit(LogisticRegression(), X, y), X, "multiclass", -1)
    assert (said.scores >= 1 / 3).all()
    values = outputs(fit(LinearRegression(), X, VALUES.reshape(-1, 1)), X, "regression", -1)
    assert values.scores.shape == (300,)
    with pytest.raises(LineError, match="no labels"):
        values.of_kind("label")


class Raises(LogisticRegression):
    def fit(self, *_):
        raise KeyError("age")


class ForgetsToReturn(LogisticRegression):
    def fit(self, *arguments):
        super().fit(*arguments)


def test_a_pipeline_that_raises_is_blamed_with_what_it_said():
    with pytest.raises(LineError, match="could not be fitted: KeyError: 'age'"):
        fit(Raises(), X, Y)
    with pytest.raises(LineError, match=r"could not be fitted: ValueError: .*NaN"):
        fit(LogisticRegression(), np.full_like(X, np.nan), Y)


def test_a_pipeline_that_cannot_score_is_blamed_with_what_it_said():
    model = fit(LinearSVC(), X, Y)
    with pytest.raises(LineError, match=r"could not score rows: AttributeError: .*predict_proba"):
        outputs(model, X, "binary", 1)
    with pytest.raises(LineError, match="could not score rows: ValueError"):
        outputs(fit(LinearRegression(), X, VALUES), X[:, :1], "regression", -1)


def test_a_pipeline_whose_fit_returns_nothing_is_still_fitted():
    model = fit(ForgetsToReturn(), X, Y)
    assert len(outputs(model, X, "binary", 1).scores) == 300


@pytest.mark.parametrize("made", [None, 3, "LogisticRegression()", [LogisticRegression()], object])
def test_what_is_no_estimator_is_said_to_be_none(made):
    with pytest.raises(LineError, match=rf"pipeline\(\) returned {type(made).__name__}, expected"):
        fit(made, X, Y)


def of(metric: str) -> Measure:
    classes = ["no", "yes"] if "binary" in METRICS[metric].tasks else []
    return Measure(METRICS[metric], classes, 1 if classes else -1)


def judged(metric: str, y: np.ndarray, said: Outputs) -> dict[str, Outcome]:
    return {it.check: it.outcome for it in checks(of(metric), y, y, said)}


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss", "brier", "accuracy"])
def test_a_classifier_that_learned_passes_and_a_constant_fails(metric):
    learned = outputs(fit(LogisticRegression(), X, Y), X, "binary", 1)
    assert set(judged(metric, Y, learned).values()) == {Outcome.PASS}
    constant = outputs(fit(DummyClassifier(), X, Y), X, "binary", 1)
    assert judged(metric, Y, constant)["better than a constant"] is Outcome.FAIL


@pytest.mark.parametrize("metric", ["rmse", "mae", "r2"])
def test_a_regression_that_learned_passes_and_the_best_constant_fails(metric):
    learned = outputs(fit(LinearRegression(), X, VALUES), X, "regression", -1)
    assert set(judged(metric, VALUES, learned).values()) == {Outcome.PASS}
    # Skewed: there the best constant for mae is the median, and not the mean.
    skewed = np.exp(2 * VALUES)
    for strategy in ("mean", "median"):
        constant = outputs(fit(DummyRegressor(strategy=strategy), X, skewed), X, "regression", -1)
        assert judged(metric, skewed, constant)["better than a constant"] is Outcome.FAIL


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("metric", ["rmse", "mae", "r2"])
def test_predictions_that_are_not_finite_fail(metric, broken):
    scores = VALUES.copy()
    scores[3] = broken
    verdicts = checks(of(metric), VALUES, VALUES, Outputs(scores, None))
    assert verdicts[0].outcome is Outcome.FAIL
    assert verdicts[0].detail == "1 of 300 are not finite"
    assert verdicts[1].outcome is not Outcome.PASS


def test_a_held_out_part_of_one_class_is_inconclusive():
    found = judged("roc_auc", np.full(50, "yes"), Outputs(np.linspace(0, 1, 50), None))
    assert found["better than a constant"] is Outcome.INCONCLUSIVE


def test_without_held_out_rows_nothing_can_be_said():
    with pytest.raises(DataError, match="no held-out rows"):
        checks(of("rmse"), VALUES, VALUES[:0], Outputs(VALUES[:0], None))
