"""scikit-learn's scorers by name, as metrics; and what may stand in `metric.name`.

The names stand here, so that a spec is read without importing scikit-learn; a test compares them
with `sklearn.metrics.get_scorer_names()`. Scorers that need several labels a row, or that measure
clusterings, are left out.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andon.metrics import METRICS, Combine, MetricInfo, Rows, Task, Uses, mean, rows_of

FILE = "metrics.py"
# What a function of the project may be given; the first is what it gets if nothing is said.
USES: dict[Task, tuple[Uses, ...]] = {
    "binary": ("probability", "label"),
    "multiclass": ("label", "probabilities"),
    "regression": ("value",),
}

_BINARY_LABEL = (
    "f1 jaccard precision recall positive_likelihood_ratio neg_negative_likelihood_ratio"
)
_ANY_LABEL = (
    "balanced_accuracy matthews_corrcoef "
    "f1_macro f1_micro f1_weighted jaccard_macro jaccard_micro jaccard_weighted "
    "precision_macro precision_micro precision_weighted recall_macro recall_micro recall_weighted"
)
_PROBABILITY = "average_precision"
_PROBABILITIES = "roc_auc_ovr roc_auc_ovr_weighted roc_auc_ovo roc_auc_ovo_weighted top_k_accuracy"
_ANY_PROBABILITY = "neg_log_loss neg_brier_score d2_log_loss_score d2_brier_score"
_VALUE = (
    "d2_absolute_error_score explained_variance neg_max_error neg_mean_absolute_error "
    "neg_mean_absolute_percentage_error neg_mean_gamma_deviance neg_mean_poisson_deviance "
    "neg_mean_squared_error neg_mean_squared_log_error neg_median_absolute_error "
    "neg_root_mean_squared_error neg_root_mean_squared_log_error"
)

SCORERS: dict[str, dict[str, Uses]] = {
    "binary": {
        **dict.fromkeys(f"{_BINARY_LABEL} {_ANY_LABEL}".split(), "label"),
        **dict.fromkeys(f"{_PROBABILITY} {_ANY_PROBABILITY}".split(), "probability"),
    },
    "multiclass": {
        **dict.fromkeys(_ANY_LABEL.split(), "label"),
        **dict.fromkeys(f"{_PROBABILITIES} {_ANY_PROBABILITY}".split(), "probabilities"),
    },
    "regression": dict.fromkeys(_VALUE.split(), "value"),
}


def is_function(name: str) -> bool:
    """Whether a metric's name is that of a function of the project: `metrics.py:profit`."""
    file, _, function = name.partition(":")
    return file == FILE and function.isidentifier()


def own(task: Task) -> list[str]:
    """The metrics of this project for a task."""
    return [name for name, it in METRICS.items() if task in it.tasks]


def problem(name: str, task: Task) -> str | None:
    """What is wrong with a metric's name, and what was perhaps meant; None if nothing is."""
    allowed = [*own(task), *SCORERS[task]]
    if name in allowed or is_function(name):
        return None
    likely = get_close_matches(name.lower(), allowed, n=3, cutoff=0.6)
    meant = f"; did you mean {' or '.join(likely)}?" if likely else ""
    return (
        f"found {name!r}, allowed for task {task!r}: {', '.join(sorted(own(task)))}, "
        f"a name of scikit-learn's such as {', '.join(list(SCORERS[task])[:3])}, "
        f"or {FILE}:FUNCTION{meant}"
    )


def named(name: str, task: Task) -> MetricInfo:
    """A metric by its name, of this project or of scikit-learn; KeyError if there is none."""
    if name in METRICS and task in METRICS[name].tasks:
        return METRICS[name]
    uses = SCORERS[task][name]
    fast = _FAST.get((name, uses)) or (_FAST_BINARY.get(name) if task == "binary" else None)
    tasks = frozenset({task})
    if fast is not None:
        rows, combine = fast
        return MetricInfo(tasks, True, uses, rows_of(rows, combine), name, rows, combine)
    of = _QUICK.get(name) or functools.partial(_scored, name, uses)
    return MetricInfo(tasks, True, uses, of, name)


def _one_against_rest(y: NDArray[Any], p: NDArray[Any], *, weighted: bool) -> float:
    """Each class' ROC AUC; as quick as ranks are, for a resample asks it of every class."""
    places, counts = np.unique(y, return_counts=True)
    if len(places) < p.shape[1]:
        return float("nan")
    of = METRICS["roc_auc"].of
    found = [of(y == place, p[:, int(place)]) for place in places]
    return float(np.average(found, weights=counts if weighted else None))


_QUICK = {
    "roc_auc_ovr": functools.partial(_one_against_rest, weighted=False),
    "roc_auc_ovr_weighted": functools.partial(_one_against_rest, weighted=True),
}


def _scored(name: str, uses: Uses, y: NDArray[Any], output: NDArray[Any]) -> float:
    """A scorer's value; NaN where scikit-learn says that it is undefined."""
    from sklearn import config_context
    from sklearn.metrics import get_scorer

    said = _said()(uses, output)
    with warnings.catch_warnings(), config_context(skip_parameter_validation=True):
        warnings.simplefilter("ignore")
        try:
            return float(get_scorer(name)(said, np.zeros((len(y), 1)), y))
        except (ValueError, ZeroDivisionError):
            return float("nan")


@functools.cache
def _said() -> Callable[[Uses, NDArray[Any]], Any]:
    """An estimator that has already said what it says: what a scorer wants."""
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

    class Values(RegressorMixin, BaseEstimator):  # type: ignore[misc]
        def __init__(self, output: Any = None) -> None:
            self.output = output

        def predict(self, _: Any) -> Any:
            return self.output

    class Classes(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
        def __init__(self, output: Any = None, probabilities: Any = None) -> None:
            self.output, self.probabilities = output, probabilities
            self.classes_ = np.arange(2 if probabilities is None else probabilities.shape[1])

        def predict(self, _: Any) -> Any:
            return self.output

        def predict_proba(self, _: Any) -> Any:
            return self.probabilities

    def make(uses: Uses, output: NDArray[Any]) -> Any:
        if uses == "value":
            return Values(output)
        if uses == "label":
            return Classes(output)
        both = output if output.ndim == 2 else np.column_stack([1 - output, output])
        return Classes(both.argmax(axis=1), both)

    return make


def _minus(combine: Combine) -> Combine:
    return lambda means: -combine(means)


def _log_loss_of_classes(y: NDArray[Any], p: NDArray[Any]) -> NDArray[np.float64]:
    chosen = p[np.arange(len(y)), y.astype(int)] / p.sum(axis=1)
    rows: NDArray[np.float64] = -np.log(np.clip(chosen, np.finfo(float).eps, 1.0))[:, None]
    return rows


def _percentage(y: NDArray[Any], value: NDArray[Any]) -> NDArray[np.float64]:
    rows: NDArray[np.float64] = (np.abs(value - y) / np.maximum(np.abs(y), np.finfo(float).eps))[
        :, None
    ]
    return rows


def _cells(y: NDArray[Any], label: NDArray[Any]) -> NDArray[np.float64]:
    """The cell of a 2 by 2 confusion matrix that a row is in: tn, fp, fn, tp."""
    where = 2 * (y > 0.5) + (label > 0.5)
    return np.asarray(where[:, None] == np.arange(4), dtype=float)


def _share(of: NDArray[np.float64], rest: NDArray[np.float64]) -> NDArray[np.float64]:
    """`of` in both together; 0 where there is nothing, as scikit-learn has it."""
    both = of + rest
    found: NDArray[np.float64] = np.where(both > 0, of / np.where(both > 0, both, 1.0), 0.0)
    return found


def _balanced(m: NDArray[np.float64]) -> NDArray[np.float64]:
    """A class that is not there has no share in it."""
    tn, fp, fn, tp = (m[..., k] for k in range(4))
    two = np.where((tp + fn > 0) & (tn + fp > 0), 2.0, 1.0)
    found: NDArray[np.float64] = (_share(tp, fn) + _share(tn, fp)) / two
    return found


def _matthews(m: NDArray[np.float64]) -> NDArray[np.float64]:
    tn, fp, fn, tp = (m[..., k] for k in range(4))
    below = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    found: NDArray[np.float64] = np.where(
        below > 0, (tp * tn - fp * fn) / np.where(below > 0, below, 1.0), 0.0
    )
    return found


def _rows(name: str) -> Rows:
    found = METRICS[name].rows
    assert found is not None  # noqa: S101 - these are means of rows
    return found


# Means of rows: their intervals are quick, by matrix operations.
_FAST: dict[tuple[str, str], tuple[Rows, Combine]] = {
    ("neg_log_loss", "probability"): (_rows("log_loss"), _minus(mean)),
    ("neg_log_loss", "probabilities"): (_log_loss_of_classes, _minus(mean)),
    ("neg_brier_score", "probability"): (_rows("brier"), _minus(mean)),
    ("neg_mean_absolute_error", "value"): (_rows("mae"), _minus(mean)),
    ("neg_mean_squared_error", "value"): (_rows("rmse"), _minus(mean)),
    ("neg_root_mean_squared_error", "value"): (
        _rows("rmse"),
        _minus(lambda means: np.sqrt(mean(means))),
    ),
    ("neg_mean_absolute_percentage_error", "value"): (_percentage, _minus(mean)),
    ("f1", "label"): (_cells, lambda m: _share(2 * m[..., 3], m[..., 1] + m[..., 2])),
    ("jaccard", "label"): (_cells, lambda m: _share(m[..., 3], m[..., 1] + m[..., 2])),
    ("precision", "label"): (_cells, lambda m: _share(m[..., 3], m[..., 1])),
    ("recall", "label"): (_cells, lambda m: _share(m[..., 3], m[..., 2])),
}
_FAST_BINARY: dict[str, tuple[Rows, Combine]] = {
    "balanced_accuracy": (_cells, _balanced),
    "matthews_corrcoef": (_cells, _matthews),
}  # fmt: skip
