"""SHAP values, where they are exact and cheap: of lines and of trees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from andon.adapters.explaining import Subject
from andon.explanation import Attribution
from andon.training import Array

if TYPE_CHECKING:
    import pandas as pd

ROWS = 500
COLUMNS = 500


class _None(Exception):
    """There are none, and why."""


def attribution(subject: Subject) -> Attribution:
    """Mean absolute SHAP values by column of the data, or a sentence on why there are none.

    A line's are exact: coefficient times distance from the mean (Lundberg & Lee 2017, corollary 1,
    columns taken as independent). Trees' are of the package shap. Values of columns that a pipeline
    makes of one column of the data (one-hot, say) are added up, row by row.
    """
    try:
        frame = subject.frame.iloc[:ROWS]
        front, last = _parts(subject.model)
        made = _made(front, frame)
        owner = _owners(front, frame, made)
        values, unit = _line(last, made) if _is_line(last) else _trees(last, made)
    except _None as why:
        return Attribution(why=str(why))
    names = [it.name for it in subject.columns]
    by_column = np.zeros((len(made), len(names), values.shape[2]))
    for at, column in enumerate(owner):
        if column >= 0:
            by_column[:, column] += values[:, at]
    means = np.abs(by_column).mean(axis=(0, 2))
    order = sorted(range(len(names)), key=lambda it: (-means[it], names[it]))
    found = tuple((names[it], float(means[it])) for it in order)
    return Attribution(values=found, unit=unit, rows=len(frame))


def _parts(model: Any) -> tuple[Any, Any]:
    """What prepares the columns (None: nothing does), and the estimator."""
    from sklearn.pipeline import Pipeline

    while type(model).__name__ in ("FixedThresholdClassifier", "TunedThresholdClassifierCV"):
        model = model.estimator_  # a threshold moves labels, not scores
    if not isinstance(model, Pipeline):
        return None, model
    front = model[:-1] if len(model) > 1 else None
    if isinstance(model[-1], Pipeline):
        raise _None("the pipeline's last step is a pipeline itself")
    return front, model[-1]


def _made(front: Any, frame: Any) -> Array:
    """The columns that the estimator sees: (n, made)."""
    from scipy.sparse import issparse

    made = frame if front is None else front.transform(frame)
    made = made.toarray() if issparse(made) else made
    try:
        return np.asarray(made, dtype=float)
    except ValueError:
        raise _None("the estimator takes columns that are not numbers") from None


def _owners(front: Any, frame: pd.DataFrame, made: Array) -> list[int]:
    """Of which column each made column is made: the one that changes it. -1: none does.

    Asking the pipeline itself holds for any step, whatever it calls its columns.
    """
    if frame.shape[1] > COLUMNS:
        raise _None(f"there are more than {COLUMNS} columns")
    if front is None:
        return list(range(frame.shape[1]))
    owner, changed = [-1] * made.shape[1], frame.copy()
    for at, name in enumerate(frame.columns):
        kept = changed[name]
        changed[name] = np.roll(kept.to_numpy(), 1)
        differs = ~np.isclose(_made(front, changed), made, rtol=1e-12, atol=0, equal_nan=True)
        changed[name] = kept
        for column in np.flatnonzero(differs.any(axis=0)):
            if owner[column] >= 0:
                raise _None("a step of the pipeline mixes columns, so values belong to no column")
            owner[column] = at
    return owner


def _is_line(estimator: Any) -> bool:
    return type(estimator).__module__.startswith("sklearn.linear_model") and hasattr(
        estimator, "coef_"
    )


def _line(estimator: Any, made: Array) -> tuple[Array, str]:
    """(n, made, outputs), in the line's own unit."""
    coefficients = np.atleast_2d(np.asarray(estimator.coef_, dtype=float))
    values = (made - made.mean(axis=0))[:, :, None] * coefficients.T[None, :, :]
    if hasattr(estimator, "predict_proba"):
        return values, "log-odds"
    linked = type(estimator).__name__ in ("PoissonRegressor", "GammaRegressor", "TweedieRegressor")
    return values, "in the unit of its line" if linked else "in the target's unit"


def _trees(estimator: Any, made: Array) -> tuple[Array, str]:
    """(n, made, outputs), in the unit of what the trees add up."""
    try:
        import shap
    except ImportError:
        raise _None("the package shap is not installed (extra `shap`), which trees need") from None
    try:
        explainer = shap.TreeExplainer(estimator)
        values = np.asarray(explainer.shap_values(made, check_additivity=False), dtype=float)
    except Exception as error:  # whatever shap says of a model that it does not know
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise _None(f"shap cannot explain {type(estimator).__name__}: {first[:200]}") from None
    values = values[:, :, None] if values.ndim == 2 else values
    boosted = "Boosting" in type(estimator).__name__
    classes = hasattr(estimator, "predict_proba")
    unit = ("log-odds" if boosted else "probability") if classes else "in the target's unit"
    return values, unit
