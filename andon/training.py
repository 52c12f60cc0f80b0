"""Fit a pipeline, score it, and check that it learned something."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andon.compare import better_than
from andon.errors import DataError, LineError
from andon.metrics import METRICS, MetricInfo, Task, known
from andon.verdict import Outcome, Verdict

Array = NDArray[Any]


@dataclass(frozen=True)
class Outputs:
    """What a model says of n rows; `scores` is the positive class' probability or the value.

    `labels` (n,) is None for regression. `scores` (n,) is the highest probability for multiclass.
    `probabilities` (n, classes), in the classes' sorted order, is None for regression.
    """

    scores: NDArray[np.float64]
    labels: Array | None
    probabilities: NDArray[np.float64] | None = None

    def of_kind(self, uses: str, positive: Any = None) -> Array:
        """The output that a metric uses (see `MetricInfo`); `positive`: binary, that label."""
        if uses == "label":
            return encoded(self.labels, positive)
        if uses != "probabilities":
            return self.scores
        if self.probabilities is None:
            raise LineError("a regression has no probabilities")
        return self.probabilities

    def part(self, chosen: Array) -> Outputs:
        """Some of the rows."""
        labels, both = (
            None if it is None else it[chosen] for it in (self.labels, self.probabilities)
        )
        return Outputs(self.scores[chosen], labels, both)


def encoded(labels: Array | None, positive: Any) -> Array:
    """Labels as metrics take them: 1 for the positive one and 0, if there is one."""
    if labels is None:
        raise LineError("a regression has no labels")
    return labels if positive is None else np.asarray(labels == positive, dtype=float)


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


def truth(y: Array, metric: str | MetricInfo, positive: Any, classes: Sequence[Any] = ()) -> Array:
    """The target as a metric wants it (see `MetricInfo`); `positive` is None unless binary.

    `classes` in sorted order are needed for `probabilities`; raises DataError for other labels.
    """
    uses = known(metric).uses
    if uses == "value":
        return np.asarray(y, dtype=float)
    if uses != "probabilities":
        return encoded(y, positive)
    place = {label: at for at, label in enumerate(classes)}
    unknown = sorted({str(it) for it in y.tolist() if it not in place})
    if unknown:
        raise DataError(f"target: classes that were never learned: {', '.join(unknown[:5])}")
    return np.asarray([place[it] for it in y.tolist()], dtype=np.int64)


@dataclass(frozen=True)
class Measure:
    """A metric, and the classes (sorted, none for a regression) that its rows are of."""

    info: MetricInfo
    classes: Sequence[Any] = ()
    positive: int = -1

    @property
    def label(self) -> Any:
        """The positive class; None unless binary."""
        return self.classes[self.positive] if self.positive >= 0 else None

    def truth(self, y: Array) -> Array:
        """Labels or values as the metric wants them."""
        return truth(y, self.info, self.label, self.classes)

    def said(self, said: Outputs) -> Array:
        """A model's output as the metric wants it."""
        return said.of_kind(self.info.uses, self.label)

    def score(self, y: Array, said: Outputs) -> float:
        """The metric's value; NaN where it is undefined."""
        return self.info.of(self.truth(y), self.said(said))


def measured(of: Measure, task: Task, y: Array, said: Outputs) -> dict[str, float]:
    """The metric that decides, and all of ours for this task, by name.

    Raises LineError if a project's own function gives NaN for these rows: all there are.
    """
    ours = [it for it in METRICS.values() if task in it.tasks and it.name != of.info.name]
    found = {it.name: replace(of, info=it).score(y, said) for it in (of.info, *ours)}
    if ":" in of.info.name and np.isnan(found[of.info.name]):
        raise LineError(f"{of.info.name} returned NaN for all {len(y)} held-out rows")
    return found


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
        return Outputs(probabilities[:, positive], labels, probabilities)
    return Outputs(probabilities.max(axis=1), labels, probabilities)


@contextmanager
def blaming_the_pipeline(to: str) -> Iterator[None]:
    """The project's own code may raise anything; people need its name and what it was at."""
    try:
        yield
    except Exception as error:
        raise LineError(f"the pipeline could not {to}: {type(error).__name__}: {error}") from error


def checks(
    of: Measure, y_train: Array, y_test: Array, said: Outputs, *, seed: int = 0
) -> list[Verdict]:
    """Is what the model says finite, and better than a baseline that never looks at the row?

    `y_train` and `y_test` are labels or values.
    """
    n = len(y_test)
    if n == 0:
        raise DataError("no held-out rows: the data is too small for split.share")
    finite = bool(np.isfinite(said.scores).all())
    learned, truth_ = of.truth(y_train), of.truth(y_test)
    always = constant(of.info, learned, truth_)
    better = (
        better_than(of.info, truth_, always, of.said(said), seed=seed)
        if finite
        else Verdict(check="better than a constant", outcome=Outcome.INCONCLUSIVE, n=n)
    )
    return [
        Verdict(
            check="finite predictions",
            outcome=Outcome.PASS if finite else Outcome.FAIL,
            n=n,
            detail=f"{int((~np.isfinite(said.scores)).sum())} of {n} are not finite",
        ),
        better,
    ]


def constant(info: MetricInfo, y_train: Array, y_test: Array) -> Array:
    """What a model says of the rows of `y_test` that always says the same, learned from `y_train`.

    The commonest label, the classes' shares, or the better one of mean and median; both in the
    metric's form (see `truth`).
    """
    n = len(y_test)
    if info.uses == "value":
        said = [np.full(n, float(of(y_train))) for of in (np.mean, np.median)]
        return max(said, key=lambda it: info.sign * info.of(y_test, it))
    if info.uses == "probability":
        return np.full(n, float(np.mean(y_train)))
    if info.uses == "probabilities":
        return np.tile(np.bincount(y_train) / len(y_train), (n, 1))
    labels, counts = np.unique(y_train, return_counts=True)
    return np.full(n, labels[counts.argmax()], dtype=y_train.dtype)
