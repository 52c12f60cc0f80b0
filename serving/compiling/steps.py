"""The usual steps of a front end, one function a kind; what has none cannot be compiled."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from serving.compiling.encoders import encoded
from serving.compiling.errors import CannotCompile
from serving.compiling.symbolic import (
    FINITE,
    PRESENT,
    Coded,
    Feature,
    Number,
    Text,
    function_op,
    step,
)
from serving.engines.ops import op

Features = list[Feature]


class Steps:
    """Compiles steps, and gathers what refuses without being an output."""

    def __init__(self) -> None:
        self.guards: Features = []

    def __call__(self, transformer: Any, features: Features) -> Features:
        """The features after a fitted transformer; raises CannotCompile."""
        if transformer is None or transformer == "passthrough":
            return features
        for kind in type(transformer).__mro__:
            known = _KNOWN.get(kind.__name__)
            if known and kind.__module__.startswith("sklearn."):
                return known(self, transformer, features)
        raise CannotCompile(type(transformer).__name__)

    def pipeline(self, it: Any, features: Features) -> Features:
        for _, transformer in it.steps:
            features = self(transformer, features)
        return features

    def columns(self, it: Any, features: Features) -> Features:
        weights = it.transformer_weights or {}
        made: Features = []
        for name, transformer, where in it.transformers_:
            if transformer == "drop":
                continue
            if np.isscalar(where):
                raise CannotCompile(f"ColumnTransformer: {name} takes a vector")
            if len(where):
                part = self(transformer, [features[position] for position in where])
                made += self._weighted(part, weights.get(name))
        return made

    def union(self, it: Any, features: Features) -> Features:
        weights = it.transformer_weights or {}
        made: Features = []
        for name, transformer in it.transformer_list:
            if transformer != "drop":
                made += self._weighted(self(transformer, list(features)), weights.get(name))
        return made

    def _weighted(self, features: Features, weight: float | None) -> Features:
        if weight is None:
            return features
        return [step(feature, op("mul", weight), name="weights") for feature in features]

    def imputer(self, it: Any, features: Features) -> Features:
        missing = it.missing_values
        features = [_checked(feature, missing, "SimpleImputer") for feature in features]
        made: Features = []
        for feature, fill in zip(features, it.statistics_.tolist(), strict=True):
            if _is_nan(fill) and not it.keep_empty_features:
                self._drop(feature)
            else:
                made.append(_filled(feature, missing, fill))
        if it.add_indicator:
            made += [_indicator(features[where], missing) for where in it.indicator_.features_]
        return made

    def indicator(self, it: Any, features: Features) -> Features:
        missing = it.missing_values
        features = [_checked(feature, missing, "MissingIndicator") for feature in features]
        for position, feature in enumerate(features):
            if position in it.features_:
                continue
            if it.error_on_new and it.features == "missing-only":
                if not _is_nan(missing):
                    raise CannotCompile(f"MissingIndicator: missing_values={missing!r}")
                feature = _no_null(feature)  # noqa: PLW2901
            self._drop(feature)
        return [_indicator(features[position], missing) for position in it.features_]

    def standard(self, it: Any, features: Features) -> Features:
        mean = it.mean_ if it.with_mean else None
        return _scaled("StandardScaler", features, sub=mean, div=it.scale_ if it.with_std else None)

    def robust(self, it: Any, features: Features) -> Features:
        center = it.center_ if it.with_centering else None
        scale = it.scale_ if it.with_scaling else None
        return _scaled("RobustScaler", features, sub=center, div=scale)

    def max_abs(self, it: Any, features: Features) -> Features:
        features = _scaled("MaxAbsScaler", features, div=it.scale_)
        return _clipped(features, -1.0, 1.0) if getattr(it, "clip", False) else features

    def min_max(self, it: Any, features: Features) -> Features:
        features = _scaled("MinMaxScaler", features, mul=it.scale_, add=it.min_)
        return _clipped(features, *it.feature_range) if it.clip else features

    def power(self, it: Any, features: Features) -> Features:
        if it.method != "yeo-johnson" or not np.isfinite(it.lambdas_).all():
            raise CannotCompile(f"PowerTransformer: {it.method}")
        features = [
            step(feature, FINITE, op("yeojohnson", power), name="PowerTransformer")
            for feature, power in zip(features, it.lambdas_.tolist(), strict=True)
        ]
        return self.standard(it._scaler, features) if it.standardize else features

    def function(self, it: Any, features: Features) -> Features:
        if it.kw_args or (it.func is not None and not isinstance(it.func, np.ufunc)):
            named = getattr(it.func, "__name__", type(it.func).__name__)
            raise CannotCompile(f"FunctionTransformer: {named}")
        if it.validate:
            features = [step(it_, FINITE, PRESENT, name="validate") for it_ in features]
        if it.func is None:
            return features
        function = function_op(it.func.__name__)
        return [step(feature, function, name="FunctionTransformer") for feature in features]

    def binarizer(self, it: Any, features: Features) -> Features:
        above = op("above", it.threshold)
        return [step(feature, FINITE, PRESENT, above, name="Binarizer") for feature in features]

    def bins(self, it: Any, features: Features) -> Features:
        features = [
            step(feature, FINITE, PRESENT, op("bins", *edges[1:-1].tolist()), name="KBins")
            for feature, edges in zip(features, it.bin_edges_, strict=True)
        ]
        return features if it.encode == "ordinal" else self.one_hot(it._encoder, features)

    def one_hot(self, it: Any, features: Features) -> Features:
        return self._encoded(it, features, list(it._n_features_outs))

    def ordinal(self, it: Any, features: Features) -> Features:
        return self._encoded(it, features, [1] * len(features))

    def target(self, it: Any, features: Features) -> Features:
        width = len(it.classes_) if it.target_type_ == "multiclass" else 1
        return self._encoded(it, features, [width] * len(features))

    def _encoded(self, it: Any, features: Features, widths: list[int]) -> Features:
        features = [
            feature if isinstance(feature, Text) else step(feature, FINITE) for feature in features
        ]
        made: Features = []
        for *outputs, guard in encoded(it, features, widths):
            made += outputs
            self._drop(guard)
        return made

    def selector(self, it: Any, features: Features) -> Features:
        from sklearn.utils import get_tags

        if not get_tags(it).input_tags.allow_nan:
            name = type(it).__name__
            features = [step(feature, FINITE, PRESENT, name=name) for feature in features]
        made: Features = []
        for feature, kept in zip(features, it.get_support().tolist(), strict=True):
            if kept:
                made.append(feature)
            else:
                self._drop(feature)
        return made

    def _drop(self, feature: Feature) -> None:
        """It is no output, but what it refuses is refused all the same."""
        if isinstance(feature, Text):
            if feature.null_refused:
                self.guards.append(Coded(feature.source, (), {}, 0.0, 0.0, None))
        elif isinstance(feature, Number):
            if any(it in (FINITE, PRESENT) for it in feature.ops):
                self.guards.append(feature)
        elif feature.refuses():
            self.guards.append(feature)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _checked(feature: Feature, missing: Any, name: str) -> Feature:
    """As scikit-learn looks at the input: null is taken only where it is what is missing."""
    if isinstance(feature, Text):
        return feature if _is_nan(missing) else _no_null(feature)
    return step(feature, FINITE, *(() if _is_nan(missing) else (PRESENT,)), name=name)


def _no_null(feature: Feature) -> Feature:
    if not isinstance(feature, Text):
        return step(feature, PRESENT)
    # If null has become a text on the way, it is none any more.
    return replace(feature, null_refused=feature.null_refused or feature.changes.get(None) is None)


def _filled(feature: Feature, missing: Any, fill: Any) -> Feature:
    if isinstance(feature, Text):
        if not isinstance(fill, str) or not (_is_nan(missing) or isinstance(missing, str)):
            raise CannotCompile(f"SimpleImputer: {fill!r} in a column of text")
        old = None if _is_nan(missing) else missing
        changes = {key: fill if value == old else value for key, value in feature.changes.items()}
        return replace(feature, changes={old: fill} | changes)
    if not isinstance(fill, int | float) or not isinstance(missing, int | float):
        raise CannotCompile(f"SimpleImputer: {fill!r} in a column of numbers")
    return step(feature, op("fill", fill) if _is_nan(missing) else op("swap", missing, fill))


def _indicator(feature: Feature, missing: Any) -> Feature:
    if not isinstance(feature, Text):
        if not isinstance(missing, int | float):
            raise CannotCompile(f"MissingIndicator: missing_values={missing!r}")
        return step(feature, op("isnan") if _is_nan(missing) else op("equals", missing))
    old = None if _is_nan(missing) else missing
    known = {key: feature.changes.get(key, key) for key in (*feature.changes, old)}
    null = float(feature.changes.get(None) == old)
    return Coded(
        feature.source,
        tuple(key for key in known if key is not None),
        {key: float(value == old) for key, value in known.items() if key is not None},
        0.0,
        0.0,
        None if feature.null_refused else null,
    )


def _scaled(name: str, features: Features, **numbers: Any) -> Features:
    """Each feature after the operations that have numbers, in this order."""
    given = {key: values.tolist() for key, values in numbers.items() if values is not None}
    return [
        step(feature, FINITE, *(op(key, given[key][number]) for key in given), name=name)
        for number, feature in enumerate(features)
    ]


def _clipped(features: Features, low: float, high: float) -> Features:
    return [step(feature, op("clip", low, high)) for feature in features]


_KNOWN: dict[str, Callable[[Steps, Any, Features], Features]] = {
    "Pipeline": Steps.pipeline,
    "ColumnTransformer": Steps.columns,
    "FeatureUnion": Steps.union,
    "SimpleImputer": Steps.imputer,
    "MissingIndicator": Steps.indicator,
    "StandardScaler": Steps.standard,
    "RobustScaler": Steps.robust,
    "MaxAbsScaler": Steps.max_abs,
    "MinMaxScaler": Steps.min_max,
    "PowerTransformer": Steps.power,
    "FunctionTransformer": Steps.function,
    "Binarizer": Steps.binarizer,
    "KBinsDiscretizer": Steps.bins,
    "OneHotEncoder": Steps.one_hot,
    "OrdinalEncoder": Steps.ordinal,
    "TargetEncoder": Steps.target,
    "SelectorMixin": Steps.selector,
}
