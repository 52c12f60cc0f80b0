"""A fitted pipeline as a flat list of steps, whatever is wrapped around what."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

from serving.compiling.errors import CannotCompile


@dataclass(frozen=True)
class Parts:
    """`steps[-1]` is the estimator. `threshold`: the positive class is predicted from there on."""

    steps: list[Any]
    threshold: float | None = None


def take_apart(pipeline: Any, positive: int) -> Parts:
    """Pipelines in pipelines become one; raises CannotCompile for what cannot be unwrapped."""
    steps: list[Any] = []
    threshold = None
    model = pipeline
    while True:
        kind = type(model).__name__
        if hasattr(model, "steps"):
            steps += [step for _, step in model.steps[:-1]]
            model = model.steps[-1][1]
        elif kind == "FrozenEstimator":
            model = model.estimator
        elif kind in ("FixedThresholdClassifier", "TunedThresholdClassifierCV"):
            threshold = _threshold(model, positive) if threshold is None else threshold
            model = getattr(model, "estimator_", None) or model.estimator
        elif kind == "TransformedTargetRegressor" and hasattr(model.regressor_, "steps"):
            steps += [step for _, step in model.regressor_.steps[:-1]]
            twin = copy.copy(model)
            twin.regressor_ = model.regressor_.steps[-1][1]
            model = twin
        else:
            return Parts([*_flat(steps), model], threshold)


def _flat(steps: list[Any]) -> list[Any]:
    flat: list[Any] = []
    for step in steps:
        inner = [it for _, it in step.steps] if hasattr(step, "steps") else [step]
        flat += _flat(inner) if hasattr(step, "steps") else inner
    return [step for step in flat if step is not None and not isinstance(step, str)]


def _threshold(model: Any, positive: int) -> float:
    """From which probability of the class at `positive` on the model predicts it."""
    if "predict_proba" not in model._get_response_method():
        raise CannotCompile(f"{type(model).__name__}: a threshold on decision_function")
    if hasattr(model, "best_threshold_"):
        label, value = model._curve_scorer._get_pos_label(), float(model.best_threshold_)
    else:
        label, value = model.pos_label, 0.5 if model.threshold == "auto" else float(model.threshold)
    classes = list(model.classes_)
    where = len(classes) - 1 if label is None else classes.index(label)
    if where == positive % len(classes):
        return value
    # The other class from `value` on: this one from anywhere above the rest.
    return math.nextafter(1.0 - value, math.inf)
