"""Binary: from which score on is the answer yes, if wrong answers cost?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from andon import evidence
from andon.errors import DataError, LineError
from andon.metrics import METRICS, MetricInfo, mean, rows_of
from andon.paired import gain
from andon.resampling import of_means
from andon.spec import Costs

Array = NDArray[Any]
FOLDS = 5
POINTS = 200  # of a curve


def cheapest(y: Array, score: Array, costs: Costs) -> float:
    """The threshold with the least cost on these rows: `score >= threshold` is a yes.

    `y` (n,) is 1 or 0. In the middle between two neighbouring scores; of several the middle one.
    """
    values, yes_cost = _steps(y, score, costs)
    if values[-1] >= 1:  # no threshold is above it
        yes_cost = yes_cost[:-1]
    best = np.flatnonzero(yes_cost <= yes_cost.min() + 1e-9 * max(1.0, abs(float(yes_cost.min()))))
    place = int(best[len(best) // 2])
    if place == len(values):  # never a yes
        return float(min(1.0, (values[-1] + 1.0) / 2))
    return float(values[0] / 2 if place == 0 else (values[place - 1] + values[place]) / 2)


def _steps(y: Array, score: Array, costs: Costs) -> tuple[Array, Array]:
    """Distinct scores in order, and the total cost with a threshold at each, and above all."""
    values, place = np.unique(score, return_inverse=True)
    positives = np.bincount(place, y, len(values))
    negatives = np.bincount(place, 1 - y, len(values))
    missed = np.concatenate([[0.0], np.cumsum(positives)])
    alarms = negatives.sum() - np.concatenate([[0.0], np.cumsum(negatives)])
    return values, costs.false_negative * missed + costs.false_positive * alarms


def curve(y: Array, score: Array, costs: Costs) -> list[evidence.Point]:
    """What holds at up to POINTS thresholds, from the highest to the lowest."""
    order = np.sort(np.unique(score))[::-1]
    picked = order[np.unique(np.linspace(0, len(order) - 1, min(POINTS, len(order))).astype(int))]
    yes, no = np.sort(score[y > 0.5]), np.sort(score[y <= 0.5])
    if len(yes) == 0 or len(no) == 0:
        return []
    hits, alarms = (len(it) - np.searchsorted(it, picked) for it in (yes, no))
    cost = costs.false_negative * (len(yes) - hits) + costs.false_positive * alarms
    return [
        evidence.Point(
            threshold=float(threshold),
            recall=float(hit / len(yes)),
            false_positive_rate=float(alarm / len(no)),
            precision=float(hit / (hit + alarm)) if hit + alarm else None,
            cost=float(it / len(y)),
        )
        for threshold, hit, alarm, it in zip(picked, hits, alarms, cost, strict=True)
    ]


def cost_metric(costs: Costs) -> MetricInfo:
    """The mean cost of a row, of labels 1 and 0; less is better."""

    def rows(y: Array, label: Array) -> NDArray[np.float64]:
        alarm = (label > 0.5) & (y <= 0.5)
        missed = (label <= 0.5) & (y > 0.5)
        found = costs.false_positive * alarm + costs.false_negative * missed
        return np.asarray(found, dtype=float)[:, None]

    tasks = METRICS["roc_auc"].tasks
    return MetricInfo(tasks, False, "label", rows_of(rows, mean), "cost", rows, mean)


def judged(
    y: Array,
    score: Array,
    label: Array,
    costs: Costs,
    *,
    chosen: float | None,
    champion: Array | None,
    seed: int,
) -> evidence.Thresholds:
    """The expected cost of a row with the served labels, against 0.5 and against the champion's.

    All (n,); labels are 1 and 0.
    """
    info, half = cost_metric(costs), (score >= 0.5).astype(float)
    return evidence.Thresholds(
        false_positive=costs.false_positive,
        false_negative=costs.false_negative,
        chosen=chosen,
        curve=curve(y, score, costs),
        cost=_level(info, y, label, seed),
        at_half=_level(info, y, half, seed),
        saved=_saved(info, y, half, label, seed),
        saved_champion=None if champion is None else _saved(info, y, champion, label, seed),
    )


def _level(info: MetricInfo, y: Array, label: Array, seed: int) -> evidence.Interval:
    assert info.rows is not None  # noqa: S101 - it is a mean of rows
    law = of_means(info.rows(y, label), mean, seed)
    return evidence.Interval(info.of(y, label), *(law.interval() if law else (None, None)))


def _saved(info: MetricInfo, y: Array, before: Array, after: Array, seed: int) -> evidence.Interval:
    found = gain(info, y, before, after, seed=seed)
    if found is None:
        return evidence.Interval(None)
    return evidence.Interval(found.value, *found.law.interval())


def with_threshold(model: Any, frame: Any, y: Array, costs: Costs, positive: Any, seed: int) -> Any:
    """The fitted model, with the cheapest threshold on out-of-fold scores of the same rows.

    Only rows to learn from may be given. What comes back is scikit-learn's FixedThresholdClassifier
    around the model as it is, which is served as it stands. Raises DataError if a class has too few
    rows for folds, LineError if the pipeline cannot be fitted on a part of the rows.
    """
    from sklearn.base import clone
    from sklearn.frozen import FrozenEstimator
    from sklearn.model_selection import (
        FixedThresholdClassifier,
        StratifiedKFold,
        cross_val_predict,
    )

    yes = np.asarray(y == positive, dtype=float)
    fewest = int(min(yes.sum(), len(yes) - yes.sum()))
    if fewest < 2:
        raise DataError(f"threshold: a class has {fewest} rows to learn from, wanted at least 2")
    folds = StratifiedKFold(min(FOLDS, fewest), shuffle=True, random_state=seed)
    try:
        scores = cross_val_predict(clone(model), frame, y, cv=folds, method="predict_proba")
    except Exception as error:  # the project's own code may raise anything
        what = f"{type(error).__name__}: {error}"
        raise LineError(f"threshold: the pipeline could not be fitted on folds: {what}") from error
    place = list(model.classes_).index(positive)
    threshold = cheapest(yes, scores[:, place], costs)
    fixed = FixedThresholdClassifier(
        FrozenEstimator(model),
        threshold=threshold,
        pos_label=positive,
        response_method="predict_proba",
    )
    return fixed.fit(frame, y)


def threshold_of(model: Any) -> float | None:
    """The threshold that `with_threshold` chose; None for any other model."""
    if type(model).__name__ != "FixedThresholdClassifier":
        return None
    return None if model.threshold == "auto" else float(model.threshold)
