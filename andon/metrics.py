"""Metrics by name: which task each is for, and which direction is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Task = Literal["binary", "multiclass", "regression"]
Uses = Literal["probability", "label", "value", "probabilities"]
Numbers = NDArray[np.float64]
Of = Callable[[NDArray[Any], NDArray[Any]], float]
Rows = Callable[[NDArray[Any], NDArray[Any]], Numbers]
Combine = Callable[[Numbers], Numbers]


@dataclass(frozen=True)
class MetricInfo:
    """`of` takes (y_true, y_output) and returns the metric's value; NaN where it is undefined.

    `uses` says what both are. `probability`: (n,) of the positive class, and y is 1 or 0. `label`:
    (n,); binary: 1 and 0, too. `value`: (n,). `probabilities`: (n, classes) in the sorted order of
    the classes, and y is their index.

    A metric that is a function of means over rows says so, since these are quick to resample:
    `rows` gives (n, k) numbers, and `combine` makes the value of their means (..., k).
    """

    tasks: frozenset[str]
    greater_is_better: bool
    uses: Uses
    of: Of
    name: str = ""
    rows: Rows | None = None
    combine: Combine | None = None

    @property
    def sign(self) -> float:
        """1 where greater is better, else -1."""
        return 1.0 if self.greater_is_better else -1.0


def rows_of(rows: Rows, combine: Combine) -> Of:
    """The metric that is `combine` of the means of `rows`."""

    def value(y: NDArray[Any], output: NDArray[Any]) -> float:
        if len(y) == 0:
            return float("nan")
        return float(combine(rows(y, output).mean(axis=0)))

    return value


def mean(means: Numbers) -> Numbers:
    """The only mean there is."""
    found: Numbers = means[..., 0]
    return found


def _roc_auc(y: NDArray[Any], score: NDArray[Any]) -> float:
    from scipy.stats import rankdata

    # Mann-Whitney U over n1*n0, average ranks for ties: the same value as sklearn's, and quicker
    # inside a bootstrap.
    positive = y.astype(bool)
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if n1 == 0 or n0 == 0:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def _log_loss(y: NDArray[Any], p: NDArray[Any]) -> Numbers:
    clipped = np.clip(p, 1e-15, 1 - 1e-15)
    rows: Numbers = -np.where(y.astype(bool), np.log(clipped), np.log1p(-clipped))[:, None]
    return rows


def _squares(y: NDArray[Any], said: NDArray[Any]) -> Numbers:
    rows: Numbers = ((said - y.astype(float)) ** 2)[:, None]
    return rows


def _distances(y: NDArray[Any], said: NDArray[Any]) -> Numbers:
    rows: Numbers = np.abs(said - y)[:, None]
    return rows


def _right(y: NDArray[Any], label: NDArray[Any]) -> Numbers:
    return np.asarray(y == label, dtype=float)[:, None]


def _root(means: Numbers) -> Numbers:
    found: Numbers = np.sqrt(means[..., 0])
    return found


def _moments(y: NDArray[Any], value: NDArray[Any]) -> Numbers:
    # About a typical value, so that the variance does not drown in a large mean.
    centred = y - np.median(y)
    return np.column_stack([(value - y) ** 2, centred, centred**2]).astype(float)


def _explained(means: Numbers) -> Numbers:
    total = means[..., 2] - means[..., 1] ** 2
    known = total > 1e-12 * np.maximum(means[..., 2], 1e-300)
    found: Numbers = np.where(known, 1.0 - means[..., 0] / np.where(known, total, 1.0), np.nan)
    return found


_CLASSES = frozenset({"binary", "multiclass"})
_BINARY = frozenset({"binary"})
_NUMBER = frozenset({"regression"})


def _of_means(
    name: str, tasks: frozenset[str], greater: bool, uses: Uses, rows: Rows, combine: Combine = mean
) -> MetricInfo:
    return MetricInfo(tasks, greater, uses, rows_of(rows, combine), name, rows, combine)


METRICS: dict[str, MetricInfo] = {
    it.name: it
    for it in (
        MetricInfo(_BINARY, True, "probability", _roc_auc, "roc_auc"),
        _of_means("log_loss", _BINARY, False, "probability", _log_loss),
        _of_means("brier", _BINARY, False, "probability", _squares),
        _of_means("accuracy", _CLASSES, True, "label", _right),
        _of_means("rmse", _NUMBER, False, "value", _squares, _root),
        _of_means("mae", _NUMBER, False, "value", _distances),
        _of_means("r2", _NUMBER, True, "value", _moments, _explained),
    )
}


def default_metric(task: Task) -> str:
    """The metric used where `model.yaml` names none."""
    return {"binary": "roc_auc", "multiclass": "accuracy", "regression": "rmse"}[task]


def known(metric: str | MetricInfo) -> MetricInfo:
    """A metric of ours by its name; one that is given as itself stays so."""
    return METRICS[metric] if isinstance(metric, str) else metric
