"""Compiled trees where they are odd: categories, single leaves, ties, refusals, malformed files."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from tree_kit import (
    RNG,
    TRAIN,
    WIDTH,
    Y2,
    Y4,
    X,
    agrees,
    expected,
    load,
    manifest_of,
    table_of,
)

from serving.bundle import BundleError, Column, Signature, Trees
from serving.compiling.errors import CannotCompile
from serving.compiling.trees import compile_trees
from serving.engines.base import Refused
from serving.engines.trees import BLOCK, load_trees


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
