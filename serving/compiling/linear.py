"""Linear models as lines: `linear.json`."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np

from serving.bundle import Manifest, Signature
from serving.compiling.classes import check_classes
from serving.compiling.errors import CannotCompile
from serving.compiling.front import CompiledFront
from serving.engines.base import Refused
from serving.engines.front import Front, FrontSpec
from serving.engines.linear import LinearEngine, LinearSpec
from serving.engines.ops import FUNCTIONS, Op, op
from serving.table import Row

REFERENCE = 1_000  # rows whose mean contributions are what others are compared with
_CLASSIFIERS = {
    "LogisticRegression": "softmax",
    "LogisticRegressionCV": "softmax",
    "LinearDiscriminantAnalysis": "softmax",
    "SGDClassifier": "one_vs_rest",
}
_REGRESSORS = (
    "ARDRegression", "BayesianRidge", "ElasticNet", "ElasticNetCV", "HuberRegressor", "Lars",
    "LarsCV", "Lasso", "LassoCV", "LassoLars", "LassoLarsCV", "LassoLarsIC", "LinearRegression",
    "LinearSVR", "OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV",
    "PassiveAggressiveRegressor", "QuantileRegressor", "Ridge", "RidgeCV", "SGDRegressor",
    "TheilSenRegressor",
)  # fmt: skip
_GENERALIZED = ("PoissonRegressor", "GammaRegressor", "TweedieRegressor")


def compile_linear(
    front: CompiledFront,
    manifest: Manifest,
    signature: Signature,
    reference: list[Row],
) -> dict[str, bytes]:
    """The files of a linear engine; raises CannotCompile."""
    model = front.only()
    spec = _spec(model, regression=manifest.task == "regression")
    check_classes(model, manifest)
    made = Front(msgspec.json.decode(front.content, type=FrontSpec), signature)
    if {len(line) for line in spec.coefficients} != {made.width}:
        raise CannotCompile("a linear model of other features")
    engine = LinearEngine(made, spec, manifest, signature)
    if engine.explains:
        spec = msgspec.structs.replace(spec, means=_means(engine, reference[:REFERENCE]))
    return {"front.json": front.content, "linear.json": msgspec.json.encode(spec)}


def _means(engine: LinearEngine, rows: list[Row]) -> list[float] | None:
    shares = []
    for row in rows:
        try:
            shares.append(engine.shares(row))
        except Refused:
            continue  # it has no score to contribute to
    known = [it for it in shares if all(map(math.isfinite, it))]
    return [math.fsum(it) / len(known) for it in zip(*known, strict=True)] if known else None


def _spec(model: Any, *, regression: bool) -> LinearSpec:
    name = type(model).__name__
    if not type(model).__module__.startswith("sklearn."):
        raise CannotCompile(name)
    if name == "TransformedTargetRegressor" and regression:
        inner = _spec(model.regressor_, regression=True)
        after = [*inner.after, *_inverse(model.transformer_)]
        return msgspec.structs.replace(inner, after=after)
    if regression and (name in _REGRESSORS or name in _GENERALIZED):
        after = [op("exp")] if name in _GENERALIZED and _is_log(model) else []
        return _lines(model, "value", after)
    if not regression and name in _CLASSIFIERS:
        if getattr(model, "loss", "log_loss") != "log_loss":
            raise CannotCompile(f"{name}: loss={model.loss}")
        return _lines(model, _CLASSIFIERS[name] if len(model.classes_) > 2 else "sigmoid", [])
    raise CannotCompile(f"{name} is no linear model")


def _lines(model: Any, link: Any, after: list[Op]) -> LinearSpec:
    lines = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64))
    starts = np.broadcast_to(np.ravel(model.intercept_), len(lines))
    if not (np.isfinite(lines).all() and np.isfinite(starts).all()):
        raise CannotCompile(f"{type(model).__name__}: coefficients that are not finite")
    if (link in ("value", "sigmoid")) != (len(lines) == 1):
        raise CannotCompile(f"{type(model).__name__}: {len(lines)} lines")
    return LinearSpec(link, lines.tolist(), starts.astype(np.float64).tolist(), after)


def _is_log(model: Any) -> bool:
    return type(model._base_loss.link).__name__ == "LogLink"


def _inverse(transformer: Any) -> list[Op]:
    name = type(transformer).__name__
    if name == "StandardScaler":
        after = [op("mul", transformer.scale_[0])] if transformer.with_std else []
        return [*after, *([op("add", transformer.mean_[0])] if transformer.with_mean else [])]
    if name == "FunctionTransformer" and not transformer.inv_kw_args:
        function = transformer.inverse_func
        if function is None:
            return []
        if isinstance(function, np.ufunc) and function.__name__ in FUNCTIONS:
            return [op(function.__name__)]
        name = getattr(function, "__name__", name)
    raise CannotCompile(f"TransformedTargetRegressor: {name}")
