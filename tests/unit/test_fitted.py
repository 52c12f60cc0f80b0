"""Checks on a fitted model: each passes where all is well, and fails on its own defect."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from andon.errors import LineError
from andon.fitted import answers, balanced, converged, demand_finite, learns_tiny, losses, repeats
from andon.metrics import METRICS
from andon.training import Measure, Outputs, seeded
from andon.verdict import Outcome

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(RNG.normal(size=(400, 2)), columns=["a", "b"])
Y = np.where(FRAME.a + RNG.normal(0, 0.5, 400) > 0, "yes", "no")
THREE = np.array(["x", "y", "z"])[np.arange(400) % 3]
VALUES = FRAME.a.to_numpy() * 3
CLASSES = ["no", "yes"]


def outcomes(verdicts) -> dict[str, Outcome]:
    return {it.check: it.outcome for it in verdicts}


@pytest.mark.parametrize(("y", "classes"), [(Y, CLASSES), (THREE, ["x", "y", "z"])])
def test_a_classifier_answers_with_labels_and_probabilities(y, classes):
    task = "binary" if len(classes) == 2 else "multiclass"
    found = answers(LogisticRegression().fit(FRAME, y), FRAME, task, classes)
    assert outcomes(found) == {"right shape": Outcome.PASS, "probabilities": Outcome.PASS}


@pytest.mark.parametrize("y", [(Y == "yes"), (Y == "yes").astype(int)])
def test_classes_may_be_numbers_and_booleans(y):
    found = answers(LogisticRegression().fit(FRAME, y), FRAME, "binary", sorted(set(y.tolist())))
    assert found[0].outcome is Outcome.PASS


class Odd(LogisticRegression):
    """Answers something else."""

    def predict_proba(self, X):
        return self.change(super().predict_proba(X))


@pytest.mark.parametrize(
    ("change", "check", "says"),
    [
        (lambda p: p[:, :1], "right shape", r"probabilities \(400, 1\)"),
        (lambda p: p[:, 1], "right shape", r"probabilities \(400,\)"),
        (lambda p: p[:10], "right shape", r"probabilities \(10, 2\)"),
        (lambda p: p * 1.1, "probabilities", "farthest from a sum of 1: 0.1"),
        (lambda p: np.add(p, [[-1.5, 1.5]]), "probabilities", "farthest outside of 0 to 1: 1.5"),
    ],
)
def test_what_is_no_probability_fails(change, check, says):
    Odd.change = staticmethod(change)
    failed = [it for it in answers(Odd().fit(FRAME, Y), FRAME, "binary", CLASSES)
              if it.outcome is Outcome.FAIL]  # fmt: skip
    assert [it.check for it in failed] == [check]
    assert re.search(says, failed[0].detail)


def test_other_classes_than_in_the_data_fail():
    model = LogisticRegression().fit(FRAME, np.where(Y == "yes", "y", "n"))
    (found,) = answers(model, FRAME, "binary", CLASSES)
    assert found.outcome is Outcome.FAIL
    assert "['n', 'y']" in found.detail


def test_a_regression_answers_with_one_number_for_each_row():
    assert answers(LinearRegression().fit(FRAME, VALUES), FRAME, "regression", [])[0].outcome is (
        Outcome.PASS
    )
    two = LinearRegression().fit(FRAME, np.column_stack([VALUES, VALUES]))
    assert answers(two, FRAME, "regression", [])[0].outcome is Outcome.FAIL


def tiny(make, y=Y, metric="roc_auc", task="binary", named=(CLASSES, 1)):
    return learns_tiny(
        lambda rows: make().fit(FRAME.iloc[rows], y[rows]),
        FRAME, y, of=Measure(METRICS[metric], *named), task=task,
    )  # fmt: skip


def test_a_few_rows_are_learned_by_what_learns_and_not_by_a_constant():
    learned, constant = tiny(LogisticRegression), tiny(DummyClassifier)
    assert (learned.outcome, learned.n) == (Outcome.PASS, 200)
    assert (constant.outcome, constant.n) == (Outcome.FAIL, 400)
    values = {"y": VALUES, "metric": "mae", "task": "regression", "named": ([], -1)}
    assert tiny(LinearRegression, **values).outcome is Outcome.PASS
    assert tiny(lambda: DummyRegressor(strategy="median"), **values).outcome is Outcome.FAIL


def test_what_wants_more_rows_gets_more():
    found = tiny(lambda: HistGradientBoostingClassifier(min_samples_leaf=150, max_iter=5))
    assert (found.outcome, found.n) == (Outcome.PASS, 400)


def test_what_cannot_be_fitted_on_few_rows_is_inconclusive():
    def refuse():
        raise LineError("wants 1,000 rows")

    found = tiny(refuse)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "wants 1,000 rows" in found.detail


def test_few_rows_are_balanced_and_from_all_of_the_data():
    y = np.array(["rare"] * 5 + ["often"] * 995)
    rows = balanced(y, 100)
    assert (y[rows] == "rare").sum() == 5
    assert (y[rows] == "often").sum() == 50
    assert rows.max() == 999


def test_the_same_twice_is_deterministic_and_else_it_is_not():
    one = Outputs(np.array([0.1, 0.9]), np.array(["no", "yes"]))
    near = Outputs(one.scores + 1e-12, one.labels)
    other = Outputs(np.array([0.1, 0.8]), one.labels)
    labels = Outputs(one.scores, np.array(["no", "no"]))
    assert repeats(one, near, 9).outcome is Outcome.PASS
    assert repeats(one, other, 9).outcome is Outcome.FAIL
    assert "differ by up to 0.1" in repeats(one, other, 9).detail
    assert repeats(one, labels, 9).outcome is Outcome.FAIL


def test_every_open_random_state_gets_the_seed():
    pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(n_estimators=3))
    named = make_pipeline(RandomForestClassifier(random_state=5))
    assert seeded(pipeline, 7) == ["randomforestclassifier__random_state"]
    assert pipeline[-1].random_state == 7
    assert seeded(named, 7) == []
    assert named[-1].random_state == 5
    first, second = (pipeline.fit(FRAME, Y).predict_proba(FRAME) for _ in range(2))
    assert (first == second).all()


def test_convergence_is_told_and_stops_nothing():
    warned = converged(["lbfgs failed", "lbfgs failed"], 3)
    assert warned.outcome is Outcome.PASS
    assert warned.detail == (
        "warning: did not converge: the fit that is kept: lbfgs failed; the search: 3 times"
    )
    assert warned.evidence == {"warnings": ["lbfgs failed"], "in_search": 3}
    assert "warning" not in converged([], 0).detail


@pytest.mark.parametrize("name", ["loss_curve_", "validation_scores_", "n_iter_", "train_score_"])
def test_a_loss_that_is_not_finite_is_found_wherever_it_is(name):
    model = make_pipeline(StandardScaler(), MLPRegressor(max_iter=3, random_state=0))
    with pytest.warns(match="converge"):
        model.fit(FRAME, VALUES)
    demand_finite(model, "fold 1")
    assert len(losses(model)) == 3
    setattr(model[-1], name, [0.5, float("nan"), 0.1])
    with pytest.raises(LineError) as caught:
        demand_finite(make_pipeline(model), "fold 1")
    assert str(caught.value) == f"fold 1: {name} of MLPRegressor is nan at 2 of 3"


def test_large_models_are_not_searched_for_ever():
    model = LogisticRegression()
    model.deep = list(itertools.repeat([{}], 100_000))
    model.itself = model
    demand_finite(model, "")
