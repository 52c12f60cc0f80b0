"""Checks on a fitted model: does it answer as a model must, learn, and repeat itself?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andon import training
from andon.errors import LineError
from andon.metrics import Task
from andon.verdict import Outcome, Verdict

Array = NDArray[Any]
Fit = Callable[[Array], Any]  # rows to learn from, as their numbers (n,) → a fitted model
SUM_TOLERANCE = 1e-5  # of probabilities, for models that work in float32
TINY = (200, 1_000, 5_000)  # rows: few for most models, more for those that want more
SAME = {"rtol": 1e-7, "atol": 1e-9}  # sums of floats in another order
_HISTORIES = ("loss_curve_", "validation_scores_", "train_score_", "validation_score_", "n_iter_")
_DEEPEST, _MOST = 6, 2_000  # where estimators are looked for


def answers(model: Any, frame: Any, task: Task, classes: Sequence[Any]) -> list[Verdict]:
    """Shape, classes and probabilities of what a model says of n rows.

    If one fails, its scores mean nothing. Raises LineError if it cannot score at all.
    """
    n = len(frame)
    with training.blaming_the_pipeline("score rows"):
        labels = np.asarray(model.predict(frame))
        if task == "regression":
            flat = labels.shape in ((n,), (n, 1)) and np.issubdtype(labels.dtype, np.number)
            return [_shape(flat, f"{n:,} numbers", f"{labels.dtype} {labels.shape}", n)]
        probabilities = np.asarray(model.predict_proba(frame))
    known = [getattr(it, "item", lambda it=it: it)() for it in getattr(model, "classes_", ())]
    right = labels.shape == (n,) and probabilities.shape == (n, len(classes))
    right = right and known == list(classes)
    wanted = f"{n:,} labels, and probabilities of {list(classes)[:5]}"
    found = f"labels {labels.shape}, probabilities {probabilities.shape} of {known[:5]}"
    shape = _shape(right, wanted, found, n)
    return [shape, _probabilities(probabilities, n)] if right else [shape]


def _shape(right: bool, wanted: str, found: str, n: int) -> Verdict:
    outcome = Outcome.PASS if right else Outcome.FAIL
    detail = wanted if right else f"wanted {wanted}; found {found}"
    return Verdict(check="right shape", outcome=outcome, n=n, detail=detail)


def _probabilities(found: Array, n: int) -> Verdict:
    finite = np.where(np.isfinite(found), found, 0.0)  # those are counted by another check
    outside = float(max(0.0, -finite.min(), finite.max() - 1))
    off = float(np.abs(finite.sum(axis=1) - 1)[np.isfinite(found).all(axis=1)].max(initial=0.0))
    good = outside <= SUM_TOLERANCE and off <= SUM_TOLERANCE
    return Verdict(
        check="probabilities",
        outcome=Outcome.PASS if good else Outcome.FAIL,
        value=max(outside, off),
        limit=SUM_TOLERANCE,
        n=n,
        detail=f"farthest outside of 0 to 1: {outside:.2g}; farthest from a sum of 1: {off:.2g}",
    )


def learns_tiny(fit: Fit, frame: Any, y: Array, *, of: training.Measure, task: Task) -> Verdict:
    """On a few rows a model must do better on those same rows than the best constant.

    Models that want many rows (large leaves, inner folds) get more in steps.
    """
    check, detail, seen, info = "learns a few rows", "", 0, of.info
    for most in TINY:
        rows = some_rows(y, most, classes=bool(of.classes))
        if len(rows) == seen:
            break
        seen = len(rows)
        part, truth = frame.iloc[rows], of.truth(y[rows])
        try:
            said = training.outputs(fit(rows), part, task, of.positive)
        except LineError as error:
            detail = f"could not be fitted on {seen} rows: {error}"
            outcome = Outcome.INCONCLUSIVE
            continue
        constant = info.of(truth, training.constant(info, truth, truth))
        found = info.of(truth, of.said(said))
        detail = (
            f"{info.name} {found:.4f} on {seen} rows learned from, a constant gets {constant:.4f}"
        )
        outcome = Outcome.FAIL
        if info.sign * (found - constant) > 0:
            return Verdict(
                check=check, outcome=Outcome.PASS, value=found, limit=constant, n=seen,
                detail=detail,
            )  # fmt: skip
    return Verdict(check=check, outcome=outcome, n=seen, detail=detail)


def some_rows(y: Array, most: int, *, classes: bool) -> Array:
    """Numbers of at most about `most` rows, balanced where there are classes."""
    return balanced(y, most) if classes else _spread(len(y), most)


def balanced(y: Array, most: int) -> Array:
    """Numbers of at most `most` rows, as many of each class as there are; evenly from all."""
    labels = np.unique(y)
    each = max(2, most // len(labels))
    of_each = (np.flatnonzero(y == it) for it in labels)
    return np.sort(np.concatenate([rows[_spread(len(rows), each)] for rows in of_each]))


def _spread(n: int, most: int) -> Array:
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(int))


def repeats(first: training.Outputs, second: training.Outputs, rows: int) -> Verdict:
    """Two fits on the same rows with the same seed must say the same of n rows."""
    apart = np.abs(first.scores - second.scores)
    same = bool(np.allclose(first.scores, second.scores, **SAME, equal_nan=True))
    if first.labels is not None and second.labels is not None:
        same = same and bool(np.array_equal(first.labels, second.labels))
    detail = f"fitted twice on {rows:,} rows with one seed: "
    detail += "equal predictions" if same else f"predictions differ by up to {apart.max():.3g}"
    return Verdict(
        check="deterministic",
        outcome=Outcome.PASS if same else Outcome.FAIL,
        value=float(apart.max()),
        limit=0.0,
        n=len(first.scores),
        detail=detail,
    )


def converged(warned: Sequence[str], elsewhere: int) -> Verdict:
    """What estimators say of their own convergence; told, and not a reason to stop.

    `warned` is of the fit that is kept; `elsewhere` the number of warnings in the search.
    """
    kinds = sorted(set(warned))
    said = [f"the fit that is kept: {'; '.join(kinds)[:500]}"] if kinds else []
    said += [f"the search: {elsewhere} times"] if elsewhere else []
    detail = f"warning: did not converge: {'; '.join(said)}" if said else "no estimator complained"
    evidence = {"warnings": kinds, "in_search": elsewhere} if said else {}
    return Verdict(check="converged", outcome=Outcome.PASS, detail=detail, evidence=evidence)


def demand_finite(model: Any, where: str) -> None:
    """Raises LineError if the loss or scores that an estimator kept of its fit are not finite."""
    for estimator in _estimators(model):
        for name in _HISTORIES:
            values = vars(estimator).get(name)
            if values is None:
                continue
            try:
                finite = np.isfinite(np.asarray(values, dtype=float))
            except (TypeError, ValueError):  # a history of another kind
                continue
            if not finite.all():
                at = int((~finite.ravel()).argmax())
                raise LineError(
                    f"{where}: {name} of {type(estimator).__name__} is "
                    f"{np.asarray(values, dtype=float).ravel()[at]} at {at + 1} of {finite.size}"
                )


def losses(model: Any) -> list[float]:
    """The loss of each iteration of the last estimator that kept it; for a chart."""
    found = [vars(it)["loss_curve_"] for it in _estimators(model) if "loss_curve_" in vars(it)]
    return [float(it) for it in found[-1]] if found else []


def _estimators(model: Any) -> Iterator[Any]:
    """The estimator and those inside of it, breadth first, up to a bound."""
    waiting: list[tuple[Any, int]] = [(model, 0)]
    seen: set[int] = set()
    while waiting and len(seen) < _MOST:
        it, depth = waiting.pop(0)
        if id(it) in seen or depth > _DEEPEST:
            continue
        seen.add(id(it))
        inside: Iterable[Any] = ()
        if isinstance(it, dict):
            inside = it.values()
        elif isinstance(it, list | tuple):
            inside = it
        elif _is_estimator(it):
            yield it
            inside = vars(it).values()
        waiting += [(each, depth + 1) for each in inside if _may_hold(each)]


def _may_hold(it: Any) -> bool:
    return isinstance(it, list | tuple | dict) or _is_estimator(it)


def _is_estimator(it: Any) -> bool:
    return hasattr(it, "get_params") and hasattr(it, "__dict__") and not isinstance(it, type)
