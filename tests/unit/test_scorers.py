"""Metrics by scikit-learn's names: the static table, and equal values on equal models."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import get_scorer, get_scorer_names

from andon.scorers import SCORERS, named, problem
from andon.training import fit, outputs, truth

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 3))
LABELS = {
    "binary": np.where(X[:, 0] + RNG.normal(0, 0.5, 300) > 0, 1, 0),
    "multiclass": np.digitize(X[:, 0] + RNG.normal(0, 0.3, 300), [-0.5, 0.5]),
    "regression": np.exp(X @ [0.5, -0.2, 0.1] + RNG.normal(0, 0.1, 300)),
}
# Several labels a row, or clusterings: no model of this line gives these.
NOT_FOR_US = {
    *(f"{it}_samples" for it in ("f1", "jaccard", "precision", "recall")),
    "adjusted_mutual_info_score", "adjusted_rand_score", "completeness_score",
    "fowlkes_mallows_score", "homogeneity_score", "mutual_info_score",
    "normalized_mutual_info_score", "rand_score", "v_measure_score",
}  # fmt: skip
OURS = {"accuracy", "roc_auc", "r2"}  # the same value, computed faster
PAIRS = [(task, name) for task, names in SCORERS.items() for name in names]


def test_the_table_is_what_the_installed_scikit_learn_has():
    listed = {name for names in SCORERS.values() for name in names}
    assert listed | NOT_FOR_US | OURS == set(get_scorer_names())
    assert not listed & (NOT_FOR_US | OURS)


class Said(ClassifierMixin, BaseEstimator):
    def __init__(self, said=None):
        self.said, self.classes_ = said, np.arange(2)

    def predict(self, _):
        return self.said


class Positive(LinearRegression):
    """Some metrics are of positive values only."""

    def predict(self, frame):
        return np.maximum(super().predict(frame), 0.05)


@pytest.mark.parametrize(("task", "name"), PAIRS)
def test_a_metric_has_the_value_that_scikit_learns_scorer_gives_the_model(task, name):
    y, info = LABELS[task], named(name, task)
    model = fit(Positive() if task == "regression" else LogisticRegression(), X, y)
    said = outputs(model, X, task, 1 if task == "binary" else -1)
    positive = 1 if task == "binary" else None
    found = info.of(
        truth(y, info, positive, sorted(set(y.tolist()))), said.of_kind(info.uses, positive)
    )
    assert found == pytest.approx(get_scorer(name)(model, X, y), rel=1e-9)
    assert info.greater_is_better


def test_a_metric_that_is_undefined_on_some_rows_is_not_a_number_there():
    for name in ("neg_log_loss", "f1_macro", "roc_auc_ovr"):
        info = named(name, "multiclass")
        said = np.tile([0.2, 0.3, 0.5], (20, 1)) if info.uses == "probabilities" else np.ones(20)
        value = info.of(np.ones(20, dtype=int), said)
        assert np.isfinite(value) == (name != "roc_auc_ovr")


@pytest.mark.parametrize("name", ["f1", "neg_log_loss", "metrics.py:profit"])
def test_a_known_name_has_no_problem(name):
    assert problem(name, "binary") is None


@pytest.mark.parametrize(
    ("name", "task", "meant"),
    [
        ("F1", "binary", "f1"),
        ("f1_makro", "multiclass", "f1_macro"),
        ("rsme", "regression", "rmse"),
    ],
)
def test_a_close_name_is_told(name, task, meant):
    assert meant in (problem(name, task) or "").partition("did you mean")[2]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_what_is_made_of_a_confusion_matrix_is_scikit_learns_on_any_rows(rows):
    y, said = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    for name in ("f1", "jaccard", "precision", "recall", "balanced_accuracy", "matthews_corrcoef"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = get_scorer(name)(Said(said), np.zeros((len(y), 1)), y)
        assert named(name, "binary").of(y, said) == pytest.approx(expected)
