"""Compiled trees give scikit-learn's own answers: every bit of them, or the last one of an exp."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

from serving.bundle import BundleError, Column, Manifest, Signature, Trees
from serving.compiling.errors import CannotCompile
from serving.compiling.trees import compile_trees, widened
from serving.engines.base import Refused
from serving.engines.front import Chain, FrontSpec
from serving.engines.trees import BLOCK, TOO_LARGE, load_trees
from serving.table import Table

N, WIDTH = 6000, 8
RNG = np.random.default_rng(7)
X, Y2 = make_classification(N, WIDTH, n_informative=6, n_redundant=0, random_state=0, flip_y=0.1)
Y4 = make_classification(
    N, WIDTH, n_informative=6, n_redundant=0, n_classes=4, random_state=0, flip_y=0.1
)[1]
X[:, 6] = X[:, 6].round(1)  # many values that are equal
Y = X[:, 0] * 3 + X[:, 1] ** 2 + RNG.normal(size=N)
HOLES = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
EXTREMES = [1e38, -1e38, 3.4e38, 1e39, -1e39, 1e308, -1e308, -0.0, 0.0, 5e-324, -5e-324, 1e-46]
EDGES = [*EXTREMES, float(np.finfo(np.float32).max), TOO_LARGE, np.nextafter(TOO_LARGE, 0), np.nan]
TRAIN = slice(0, 1500)


def manifest_of(model, **changes) -> Manifest:
    classes = np.asarray(getattr(model, "classes_", [])).tolist()
    task = {0: "regression", 2: "binary"}.get(len(classes), "multiclass")
    facts = {"task": task, "classes": classes, "positive": len(classes) - 1, **changes}
    return Manifest(model="m", version="1", target="y", build="b", **{"engine": Trees(), **facts})


def load(folder, model, width=WIDTH, **changes):
    """The model through its files."""
    manifest = manifest_of(model, **changes)
    for name, raw in compile_trees(model, width, manifest).items():
        (folder / name).write_bytes(raw)
    spec = FrontSpec(base=[0.0] * width, chains=[Chain(i, i) for i in range(width)])
    (folder / "front.json").write_bytes(msgspec.json.encode(spec))
    return load_trees(
        folder, manifest, Signature([Column(f"x{i}", "number") for i in range(width)])
    )


def table_of(x) -> Table:
    return Table(len(x), [np.ascontiguousarray(column) for column in x.T])


def rows_of(x):
    return [tuple(None if np.isnan(it) else it for it in row) for row in x.tolist()]


def expected(model, x):
    """scikit-learn's labels, as positions, and scores."""
    with np.errstate(over="ignore"):
        if not hasattr(model, "classes_"):
            return [], np.asarray(model.predict(x)).reshape(-1, 1)
        places = {label: place for place, label in enumerate(model.classes_.tolist())}
        return [places[it] for it in model.predict(x).tolist()], model.predict_proba(x)


def agrees(engine, model, x, ulps=0):
    """Labels are equal, scores to that many last places; a row alone is as in the table."""
    labels, scores = expected(model, x)
    found = engine.table(table_of(x))
    assert found.labels == labels
    np.testing.assert_array_max_ulp(np.array(found.scores), scores, maxulp=ulps) if ulps else (
        np.testing.assert_array_equal(np.array(found.scores), scores)
    )
    for row, cells in enumerate(rows_of(x[:300])):
        alone = engine.row(cells)
        assert alone.labels == found.labels[row : row + 1]
        assert alone.scores == found.scores[row : row + 1]


def agrees_on_refusal(engine, model, x):
    """Each row alone: refused by both, or answered alike."""
    refusals = 0
    for row, cells in zip(x, rows_of(x), strict=True):
        try:
            labels, scores = expected(model, row[None])
        except ValueError:
            refusals += 1
            with pytest.raises(Refused, match="row 0"):
                engine.row(cells)
            with pytest.raises(Refused, match="row 1"):
                engine.table(table_of(np.stack([np.zeros_like(row), row])))
        else:
            found = engine.row(cells)
            assert found.labels == labels
            np.testing.assert_allclose(found.scores, scores, rtol=1e-15, atol=0)
    return refusals


def with_edges(values=EDGES):
    """Rows with one extreme value each, in each column, and nowhere else."""
    rows = np.repeat(X[:WIDTH], len(values), axis=0)
    rows[np.arange(len(rows)), np.arange(len(rows)) // len(values)] = np.tile(values, WIDTH)
    return rows


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


def categorical(rows: int, sizes, holes=0.1):
    codes = [RNG.integers(0, size, rows).astype(float) for size in sizes]
    x = np.stack([RNG.normal(size=rows), *codes, RNG.normal(size=rows)], axis=1)
    effect = RNG.permutation(np.repeat([-2.0, 2.0, 0.0], 100))
    y = x[:, 0] + sum(effect[code.astype(int)] for code in codes) + RNG.normal(size=rows)
    return np.where(RNG.random(x.shape) < holes, np.nan, x), y


STRANGE = [-1.0, -0.0, 0.5, 1.5, 2.5, 29.0, 30.0, 31.0, 32.0, 33.0, 63.0, 64.0, 127.0, 128.0]
STRANGE += [199.0, 200.0, 254.0, 255.0, 256.0, 257.0, 258.0, 1e9, -1e9, 2.0**32 + 1, 1e300, np.nan]


@pytest.mark.parametrize("holes", [0.1, 0.0], ids=["nulls", "no nulls"])
@pytest.mark.parametrize("sizes", [(2, 5), (30, 31), (33, 200), (250, 64)])
def test_categories_go_where_scikit_learn_sends_them(tmp_path, sizes, holes):
    x, y = categorical(5000, sizes, holes)
    for model, target in (
        (HistGradientBoostingRegressor(max_iter=40, categorical_features=[1, 2]), y),
        (HistGradientBoostingClassifier(max_iter=40, categorical_features=[2, 1]), y > 0),
        (
            HistGradientBoostingClassifier(max_iter=9, categorical_features=[2]),
            np.digitize(y, [-1, 1]),
        ),
    ):
        model.fit(x, target)
        splits = sum(it.nodes["is_categorical"].sum() for s in model._predictors for it in s)
        assert splits > 5
        strange = np.repeat(x[:40], len(STRANGE), axis=0)
        strange[:, 1] = np.tile(STRANGE, 40)
        other = strange.copy()
        other[:, [1, 2]] = other[:, [2, 1]]
        engine = load(tmp_path, model, 4)
        ulps = 4 if len(getattr(model, "classes_", [])) == 3 else 0
        agrees(engine, model, np.concatenate([strange, other, x]), ulps)


def test_categories_are_any_numbers(tmp_path):
    x, y = categorical(2000, (5, 7))
    x[:, 1] = np.array([-3.5, 0.25, 7.0, 1e6, -0.0])[np.nan_to_num(x[:, 1]).astype(int)]
    model = HistGradientBoostingRegressor(max_iter=20, categorical_features=[1]).fit(x, y)
    strange = np.repeat(x[:20], 6, axis=0)
    strange[:, 1] = np.tile([0.0, 0.25, 0.26, -3.5, -3, np.nan], 20)
    engine = load(tmp_path, model, 4)
    agrees(engine, model, np.concatenate([strange, x]))
    infinite = x[:1].copy()
    infinite[0, 1] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        model.predict(infinite)
    with pytest.raises(Refused, match="infinite"):
        engine.row(tuple(infinite[0]))
    with pytest.raises(Refused, match="infinite"):
        engine.table(table_of(infinite))


def test_a_category_that_all_went_one_way_still_sends_the_unknown_the_other(tmp_path):
    """Seen in training: one category and nulls, so all categories go to one side."""
    x = np.where(RNG.random((400, 1)) < 0.5, np.nan, 3.0)
    y = np.where(np.isnan(x[:, 0]), 1.0, -1.0)
    for sign in (1, -1):
        model = HistGradientBoostingRegressor(max_iter=3, categorical_features=[0], max_depth=1)
        model.fit(x, sign * y)
        engine = load(tmp_path, model, 1)
        agrees(engine, model, np.array([[3.0], [np.nan], [0.0], [4.0]]))


@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeClassifier(max_depth=1, min_samples_leaf=2000),
        RandomForestClassifier(5, min_samples_leaf=2000, random_state=0),
        GradientBoostingClassifier(n_estimators=3, min_samples_leaf=2000),
        HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=2000),
        HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=2000),
        DecisionTreeRegressor(min_samples_leaf=2000),
    ],
)
def test_trees_of_one_leaf_give_their_constant(tmp_path, model):
    agrees(load(tmp_path, model.fit(X[TRAIN], Y2[TRAIN])), model, X[:300])


def test_some_trees_of_one_leaf_among_others(tmp_path):
    model = RandomForestClassifier(25, min_impurity_decrease=0.09, random_state=3)
    model.fit(X[TRAIN], Y2[TRAIN])
    depths = {it.get_depth() for it in model.estimators_}
    assert 0 in depths and len(depths) > 1
    agrees(load(tmp_path, model), model, X)


def test_ties_go_to_scikit_learns_side(tmp_path):
    x = np.array([[0.0], [0.0], [1.0], [1.0]])
    y = np.array([0, 1, 1, 1])
    half = np.array([[0.0], [1.0]])
    for model in (
        DecisionTreeClassifier(),
        HistGradientBoostingClassifier(max_iter=1, min_samples_leaf=1),
        GradientBoostingClassifier(init="zero", n_estimators=1, max_depth=1, learning_rate=1.0),
    ):
        engine = load(tmp_path, model.fit(x, y), 1)
        assert 0.5 in expected(model, half)[1] or "Hist" in type(model).__name__
        agrees(engine, model, half)
    # A sum of exactly zero is the positive class for one boosting and not for the other.
    for model, label in (
        (HistGradientBoostingClassifier(max_iter=1), 0),
        (GradientBoostingClassifier(init="zero", n_estimators=1), 1),
    ):
        model.fit(np.zeros((4, 1)), [0, 1, 0, 1])
        engine = load(tmp_path, model, 1)
        agrees(engine, model, half)
        assert engine.row((0.0,)).labels == [label]


def test_sums_beyond_exp_have_probability_zero_and_one(tmp_path):
    model = GradientBoostingClassifier(n_estimators=2, learning_rate=1000.0, init="zero")
    model.fit(X[TRAIN], Y2[TRAIN])
    engine = load(tmp_path, model)
    agrees(engine, model, X)
    assert {0.0, 1.0} <= {score for pair in engine.table(table_of(X)).scores for score in pair}


def test_an_answer_that_is_not_finite_is_refused(tmp_path):
    y = np.where(X[TRAIN][:, 0] > 0, 3.0, 1.0)
    model = HistGradientBoostingRegressor(loss="poisson", max_iter=3, learning_rate=3000.0)
    with np.errstate(all="ignore"):
        model.fit(X[TRAIN], y)
        values = model.predict(X)
    engine = load(tmp_path, model)
    bad = int(np.flatnonzero(np.isinf(values))[-1])
    x = np.where(np.isinf(values)[:, None], X[np.isfinite(values)][0], X)
    x[bad] = X[bad]
    assert bad > BLOCK
    with pytest.raises(Refused, match=f"row {bad}: .*finite"):
        engine.table(table_of(x))
    with pytest.raises(Refused, match="finite"):
        engine.row(tuple(X[bad]))


def test_a_refusal_names_its_row_however_many_there_are(tmp_path):
    engine = load(tmp_path, RandomForestClassifier(3).fit(X[TRAIN], Y2[TRAIN]))
    x = X.copy()
    x[5000, 3] = 1e39
    with pytest.raises(Refused, match=r"row 5000: .*\(feature 3\)"):
        engine.table(table_of(x))


def test_votes_are_added_up_for_both_classes_where_rounding_differs(tmp_path):
    """0.4 is what 0.6 leaves over, but ten times 0.4 is not what ten times 0.6 leaves."""
    x = np.repeat([[0.0], [1.0]], 5, axis=0)
    y = np.array([1, 1, 0, 0, 0, 1, 1, 1, 1, 1])
    model = RandomForestClassifier(10, bootstrap=False, random_state=0).fit(x, y)
    assert set(model.estimators_[0].tree_.value[1:, 0, 1]) == {0.4, 1.0}
    agrees(load(tmp_path, model, 1), model, np.array([[0.0], [1.0]]))


@pytest.mark.parametrize(
    "names", [["no", "yes"], ["b", "a"], [False, True], [3, 10], ["x", "z", "y", "w"]]
)
def test_labels_are_positions_of_the_manifests_classes(tmp_path, names):
    y = np.array(names)[Y2 if len(names) == 2 else Y4]
    for model in (RandomForestClassifier(9), HistGradientBoostingClassifier(max_iter=9)):
        model.fit(X[TRAIN], y[TRAIN])
        agrees(load(tmp_path, model), model, X[:500], ulps=4)


def test_a_threshold_decides_instead_of_the_larger_half(tmp_path):
    model = RandomForestClassifier(10, random_state=0).fit(X[TRAIN], Y2[TRAIN])
    for positive in (0, 1):
        engine = load(tmp_path, model, engine=Trees(threshold=0.3), positive=positive)
        found = engine.table(table_of(X))
        scores = model.predict_proba(X)[:, positive]
        assert found.labels == np.where(scores >= 0.3, positive, 1 - positive).tolist()
        assert engine.row(tuple(X[0])).labels == found.labels[:1]


def test_the_same_model_gives_the_same_bytes():
    for model in (
        RandomForestClassifier(9, min_samples_leaf=3, random_state=0).fit(X[TRAIN], Y4[TRAIN]),
        HistGradientBoostingClassifier(max_iter=9, categorical_features=[6]).fit(X, Y2),
    ):
        manifest = manifest_of(model)
        assert compile_trees(model, WIDTH, manifest) == compile_trees(model, WIDTH, manifest)


def test_what_is_no_ensemble_of_trees_is_said_to_be_none():
    x, y = X[TRAIN], Y2[TRAIN]
    for model, reason in (
        (LogisticRegression().fit(x, y), "LogisticRegression is no"),
        (IsolationForest(n_estimators=5).fit(x), "IsolationForest is no"),
        (AdaBoostClassifier(n_estimators=3).fit(x, y), "AdaBoostClassifier is no"),
        (
            GradientBoostingRegressor(n_estimators=2, init=LinearRegression()).fit(x, y),
            "starts from LinearRegression",
        ),
        (
            GradientBoostingClassifier(
                n_estimators=2, init=DummyClassifier(strategy="uniform")
            ).fit(x, y),
            "starts from DummyClassifier",
        ),
        (DecisionTreeRegressor().fit(x, x[:, :2]), "more than one output"),
        (BaggingClassifier(LogisticRegression(), 3).fit(x, y), "bagging of LogisticRegression"),
    ):
        with pytest.raises(CannotCompile, match=reason):
            compile_trees(model, WIDTH, manifest_of(model))


def test_trees_that_do_not_fit_are_refused(tmp_path):
    model = RandomForestClassifier(3).fit(X[TRAIN], Y2[TRAIN])
    with pytest.raises(CannotCompile, match="8 features, not 9"):
        compile_trees(model, 9, manifest_of(model))
    with pytest.raises(CannotCompile, match="classes are"):
        compile_trees(model, WIDTH, manifest_of(model, classes=["no", "yes", "maybe"]))
    # Positions of the classes are as good as their names.
    compile_trees(model, WIDTH, manifest_of(model, classes=["no", "yes"]))


def test_texts_as_categories_are_not_for_this_engine():
    import pandas as pd

    frame = pd.DataFrame({"c": pd.Categorical(["a", "b"] * 50)})
    model = HistGradientBoostingRegressor(max_iter=2, categorical_features="from_dtype")
    model.fit(frame, np.arange(100.0))
    with pytest.raises(CannotCompile, match="texts"):
        compile_trees(model, 1, manifest_of(model))


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("trees.json", b"{}", "trees.json"),
        ("trees.json", b'{"link":"mean","width":9,"outputs":1}', "takes 9 features"),
        ("trees.json", b'{"link":"mean","width":8,"outputs":3}', "takes and gives"),
        ("model.onnx", b"rubbish", "model.onnx"),
        ("front.json", b"[]", "front.json"),
    ],
)
def test_files_that_are_malformed_or_do_not_fit_make_no_engine(tmp_path, capfd, name, raw, message):
    model = RandomForestClassifier(3).fit(X[TRAIN], Y2[TRAIN])
    load(tmp_path, model)
    (tmp_path / name).write_bytes(raw)
    columns = [Column(f"x{i}", "number") for i in range(WIDTH)]
    with pytest.raises(BundleError, match=message):
        load_trees(tmp_path, manifest_of(model), Signature(columns))
    assert capfd.readouterr() == ("", "")


def test_an_empty_table_has_no_answers(tmp_path):
    model = RandomForestClassifier(3).fit(X[TRAIN], Y2[TRAIN])
    assert load(tmp_path, model).table(table_of(np.empty((0, WIDTH)))) == ([], [])
