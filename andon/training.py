"""Fit a pipeline, score it, and check that it learned something."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andon.compare import better_than
from andon.errors import DataError, LineError
from andon.metrics import METRICS, Task
from andon.verdict import Outcome, Verdict

Array = NDArray[Any]


@dataclass(frozen=True)
class Outputs:
    """What a model says of n rows; `scores` is the positive class' probability or the value.

    `labels` (n,) is None for regression. `scores` (n,) is the highest probability for multiclass.
    """

    scores: NDArray[np.float64]
    labels: Array | None

    def of_kind(self, uses: str) -> Array:
        """The output that a metric uses: `probability`, `value` or `label`."""
        if uses != "label":
            return self.scores
        if self.labels is None:
            raise LineError("a regression has no labels")
        return self.labels


def classes_of(y: Array, task: Task, positive: str | int | bool | None) -> tuple[list[Any], int]:
    """The classes in sorted order, and the index of the positive one (-1 unless binary).

    Raises DataError if their number does not fit the task or the positive one is not among them.
    """
    if task == "regression":
        return [], -1
    classes = sorted(set(y.tolist()))
    if len(classes) < 2 or (task == "binary" and len(classes) != 2):
        wanted = "2" if task == "binary" else "at least 2"
        raise DataError(f"target: found {len(classes)} classes {classes[:5]}, wanted {wanted}")
    if task == "multiclass":
        return classes, -1
    if positive is None:
        return classes, 1
    if positive not in classes:
        raise DataError(f"positive: found {positive!r}, the target has {classes}")
    return classes, classes.index(positive)


def truth(y: Array, metric: str, positive: Any) -> Array:
    """The target as a metric wants it: 1 and 0 where it uses a probability."""
    if METRICS[metric].uses == "probability":
        return np.asarray(y == positive, dtype=float)
    is_label = METRICS[metric].uses == "label"
    return y if is_label else np.asarray(y, dtype=float)


def score(metric: str, y: Array, positive: Any, said: Outputs) -> float:
    """A metric's value on rows: the one place where training asks for one."""
    info = METRICS[metric]
    return info.of(truth(y, metric, positive), said.of_kind(info.uses))


def scores_of(task: Task, y: Array, positive: Any, said: Outputs) -> dict[str, float]:
    """Every metric of a task."""
    names = (name for name, info in METRICS.items() if task in info.tasks)
    return {name: score(name, y, positive, said) for name in names}


def seeded(pipeline: Any, seed: int) -> list[str]:
    """Give every `random_state` that is None the seed; returns their names."""
    given = pipeline.get_params(deep=True)
    open_ = [it for it in given if it.rpartition("__")[2] == "random_state" and given[it] is None]
    if open_:
        pipeline.set_params(**dict.fromkeys(open_, seed))
    return sorted(open_)


def demand_estimator(pipeline: Any) -> None:
    """Raises LineError for what is no scikit-learn estimator."""
    if not all(hasattr(pipeline, it) for it in ("fit", "predict", "get_params", "set_params")):
        raise LineError(
            f"pipeline.py: pipeline() returned {type(pipeline).__name__}, "
            "expected a scikit-learn estimator or pipeline"
        )


def fit(pipeline: Any, frame: Any, y: Array) -> Any:
    """Fit it; whatever the project's code raises becomes an error that names the cause."""
    demand_estimator(pipeline)
    with blaming_the_pipeline("be fitted"):
        pipeline.fit(frame, y)
    return pipeline


def outputs(model: Any, frame: Any, task: Task, positive: int) -> Outputs:
    """Score rows; (n, columns) in, (n,) out."""
    with blaming_the_pipeline("score rows"):
        if task == "regression":
            return Outputs(np.asarray(model.predict(frame), dtype=float).reshape(-1), None)
        probabilities = np.asarray(model.predict_proba(frame), dtype=float)
        labels = np.asarray(model.predict(frame))  # not always the likeliest: thresholds are tuned
    if task == "binary":
        return Outputs(probabilities[:, positive], labels)
    return Outputs(probabilities.max(axis=1), labels)


@contextmanager
def blaming_the_pipeline(to: str) -> Iterator[None]:
    """The project's own code may raise anything; people need its name and what it was at."""
    try:
        yield
    except Exception as error:
        raise LineError(f"the pipeline could not {to}: {type(error).__name__}: {error}") from error


def checks(
    metric: str, y_train: Array, y_test: Array, said: Outputs, seed: int = 0
) -> list[Verdict]:
    """Is what the model says finite, and better than a baseline that never looks at the row?

    `y_train` and `y_test` are in the metric's form (see `truth`).
    """
    info, n = METRICS[metric], len(y_test)
    if n == 0:
        raise DataError("no held-out rows: the data is too small for split.share")
    finite = bool(np.isfinite(said.scores).all())
    constant = baseline(metric, y_train, n)
    better = better_than(metric, y_test, constant, said.of_kind(info.uses), seed=seed)
    return [
        Verdict(
            check="finite predictions",
            outcome=Outcome.PASS if finite else Outcome.FAIL,
            n=n,
            detail=f"{int((~np.isfinite(said.scores)).sum())} of {n} are not finite",
        ),
        better,
    ]


def baseline(metric: str, y_train: Array, n: int) -> Array:
    """The best constant for a metric."""
    if METRICS[metric].uses == "label":
        values, counts = np.unique(y_train, return_counts=True)
        return np.full(n, values[counts.argmax()], dtype=y_train.dtype)
    return np.full(n, float(np.median(y_train) if metric == "mae" else np.mean(y_train)))
