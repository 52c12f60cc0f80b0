"""Metrics by name: which task each is for, and which direction is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Task = Literal["binary", "multiclass", "regression"]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class MetricInfo:
    """`of` takes (y_true, y_output) and returns the metric's value.

    `uses` says what y_output is: `probability` (n,) of the positive class, `label` (n,) or
    `value` (n,).
    """

    tasks: frozenset[str]
    greater_is_better: bool
    uses: Literal["probability", "label", "value"]
    of: Callable[[NDArray[Any], NDArray[Any]], float]


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


def _log_loss(y: NDArray[Any], p: NDArray[Any]) -> float:
    clipped = np.clip(p, 1e-15, 1 - 1e-15)
    return float(-np.mean(np.where(y.astype(bool), np.log(clipped), np.log1p(-clipped))))


def _brier(y: NDArray[Any], p: NDArray[Any]) -> float:
    return float(np.mean((p - y.astype(float)) ** 2))


def _accuracy(y: NDArray[Any], label: NDArray[Any]) -> float:
    return float(np.mean(y == label))


def _rmse(y: NDArray[Any], value: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean((value - y) ** 2)))


def _mae(y: NDArray[Any], value: NDArray[Any]) -> float:
    return float(np.mean(np.abs(value - y)))


def _r2(y: NDArray[Any], value: NDArray[Any]) -> float:
    total = float(np.sum((y - np.mean(y)) ** 2))
    return float("nan") if total == 0 else 1.0 - float(np.sum((y - value) ** 2)) / total


_CLASSES = frozenset({"binary", "multiclass"})
_BINARY = frozenset({"binary"})
_NUMBER = frozenset({"regression"})

METRICS: dict[str, MetricInfo] = {
    "roc_auc": MetricInfo(_BINARY, True, "probability", _roc_auc),
    "log_loss": MetricInfo(_BINARY, False, "probability", _log_loss),
    "brier": MetricInfo(_BINARY, False, "probability", _brier),
    "accuracy": MetricInfo(_CLASSES, True, "label", _accuracy),
    "rmse": MetricInfo(_NUMBER, False, "value", _rmse),
    "mae": MetricInfo(_NUMBER, False, "value", _mae),
    "r2": MetricInfo(_NUMBER, True, "value", _r2),
}


def default_metric(task: Task) -> str:
    """The metric used where `model.yaml` names none."""
    return {"binary": "roc_auc", "multiclass": "accuracy", "regression": "rmse"}[task]
