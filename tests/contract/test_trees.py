"""Compiled trees give scikit-learn's own answers: every bit of them, or the last one of an exp."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier
from tree_kit import (
    HOLES,
    RNG,
    TRAIN,
    WIDTH,
    Y2,
    Y4,
    X,
    Y,
    agrees,
    agrees_on_refusal,
    expected,
    load,
    table_of,
    with_edges,
)

from serving.compiling.trees import widened
from serving.engines.trees import TOO_LARGE

CLASSIFIERS = {
    "tree": DecisionTreeClassifier(random_state=0),
    "shallow tree": DecisionTreeClassifier(max_depth=4, random_state=0),
    "random tree": ExtraTreeClassifier(random_state=0),
    "forest of one": RandomForestClassifier(1, random_state=0),
    "forest": RandomForestClassifier(30, random_state=0),
    "even forest": RandomForestClassifier(2, max_depth=3, random_state=0),
    "coarse forest": RandomForestClassifier(30, min_samples_leaf=7, random_state=0),
    "wide forest": RandomForestClassifier(20, max_leaf_nodes=9, random_state=0),
    "weighted forest": RandomForestClassifier(
        20, max_depth=5, class_weight="balanced", criterion="entropy", random_state=0
    ),
    "extra trees": ExtraTreesClassifier(30, min_samples_leaf=3, random_state=0),
    "bagging": BaggingClassifier(random_state=0, max_features=0.6),
}
REGRESSORS = {
    "tree": DecisionTreeRegressor(random_state=0),
    "forest": RandomForestRegressor(30, random_state=0),
    "poisson forest": RandomForestRegressor(
        9, criterion="poisson", min_samples_leaf=5, random_state=0
    ),
    "extra trees": ExtraTreesRegressor(20, random_state=0),
    "bagging": BaggingRegressor(DecisionTreeRegressor(max_depth=6), random_state=0),
    "boosting": GradientBoostingRegressor(n_estimators=30, random_state=0),
    "huber boosting": GradientBoostingRegressor(loss="huber", n_estimators=20, random_state=0),
    "quantile boosting": GradientBoostingRegressor(
        loss="quantile", n_estimators=20, random_state=0
    ),
    "boosting from zero": GradientBoostingRegressor(init="zero", n_estimators=9, random_state=0),
}


@pytest.mark.parametrize("y", [Y2, Y4], ids=["binary", "multiclass"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_trees_that_vote_agree_in_every_bit(tmp_path, name, y):
    model = CLASSIFIERS[name].fit(X[TRAIN], y[TRAIN])
    engine = load(tmp_path, model)
    agrees(engine, model, X)
    agrees_on_refusal(engine, model, with_edges())


@pytest.mark.parametrize("name", REGRESSORS)
def test_regression_trees_agree_in_every_bit(tmp_path, name):
    y = np.abs(Y)
    model = REGRESSORS[name].fit(X[TRAIN], y[TRAIN])
    engine = load(tmp_path, model)
    agrees(engine, model, X)
    assert agrees_on_refusal(engine, model, with_edges())


@pytest.mark.parametrize("loss", ["log_loss", "exponential"])
def test_boosted_trees_agree_in_every_bit(tmp_path, loss):
    model = GradientBoostingClassifier(n_estimators=40, loss=loss, random_state=0)
    model.fit(X[TRAIN], Y2[TRAIN])
    engine = load(tmp_path, model)
    agrees(engine, model, X)
    assert agrees_on_refusal(engine, model, with_edges()) >= WIDTH


def test_boosted_trees_of_many_classes_agree(tmp_path):
    model = GradientBoostingClassifier(n_estimators=15, random_state=0).fit(X[TRAIN], Y4[TRAIN])
    agrees(load(tmp_path, model), model, X, ulps=4)


HIST = {
    "log_loss": (HistGradientBoostingClassifier(max_iter=40, random_state=0), Y2),
    "multinomial": (HistGradientBoostingClassifier(max_iter=15, random_state=0), Y4),
    "squared_error": (HistGradientBoostingRegressor(max_iter=30, random_state=0), Y),
    "absolute_error": (
        HistGradientBoostingRegressor(loss="absolute_error", max_iter=20, random_state=0),
        Y,
    ),
    "quantile": (
        HistGradientBoostingRegressor(loss="quantile", quantile=0.9, max_iter=20, random_state=0),
        Y,
    ),
    "poisson": (
        HistGradientBoostingRegressor(loss="poisson", max_iter=20, random_state=0),
        np.abs(Y).round(),
    ),
    "gamma": (
        HistGradientBoostingRegressor(loss="gamma", max_iter=20, random_state=0),
        np.abs(Y) + 0.1,
    ),
    "constrained": (
        HistGradientBoostingRegressor(
            max_iter=20, monotonic_cst=[1] + [0] * (WIDTH - 1), random_state=0
        ),
        Y,
    ),
}


@pytest.mark.parametrize("holes", [True, False], ids=["nulls", "no nulls"])
@pytest.mark.parametrize("name", HIST)
def test_histogram_boosting_agrees(tmp_path, name, holes):
    model, y = HIST[name]
    model.fit(HOLES[TRAIN] if holes else X[TRAIN], y[TRAIN])
    engine = load(tmp_path, model)
    x = np.concatenate([HOLES, with_edges()])
    agrees(engine, model, x, ulps=4 if name == "multinomial" else 0)
    assert agrees_on_refusal(engine, model, with_edges()) == 0


@pytest.mark.parametrize(
    ("model", "y"),
    [
        (RandomForestClassifier(10, random_state=0), Y2),
        (RandomForestClassifier(10, min_samples_leaf=4, random_state=0), Y4),
        (ExtraTreesClassifier(10, random_state=0), Y2),
        (RandomForestRegressor(10, random_state=0), Y),
        (DecisionTreeClassifier(max_depth=6, random_state=0), Y2),
    ],
)
@pytest.mark.parametrize("holes", [True, False], ids=["seen in training", "not seen"])
def test_nulls_go_where_each_tree_sends_them(tmp_path, model, y, holes):
    model.fit(HOLES[TRAIN] if holes else X[TRAIN], y[TRAIN])
    engine = load(tmp_path, model)
    agrees(engine, model, HOLES)
    assert agrees_on_refusal(engine, model, with_edges()) > 0  # 1e39 is refused, null is not


def test_nulls_that_only_tell_themselves_apart_are_split_off(tmp_path):
    x = np.where(RNG.random((500, 1)) < 0.5, np.nan, 1.0)
    y = np.isnan(x[:, 0]).astype(int)
    for model in (DecisionTreeClassifier(), HistGradientBoostingClassifier(min_samples_leaf=1)):
        agrees(load(tmp_path, model.fit(x, y), 1), model, x)


@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeClassifier(random_state=0),
        RandomForestRegressor(5, random_state=0),
        GradientBoostingClassifier(n_estimators=5, random_state=0),
        HistGradientBoostingClassifier(max_iter=9, random_state=0),
    ],
)
def test_neighbours_of_every_threshold_go_the_same_way(tmp_path, model):
    model.fit(X[TRAIN], Y2[TRAIN])
    engine = load(tmp_path, model)
    for feature, threshold in thresholds(model):
        x = np.repeat(X[:1], 15, axis=0)
        x[:, feature] = around(threshold)
        labels, scores = expected(model, x)
        found = engine.table(table_of(x))
        assert found.labels == labels
        assert np.array_equal(found.scores, scores)


def thresholds(model):
    if hasattr(model, "_predictors"):
        nodes = np.concatenate([it.nodes for stage in model._predictors for it in stage])
        inner = nodes[nodes["is_leaf"] == 0]
        return list(zip(inner["feature_idx"], inner["num_threshold"], strict=True))
    members = np.ravel(getattr(model, "estimators_", [model]))
    return [
        pair
        for member in members
        for pair in zip(member.tree_.feature, member.tree_.threshold, strict=True)
        if pair[0] >= 0
    ]


def around(threshold):
    """The threshold, its neighbours, the float32 around it, and where rounding to those turns."""
    with np.errstate(over="ignore"):
        single = np.float32(threshold)
        singles = [np.nextafter(single, np.float32(side)) for side in (-np.inf, np.inf)]
    low, middle, high = sorted(float(it) for it in (singles[0], single, singles[1]))
    points = [threshold, low, middle, high, (low + middle) / 2, (middle + high) / 2]
    sides = [np.nextafter(it, side) for it in points[-2:] for side in (-np.inf, np.inf)]
    close = [np.nextafter(threshold, side) for side in (-np.inf, np.inf)]
    return [*points, *sides, *close, -threshold, 2 * threshold, 0.0]


def test_a_widened_threshold_turns_where_rounding_to_float32_turns():
    exponents = RNG.integers(-160, 125, 3000)
    values = RNG.normal(size=3000) * 2.0**exponents
    singles = values.astype(np.float32).astype(np.float64)
    special = [0.0, -0.0, 2.0**-149, 2.0**-150, -(2.0**-150), 3.5e38, -3.5e38, np.inf, -np.inf]
    special += [float(np.finfo(np.float32).max), -float(np.finfo(np.float32).max)]
    for threshold in np.concatenate([values, singles, special]):
        (wide,) = widened(np.array([threshold]))
        x = np.array([*around(threshold), 2.0**-150, -(2.0**-150), 2.0**-149, wide])
        x = x[np.abs(x) < 3.5e38]
        x = np.concatenate([x, np.nextafter(x, -np.inf), np.nextafter(x, np.inf)])
        x = x[np.abs(x) < TOO_LARGE]
        assert ((x <= wide) == (x.astype(np.float32) <= threshold)).all(), threshold
