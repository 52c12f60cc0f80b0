"""The linear engine answers as scikit-learn does, a row as a table does, and says what adds up."""

from __future__ import annotations

import warnings
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from server_kit import COLUMNS, frame, linear, records
from sklearn.compose import TransformedTargetRegressor
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    PoissonRegressor,
    Ridge,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVR

from serving import bundle as kinds
from serving.bundle import BundleError, Column, Manifest, Signature
from serving.compiling.errors import CannotCompile
from serving.compiling.front import compile_front
from serving.compiling.linear import compile_linear
from serving.compiling.parts import take_apart
from serving.compiling.rows import rows_of
from serving.engines.base import Refused
from serving.engines.linear import LinearEngine
from serving.engines.sklearn import SklearnEngine
from serving.frame import to_table
from serving.table import Row, Table
from serving.writing import positional

TABLE = frame(300)
SIGNATURE = Signature(COLUMNS)
ROWS = rows_of(SIGNATURE, to_table(COLUMNS, records(TABLE)))
SIGNAL = (TABLE["monthly fee"].fillna(40.0) / 40.0 + (TABLE["plan"] == "basic")).to_numpy()
LOGARITHM = {"func": np.log1p, "inverse_func": np.expm1}
Engines = tuple[SklearnEngine, LinearEngine]


def engines(
    model: Any, y: Any, folder: Any, task: str, classes: list[Any], positive: int = -1
) -> Engines:
    """The pipeline and its compiled form, which has been to the disk and back."""
    pipeline = make_pipeline(linear()[0], model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.fit(TABLE, y)
    return compiled(pipeline, folder, task, classes, positive)


def compiled(
    pipeline: Any, folder: Any, task: str, classes: list[Any], positive: int = -1
) -> Engines:
    twin = positional(pipeline)
    manifest = Manifest("m", "1", task, "y", "b", classes, positive)
    parts = take_apart(twin, positive)
    served = msgspec.structs.replace(manifest, engine=kinds.Linear(parts.threshold))
    front = compile_front(parts.steps, SIGNATURE)
    for name, content in compile_linear(front, served, SIGNATURE, ROWS).items():
        (folder / name).write_bytes(content)
    reference = SklearnEngine(twin, manifest, SIGNATURE)
    return reference, LinearEngine.load(folder, served, SIGNATURE)


def check(reference: SklearnEngine, engine: LinearEngine) -> None:
    table = Table.of_rows(COLUMNS, ROWS)
    right, found = reference.table(table), engine.table(table)
    assert found.labels == right.labels
    np.testing.assert_allclose(found.scores, right.scores, rtol=1e-10, atol=1e-12)
    for number, row in enumerate(ROWS):
        alone = engine.row(row)
        assert alone.scores == [found.scores[number]]
        assert alone.labels == found.labels[number : number + 1]


REGRESSORS = [
    LinearRegression(), Ridge(), RidgeCV(), Lasso(0.01), ElasticNet(0.01), BayesianRidge(),
    HuberRegressor(max_iter=1_000), SGDRegressor(random_state=0), LinearSVR(random_state=0),
    PoissonRegressor(), GammaRegressor(), TweedieRegressor(power=0), TweedieRegressor(power=1.5),
    TransformedTargetRegressor(Ridge(), **LOGARITHM),
    TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
]  # fmt: skip


@pytest.mark.parametrize("model", REGRESSORS, ids=str)
def test_regression(model, tmp_path):
    check(*engines(model, SIGNAL + 0.1, tmp_path, "regression", []))


CLASSIFIERS = [
    LogisticRegression(), LogisticRegressionCV(cv=2, Cs=2, use_legacy_attributes=False),
    SGDClassifier(loss="log_loss", random_state=0), LinearDiscriminantAnalysis(solver="lsqr"),
]  # fmt: skip


@pytest.mark.parametrize("model", CLASSIFIERS, ids=str)
@pytest.mark.parametrize("classes", [["no", "yes"], [0, 1, 2]])
def test_classification(model, classes, tmp_path):
    limits = [1.5] if len(classes) == 2 else [1.0, 1.8]
    y = np.array(classes)[np.digitize(SIGNAL, limits)]
    if type(model).__name__ == "LinearDiscriminantAnalysis":
        model = make_pipeline(FunctionTransformer(), model)
        pipeline = make_pipeline(linear()[0].set_params(sparse_threshold=0), model).fit(TABLE, y)
        check(*compiled(pipeline, tmp_path, TASKS[len(classes)], classes))
    else:
        check(*engines(model, y, tmp_path, TASKS[len(classes)], classes))


TASKS = {2: "binary", 3: "multiclass"}
BINARY = np.where(SIGNAL > 1.5, "yes", "no")


@pytest.mark.parametrize("positive", [-1, 0, 1])
@pytest.mark.parametrize("label", ["yes", "no", None])
def test_a_fixed_threshold(label, positive, tmp_path):
    model = FixedThresholdClassifier(LogisticRegression(), threshold=0.3, pos_label=label)
    reference, engine = engines(model, BINARY, tmp_path, "binary", ["no", "yes"], positive)
    check(reference, engine)
    by_half = [int(scores[1] > 0.5) for scores in engine.table(to_rows()).scores]
    assert engine.table(to_rows()).labels != by_half


def test_a_tuned_threshold_around_the_whole(tmp_path):
    inner = linear()
    model = TunedThresholdClassifierCV(inner, cv=2, random_state=0)
    y = np.where(SIGNAL > 2.2, 1, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(TABLE, y)
    assert model.best_threshold_ != 0.5
    check(*compiled(model, tmp_path, "binary", [0, 1]))


def test_a_threshold_on_a_decision_is_not_one_on_a_probability(tmp_path):
    model = FixedThresholdClassifier(LogisticRegression(), response_method="decision_function")
    with pytest.raises(CannotCompile, match="decision_function"):
        engines(model, BINARY, tmp_path, "binary", ["no", "yes"])


def to_rows() -> Table:
    return Table.of_rows(COLUMNS, ROWS)


def test_unknown_categories_are_refused_by_name_and_row(tmp_path):
    _, engine = engines(LogisticRegression(), BINARY, tmp_path, "binary", ["no", "yes"])
    row = (*ROWS[0][:5], "never seen")
    with pytest.raises(Refused, match=r"^column 'region': .*never seen"):
        engine.row(row)
    with pytest.raises(Refused, match=r"^row 2: column 'region': .*never seen"):
        engine.table(Table.of_rows(COLUMNS, [*ROWS[:2], row]))
    assert engine.row((*ROWS[0][:4], "never seen", ROWS[0][5]))


@pytest.mark.parametrize("x", [None, 1e308, -1e308, 1.7e308])
def test_what_is_not_finite_is_refused_as_by_scikit_learn(x, tmp_path):
    scaler, line = StandardScaler(), LinearRegression()
    values = np.array([[0.0], [1e-3], [2e-3]])
    pipeline = make_pipeline(scaler, line).fit(values, [0.0, 1.0, 2.0])
    signature = Signature([Column("x", "number")])
    manifest = Manifest("line", "1", "regression", "y", "b", engine=kinds.Linear())
    front = compile_front([scaler, line], signature)
    for name, content in compile_linear(front, manifest, signature, [(0.0,)]).items():
        (tmp_path / name).write_bytes(content)
    engine = LinearEngine.load(tmp_path, manifest, signature)
    reference = SklearnEngine(pipeline, manifest, signature)
    for it in (reference, engine):
        with pytest.raises(Refused):
            it.row((x,))
        with pytest.raises(Refused, match="row 1" if it is engine else None):
            it.table(Table.of_rows(signature.columns, [(0.5,), (x,)]))
    assert engine.row((1e300,)).scores[0] == pytest.approx(reference.row((1e300,)).scores[0])


def test_contributions_add_up_to_what_a_row_is_above_the_mean(tmp_path):
    _, engine = engines(LogisticRegression(), BINARY, tmp_path, "binary", ["no", "yes"])
    scores = np.array(engine.table(to_rows()).scores)
    log_odds = np.log(scores[:, 1] / scores[:, 0])
    for row, said in zip(ROWS[:50], log_odds, strict=False):
        shares = engine.contributions(row)
        assert shares is not None
        assert len(shares) == len(COLUMNS)
        assert sum(shares) == pytest.approx(said - log_odds.mean(), abs=1e-9)
    fee = [column.name for column in COLUMNS].index("monthly fee")
    rows: list[Row] = [(value, *ROWS[0][1:]) for value in (1.0, 500.0)]
    low, high = (engine.contributions(row) for row in rows)
    assert low is not None
    assert high is not None
    assert low[fee] < 0.0 < high[fee]
    assert low[fee + 1 :] == high[fee + 1 :]


def test_contributions_are_told_only_where_they_add_up(tmp_path):
    _, engine = engines(PoissonRegressor(), SIGNAL, tmp_path, "regression", [])
    assert engine.contributions(ROWS[0]) is None


def test_categories_without_number_cost_a_row_nothing(tmp_path):
    """A row's cost must not grow with the categories, of which there are 20,000."""
    from sklearn.preprocessing import OneHotEncoder

    random = np.random.default_rng(0)
    keys = [f"k{number}" for number in range(20_000)]
    table = pd.DataFrame({"s": pd.Series(keys, dtype=object)})
    y = random.integers(0, 2, len(keys))
    pipeline = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    pipeline.fit(table, y)
    signature = Signature([Column("s", "category")])
    manifest = Manifest("m", "1", "binary", "y", "b", [0, 1], engine=kinds.Linear())
    twin = positional(pipeline)
    front = compile_front([it for _, it in twin.steps], signature)
    rows: list[Row] = [(key,) for key in (*keys[:50], None, "never seen")]
    for name, content in compile_linear(front, manifest, signature, rows[:5]).items():
        (tmp_path / name).write_bytes(content)
    engine = LinearEngine.load(tmp_path, manifest, signature)
    reference = SklearnEngine(twin, manifest, signature)
    right = reference.table(Table.of_rows(signature.columns, rows))
    found = [engine.row(row) for row in rows]
    assert [it.labels[0] for it in found] == right.labels
    np.testing.assert_allclose([it.scores[0] for it in found], right.scores, rtol=1e-12)


def test_files_that_do_not_go_together_do_not_load(tmp_path):
    engines(Ridge(), SIGNAL, tmp_path, "regression", [])
    manifest = Manifest("m", "1", "regression", "y", "b", engine=kinds.Linear())
    (tmp_path / "linear.json").write_bytes(
        b'{"link": "value", "coefficients": [[1.0]], "intercepts": [0.0]}'
    )
    with pytest.raises(BundleError, match=r"linear\.json: \{1\} coefficients"):
        LinearEngine.load(tmp_path, manifest, SIGNATURE)
    (tmp_path / "front.json").write_bytes(b'{"base": [0.0], "chains": [{"source": 0}]}')
    with pytest.raises(BundleError, match=r"front\.json"):
        LinearEngine.load(tmp_path, manifest, SIGNATURE)


def test_a_model_that_is_not_linear_is_named(tmp_path):
    from sklearn.naive_bayes import BernoulliNB

    with pytest.raises(CannotCompile, match="BernoulliNB"):
        engines(BernoulliNB(), BINARY, tmp_path, "binary", ["no", "yes"])
    with pytest.raises(CannotCompile, match="modified_huber"):
        model = SGDClassifier(loss="modified_huber", random_state=0)
        engines(model, BINARY, tmp_path, "binary", ["no", "yes"])
