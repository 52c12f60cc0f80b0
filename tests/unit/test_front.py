"""A compiled front end gives what scikit-learn's steps give, to the last bit, and refuses alike."""

from __future__ import annotations

import math
import warnings
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)

from serving.bundle import Column, Signature
from serving.compiling.errors import CannotCompile
from serving.compiling.front import compile_front
from serving.engines.base import Refused
from serving.engines.front import Front, FrontSpec
from serving.frame import to_input
from serving.table import Row, Table
from serving.writing import positional

COLUMNS = [
    Column("a", "number"),
    Column("b", "number"),
    Column("n", "integer"),
    Column("s", "category"),
    Column("t", "category"),
]
SIGNATURE = Signature(COLUMNS)
NUMBERS, TEXTS = ["a", "b", "n"], ["s", "t"]
ROWS: list[Row] = [
    (None, 2.0, 3, "x", "u"),
    (1.0, None, 1, None, "v"),
    (-5.0, 0.5, None, "y", None),
    (0.0, 1e3, 0, "y", "v"),
    (2.5, -0.9, 2, "z", "u"),
    (3.0, 1.5, 3, "x", "w"),
    (0.1, 7.0, 1, "x", "u"),
    (1.0, 2.0, 1, "nan", "u"),
]
HARD: list[Row] = [
    (None, None, None, None, None),
    (1e308, -1e308, 2**53 + 1, "unseen", ""),
    (1.7e308, 1.7e308, -(2**63), "None", "None"),
    (5e-324, -0.0, 4, "", "u"),
    (-1.0, 0.0, 3, "x", "unseen"),
]
Y = np.array([0, 1, 0, 1, 1, 0, 1, 0])


def frame(rows: list[Row]) -> pd.DataFrame:
    """What a pipeline is fitted on."""
    columns: dict[str, Any] = {}
    for at, column in enumerate(COLUMNS):
        values: Any = [math.nan if row[at] is None else row[at] for row in rows]
        kind = object if column.kind == "category" else np.float64
        columns[column.name] = pd.Series(values, dtype=kind)
    return pd.DataFrame(columns)


def numbers(*steps: Any) -> ColumnTransformer:
    return ColumnTransformer([("it", make_pipeline(*steps), NUMBERS)])


def texts(*steps: Any) -> ColumnTransformer:
    return ColumnTransformer([("it", make_pipeline(*steps), TEXTS)])


def one_hot(**how: Any) -> OneHotEncoder:
    return OneHotEncoder(**how)


CODES = {"handle_unknown": "use_encoded_value", "unknown_value": -1}
FILL = SimpleImputer()
MODE = SimpleImputer(strategy="most_frequent")
FRONTS = {
    "mean": numbers(FILL),
    "median, indicator": numbers(SimpleImputer(strategy="median", add_indicator=True)),
    "constant": numbers(SimpleImputer(strategy="constant", fill_value=-3.5)),
    "zero is missing": numbers(FILL, SimpleImputer(missing_values=0, add_indicator=True)),
    "standard": numbers(StandardScaler()),
    "standard, then mean": numbers(StandardScaler(), FILL),
    "scaled twice": numbers(FILL, StandardScaler(), MinMaxScaler()),
    "min max": numbers(MinMaxScaler((-1, 3))),
    "min max, clipped": numbers(MinMaxScaler(clip=True)),
    "max abs": numbers(MaxAbsScaler()),
    "robust": numbers(RobustScaler()),
    "robust, not centred": numbers(RobustScaler(with_centering=False)),
    "power": numbers(FILL, PowerTransformer()),
    "log1p": numbers(FunctionTransformer(np.log1p), FILL),
    "log": numbers(FunctionTransformer(np.log)),
    "root, scaled": numbers(FunctionTransformer(np.cbrt), StandardScaler()),
    "square root": numbers(FILL, FunctionTransformer(np.abs), FunctionTransformer(np.sqrt)),
    "validated": numbers(FunctionTransformer(validate=True)),
    "above": numbers(FILL, Binarizer(threshold=1.0)),
    "above, no null": numbers(Binarizer(threshold=1.0)),
    "missing": numbers(MissingIndicator(features="all")),
    "missing, scaled": numbers(MissingIndicator(), StandardScaler()),
    "bins": numbers(FILL, KBinsDiscretizer(3, encode="ordinal", quantile_method="linear")),
    "bins, one-hot": numbers(FILL, KBinsDiscretizer(3, quantile_method="linear")),
    "numbers as categories": numbers(FILL, one_hot(handle_unknown="ignore")),
    "numbers as codes": numbers(OrdinalEncoder(**CODES, encoded_missing_value=math.nan)),
    "best": numbers(FILL, SelectKBest(k=1)),
    "varying": numbers(FILL, StandardScaler(), VarianceThreshold(0.1)),
    "one-hot": texts(one_hot()),
    "one-hot, ignore": texts(one_hot(handle_unknown="ignore")),
    "one-hot, rare": texts(one_hot(handle_unknown="infrequent_if_exist", min_frequency=2)),
    "one-hot, warn": texts(one_hot(handle_unknown="warn", max_categories=2)),
    "one-hot, rare, ignore": texts(one_hot(handle_unknown="ignore", max_categories=2)),
    "one-hot, first": texts(one_hot(drop="first", handle_unknown="ignore")),
    "one-hot, two": texts(one_hot(drop="if_binary")),
    "one-hot, scaled": texts(one_hot(handle_unknown="ignore"), StandardScaler(with_mean=False)),
    "one-hot, dense, scaled": texts(
        one_hot(handle_unknown="ignore", sparse_output=False), StandardScaler()
    ),
    "one-hot, selected": texts(one_hot(), SelectKBest(k=2)),
    "mode": texts(MODE, one_hot(handle_unknown="ignore")),
    "text for null": texts(
        SimpleImputer(strategy="constant", fill_value="?", add_indicator=False), one_hot()
    ),
    "a text is null": texts(
        MODE, SimpleImputer(strategy="most_frequent", missing_values="nan"), OrdinalEncoder(**CODES)
    ),
    "no null is taken": texts(
        SimpleImputer(strategy="most_frequent", missing_values="nan"), OrdinalEncoder(**CODES)
    ),
    "codes": texts(OrdinalEncoder()),
    "codes, null": texts(OrdinalEncoder(**CODES, encoded_missing_value=-2)),
    "codes, rare": texts(OrdinalEncoder(**CODES, min_frequency=2)),
    "codes, one-hot": texts(OrdinalEncoder(**CODES), one_hot(handle_unknown="ignore")),
    "codes, mean": texts(OrdinalEncoder(**CODES), FILL, StandardScaler()),
    "target": texts(TargetEncoder(cv=2, smooth=1.0, target_type="binary")),
    "missing text": texts(MissingIndicator(features="all")),
    "both": ColumnTransformer(
        [
            ("mixed", make_pipeline(MODE, one_hot(handle_unknown="ignore")), ["n", "s"]),
            ("drop", "drop", ["t"]),
        ],
        remainder=StandardScaler(),
    ),
    "weights": ColumnTransformer(
        [("a", "passthrough", ["a"]), ("s", one_hot(), ["s"])],
        transformer_weights={"a": 0.3, "s": 3.0},
        sparse_threshold=0,
    ),
    "union": FeatureUnion(
        [("n", numbers(FILL)), ("t", texts(one_hot(handle_unknown="ignore")))],
        transformer_weights={"n": 2.0},
    ),
    "nested": ColumnTransformer(
        [("in", ColumnTransformer([("s", one_hot(), ["s"])], remainder="passthrough"), ["s", "a"])]
    ),
}


NOT_FITTED_ON_NULL = ("validated", "above, no null", "no null is taken")


@pytest.fixture(params=FRONTS, scope="module")
def both(request) -> tuple[Any, Front]:
    """The fitted steps, positional, and the compiled front end, read from JSON."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = 5 if request.param in NOT_FITTED_ON_NULL else 0
        fitted = FRONTS[request.param].fit(frame(ROWS[start:]), Y[start:])
    return positional(fitted), compiled(fitted)


def compiled(fitted: Any) -> Front:
    front = compile_front([positional(fitted), None], SIGNATURE)
    assert front.rest == [None], front.why
    return Front(msgspec.json.decode(front.content, type=FrontSpec), SIGNATURE)


def sklearn(fitted: Any, rows: list[Row]) -> Any:
    """What scikit-learn says, or None where it refuses."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            out = fitted.transform(to_input(Table.of_rows(COLUMNS, rows)))
        except ValueError:
            return None
    return np.asarray(out.toarray() if hasattr(out, "toarray") else out, dtype=np.float64)


def check(fitted: Any, front: Front, rows: list[Row]) -> None:
    """Each row alone, and all that are not refused in a table."""
    taken = []
    for row in rows:
        right = sklearn(fitted, [row])
        if right is None:
            with pytest.raises(Refused, match="column"):
                front.row(row)
            with pytest.raises(Refused, match="column"):
                front.table(Table.of_rows(COLUMNS, [row]))
        else:
            taken.append(row)
            np.testing.assert_array_equal(front.row(row), right[0], err_msg=str(row))
    if taken:
        table = front.table(Table.of_rows(COLUMNS, taken))
        np.testing.assert_array_equal(table, sklearn(fitted, taken))


def test_rows_become_the_same_features(both):
    fitted, front = both
    assert sklearn(fitted, ROWS[3:]) is not None or sklearn(fitted, ROWS[5:]) is not None
    check(fitted, front, ROWS + HARD)


CELLS = {
    "number": st.none()
    | st.sampled_from([0.0, 1.0, 2.5, -1.0, 1e308, -1e-300])
    | st.floats(allow_nan=False, allow_infinity=False),
    "integer": st.none() | st.integers(-4, 9) | st.integers(-(2**63), 2**63 - 1),
    "category": st.none() | st.sampled_from(["x", "y", "u", "v", "nan", "None", ""]) | st.text(),
}


@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(st.tuples(*(CELLS[it.kind] for it in COLUMNS)), min_size=1, max_size=6))
def test_any_row_becomes_the_same_features(both, rows):
    check(*both, rows)


@pytest.mark.parametrize(
    ("step", "named"),
    [
        (numbers(KNNImputer()), "KNNImputer"),
        (numbers(FILL, SplineTransformer()), "SplineTransformer"),
        (numbers(FunctionTransformer(np.cumsum)), "FunctionTransformer: cumsum"),
        (numbers(FunctionTransformer(np.clip, kw_args={"a_min": 0, "a_max": 1})), "clip"),
    ],
)
def test_what_has_no_compiled_form_is_named(step, named):
    with pytest.raises(CannotCompile, match=named):
        compile_front([positional(step.fit(frame(ROWS), Y)), None], SIGNATURE)


def test_the_rest_begins_where_a_step_is_not_known():
    first, knn, last = numbers(StandardScaler()), KNNImputer(), StandardScaler()
    fitted = positional(make_pipeline(first, knn, last).fit(frame(ROWS), Y))
    steps = [step for _, step in fitted.steps]
    front = compile_front(steps, SIGNATURE)
    assert front.rest == steps[1:]
    with pytest.raises(CannotCompile, match="KNNImputer"):
        front.only()


def test_text_that_nothing_encodes_cannot_be_compiled():
    keep = ColumnTransformer([("s", "passthrough", ["s"])]).fit(frame(ROWS))
    with pytest.raises(CannotCompile, match=r"column 's'.* as text"):
        compile_front([positional(keep), FILL], SIGNATURE)


def test_a_hundred_thousand_categories_are_a_look_up():
    many = pd.DataFrame({"s": pd.Series([f"k{i:06}" for i in range(100_000)], dtype=object)})
    fitted = ColumnTransformer([("s", OneHotEncoder(handle_unknown="ignore"), ["s"])]).fit(many)
    front = compile_front([positional(fitted), None], Signature([Column("s", "category")]))
    spec = msgspec.json.decode(front.content, type=FrontSpec)
    (codes,) = spec.codes
    assert front.width == 100_000
    assert codes.texts is not None
    assert codes.cells[codes.texts.index("k012345")] == [(12_345, 1.0)]
    assert codes.unknown == codes.null == []
