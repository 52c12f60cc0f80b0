"""What serves has been proven: known traps are either compiled rightly or rejected by name."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest
import server_kit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server_kit import COLUMNS, NUMBERS, SAMPLES, frame
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
)
from threadpoolctl import threadpool_limits

from serving import bundle as kinds
from serving.bundle import BundleError, Manifest, Signature, read_manifest
from serving.compiling.choose import KINDS, choose
from serving.compiling.edge_rows import edge_rows
from serving.compiling.parity import Verdict, outcome
from serving.compiling.rows import joined, rows_of, taken
from serving.engine import load
from serving.engines.sklearn import SklearnEngine
from serving.frame import to_table
from serving.table import Table
from serving.writing import Written, positional, write_bundle

SIGNATURE = Signature(COLUMNS)
TABLE = frame(400)
ROWS = to_table(COLUMNS, server_kit.records(TABLE))
SIGNAL = (TABLE["monthly fee"].fillna(40.0) + 20.0 * (TABLE["plan"] == "basic")).to_numpy()
LABELS = np.where(SIGNAL > 50.0, "yes", "no")
UNSEEN = {"handle_unknown": "use_encoded_value", "unknown_value": -1}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in a server; on a busy machine OpenMP's threads mostly wait for each other."""
    with threadpool_limits(1):
        yield


def encoded(**columns: Any) -> ColumnTransformer:
    """Steps for `numbers`, `plan` and `region`; those not given are the usual."""
    usual = {
        "numbers": make_pipeline(SimpleImputer(), StandardScaler()),
        "plan": OneHotEncoder(handle_unknown="ignore"),
        "region": OneHotEncoder(handle_unknown="ignore"),
    }
    where = {"numbers": NUMBERS, "plan": ["plan"], "region": ["region"]}
    steps = usual | columns
    return ColumnTransformer([(name, steps[name], where[name]) for name in usual])


def written(folder: Any, pipeline: Any, y: Any = LABELS, **how: Any) -> Written:
    """Fit, and write the bundle."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.fit(TABLE, y)
        head = TABLE.head(SAMPLES)
        if y is LABELS:
            task, classes, scores = "binary", ["no", "yes"], pipeline.predict_proba(head)
        else:
            task, classes, scores = "regression", [], pipeline.predict(head)
        return write_bundle(
            folder,
            manifest=Manifest("m", "1", task, "left", "b", classes),
            signature=SIGNATURE,
            pipeline=pipeline,
            samples_records=server_kit.records(head),
            profile=b"{}",
            expected=scores,
            evaluation=ROWS,
            **how,
        )


def verdicts(it: Written) -> dict[str, Verdict]:
    return {tried.verdict.kind: tried.verdict for tried in it.tried}


def agree(folder: Any, pipeline: Any) -> None:
    """The served bundle and the pipeline, on every row and every edge row, alone and together."""
    model = load(folder)
    manifest = read_manifest(folder)
    reference = SklearnEngine(positional(pipeline), manifest, SIGNATURE)
    table = joined(ROWS, edge_rows(SIGNATURE, taken(ROWS, slice(0, 50))))
    mine, right = outcome(model.engine, table), outcome(reference, table)
    assert mine.refused.keys() == right.refused.keys()
    assert np.array_equal(mine.labels, right.labels)
    np.testing.assert_allclose(mine.scores, right.scores, atol=1e-6, rtol=1e-6)
    for number, row in enumerate(rows_of(SIGNATURE, table)):
        if number not in mine.refused:
            alone = model.engine.row(row)
            np.testing.assert_allclose(alone.scores[0], mine.scores[number], rtol=1e-9)


# --- traps that are compiled, and rightly

LINE = LogisticRegression(max_iter=500)
MODE = SimpleImputer(strategy="most_frequent")
CODES = make_pipeline(MODE, OrdinalEncoder(**UNSEEN))
NUMERIC = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
RIGHT = {
    "add_indicator": (make_pipeline(encoded(numbers=NUMERIC), LINE), "linear"),
    "string imputer": (
        make_pipeline(encoded(plan=make_pipeline(MODE, OneHotEncoder())), LINE),
        "linear",
    ),
    "unknown is refused": (make_pipeline(encoded(plan=OneHotEncoder()), LINE), "linear"),
    "unknown is rare": (
        make_pipeline(
            encoded(plan=OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=60)),
            LINE,
        ),
        "linear",
    ),
    "unknown is warned of": (
        make_pipeline(encoded(plan=OneHotEncoder(handle_unknown="warn", max_categories=2)), LINE),
        "linear",
    ),
    "null is a category": (
        make_pipeline(
            encoded(plan=OrdinalEncoder(**UNSEEN, encoded_missing_value=-2), region=CODES), LINE
        ),
        "linear",
    ),
    "boosting": (
        make_pipeline(encoded(), HistGradientBoostingClassifier(max_iter=15, random_state=0)),
        "trees",
    ),
    "forest": (make_pipeline(encoded(), RandomForestClassifier(10, random_state=0)), "trees"),
    "tuned threshold": (
        TunedThresholdClassifierCV(make_pipeline(encoded(), LINE), cv=2, random_state=0),
        "linear",
    ),
    "tuned threshold, trees": (
        make_pipeline(
            encoded(),
            TunedThresholdClassifierCV(
                RandomForestClassifier(10, random_state=0), cv=2, random_state=0
            ),
        ),
        "trees",
    ),
    "threshold for no": (
        FixedThresholdClassifier(make_pipeline(encoded(), LINE), threshold=0.3, pos_label="no"),
        "linear",
    ),
}


@pytest.mark.parametrize("trap", RIGHT)
def test_a_trap_is_compiled_rightly(trap, tmp_path):
    pipeline, kind = RIGHT[trap]
    it = written(tmp_path, pipeline)
    assert it.engine == kind, verdicts(it)
    assert verdicts(it)[kind].max_difference <= 1e-6
    agree(tmp_path, pipeline)


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1), "linear"),
        (HistGradientBoostingRegressor(loss="poisson", max_iter=15, random_state=0), "trees"),
    ],
    ids=["transformed target", "boosting, poisson"],
)
def test_a_trap_of_regression_is_compiled_rightly(model, kind, tmp_path):
    pipeline = make_pipeline(encoded(), model)
    it = written(tmp_path, pipeline, SIGNAL)
    assert it.engine == kind, verdicts(it)
    agree(tmp_path, pipeline)


# --- traps that are left to scikit-learn


@pytest.mark.parametrize(
    ("step", "named"), [(KNNImputer(), "KNNImputer"), (SplineTransformer(), "SplineTransformer")]
)
def test_what_cannot_be_compiled_is_served_as_it_is(step, named, tmp_path):
    pipeline = make_pipeline(encoded(numbers=make_pipeline(SimpleImputer(), step)), LINE)
    it = written(tmp_path, pipeline)
    assert it.engine == "sklearn"
    assert all(named in verdicts(it)[kind].reason for kind in ("linear", "trees", "onnx"))
    agree(tmp_path, pipeline)


def test_a_step_that_its_converter_gets_wrong_is_rejected_and_the_row_named(tmp_path):
    front = ColumnTransformer([("numbers", StandardScaler(), NUMBERS)])
    it = written(tmp_path, make_pipeline(front, KNNImputer(n_neighbors=3), LINE))
    assert it.engine == "sklearn"
    reason = verdicts(it)["onnx"].reason
    assert re.match(r"row \d+: onnx: label \d, scores .*; the pipeline: label", reason), reason
    record = json.loads(reason.partition("; for ")[2])
    assert None in [record[name] for name in NUMBERS]


def halved(values: Any) -> Any:
    """Anyone's code."""
    return values / 2


def test_a_function_of_ones_own_is_refused_by_name(tmp_path):
    pipeline = make_pipeline(encoded(numbers=FunctionTransformer(halved)), LINE)
    pipeline.steps[0][1].transformers[0] = (
        "numbers", make_pipeline(SimpleImputer(), FunctionTransformer(halved)), NUMBERS,
    )  # fmt: skip
    with pytest.raises(BundleError, match=r"not trusted.*halved"):
        written(tmp_path, pipeline)


def test_a_function_that_is_trusted_but_not_known_is_served_as_it_is(tmp_path):
    steps = make_pipeline(SimpleImputer(), FunctionTransformer(np.arctan), StandardScaler())
    it = written(tmp_path, make_pipeline(encoded(numbers=steps), LINE))
    assert it.engine == "sklearn"
    assert "arctan" in verdicts(it)["linear"].reason


def test_an_engine_may_be_demanded(tmp_path):
    pipeline = make_pipeline(encoded(), LINE)
    assert written(tmp_path / "a", pipeline, engines=["sklearn"]).engine == "sklearn"
    assert written(tmp_path / "b", pipeline, engines=["linear"]).engine == "linear"
    with pytest.raises(BundleError, match=r"no engine but scikit-learn .*trees: LogisticReg"):
        written(tmp_path / "c", pipeline, engines=["trees"])
    with pytest.raises(BundleError, match=r"found \['fast'\], allowed: linear"):
        written(tmp_path / "d", pipeline, engines=["fast"])


def test_parity_json_says_what_was_tried_and_never_how_long_it_took(tmp_path):
    pipeline = RIGHT["boosting"][0]
    first, second = (written(tmp_path / name, pipeline) for name in "ab")
    assert first.digest == second.digest
    assert first.tried[1].microseconds_row > 0.0
    content = msgspec.json.decode((tmp_path / "a" / "parity.json").read_bytes())
    assert [it["kind"] for it in content["tried"]] == ["linear", "trees", "sklearn"]
    linear, trees, _ = content["tried"]
    assert not linear["accepted"]
    assert "HistGradientBoostingClassifier is no linear model" in linear["reason"]
    assert trees["accepted"]
    assert trees["rows"] == SAMPLES + ROWS.n
    assert trees["edge_rows"] > 300
    assert b"microseconds" not in (tmp_path / "a" / "parity.json").read_bytes()
    assert not (tmp_path / "a" / "model.skops").exists()


def test_a_tolerance_that_cannot_be_met_leaves_scikit_learn(tmp_path):
    assert written(tmp_path, make_pipeline(encoded(), LINE), tolerance=0.0).engine == "sklearn"


# --- and whatever else there is

NUMBER_STEPS = [
    StandardScaler(), MinMaxScaler(), RobustScaler(), FunctionTransformer(np.cbrt),
    KBinsDiscretizer(4, strategy="uniform", encode="ordinal"),
]  # fmt: skip
TEXT_STEPS = [
    OneHotEncoder(),
    OneHotEncoder(handle_unknown="ignore"),
    OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=2),
    OneHotEncoder(drop="first"),
    OrdinalEncoder(encoded_missing_value=-2),
    OrdinalEncoder(**UNSEEN, encoded_missing_value=9),
]
MODELS = [
    LINE,
    RandomForestClassifier(5, random_state=0),
    HistGradientBoostingClassifier(max_iter=5, random_state=0),
    FixedThresholdClassifier(LINE, threshold=0.2),
]
CELLS = {
    "number": st.floats(allow_nan=False, allow_infinity=False) | st.floats(0, 200),
    "integer": st.integers(-(2**63), 2**63 - 1) | st.integers(0, 9),
    "boolean": st.booleans(),
    "date": st.floats(-719_162, 2_932_896),
    "category": st.sampled_from(["basic", "plus", "rare", "north", "nan", "None", ""]) | st.text(),
}
ANY_ROW = st.tuples(
    *(CELLS[it.kind] | st.none() if it.nullable else CELLS[it.kind] for it in COLUMNS)
)


@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(
    filled=st.sampled_from(["mean", "median", "most_frequent"]),
    indicator=st.booleans(),
    numbers=st.lists(st.sampled_from(NUMBER_STEPS), max_size=2, unique_by=id),
    mode=st.booleans(),
    plan=st.sampled_from(TEXT_STEPS),
    region=st.sampled_from(TEXT_STEPS),
    model=st.sampled_from(MODELS),
    rows=st.lists(ANY_ROW, min_size=1, max_size=12),
)
def test_any_small_pipeline_is_compiled_to_the_same(  # noqa: PLR0917
    filled, indicator, numbers, mode, plan, region, model, rows
):
    steps = [SimpleImputer(strategy=filled, add_indicator=indicator), *numbers]
    texts = [MODE] if mode else []
    front = encoded(
        numbers=make_pipeline(*steps),
        plan=make_pipeline(*texts, plan),
        region=make_pipeline(*texts, region),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = make_pipeline(front, model).fit(TABLE, LABELS)
    twin = positional(pipeline)
    manifest = Manifest("m", "1", "binary", "left", "b", ["no", "yes"])
    reference = SklearnEngine(twin, manifest, SIGNATURE)
    table = joined(taken(ROWS, slice(0, 40)), Table.of_rows(COLUMNS, rows))
    compiled = [kind for kind in KINDS if kind in ("linear", "trees")]
    choice = choose(twin, reference, manifest, SIGNATURE, table, tolerance=1e-6, engines=compiled)
    assert type(choice.engine) in (kinds.Linear, kinds.Trees)
