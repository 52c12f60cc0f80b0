"""How the score moves with one column, everything else as it is (Friedman 2001, section 8.2)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from andon.adapters.explaining import Subject
from andon.explanation import Dependence
from andon.training import Array
from serving.bundle import Column

if TYPE_CHECKING:
    import pandas as pd

POINTS = 15  # of a number's grid
CATEGORIES = 8
CLASSES = 4  # of a multiclass model, the most frequent
LINES = 12  # single rows
ROWS = 400
CELLS = 8_000_000


def dependences(subject: Subject, names: list[str]) -> tuple[Dependence, ...]:
    """Of these columns; what has fewer than two values has none."""
    by_name = {it.name: it for it in subject.columns}
    found = (_dependence(subject, by_name[name]) for name in names)
    return tuple(it for it in found if it is not None)


def _dependence(subject: Subject, column: Column) -> Dependence | None:
    grid, share = _grid(subject.frame[column.name], column)
    if len(grid) < 2:
        return None
    frame = _some(subject, len(grid))
    n = len(frame)
    everything = frame.iloc[np.tile(np.arange(n), len(grid))].reset_index(drop=True)
    values = np.empty(len(grid), dtype=object if column.kind == "category" else float)
    values[:] = [np.nan if it is None else it for it in grid]
    everything[column.name] = np.repeat(values, n)
    names, scores = _scores(subject, everything)
    table = scores.reshape(len(names), len(grid), n)
    single = table[0] if len(names) == 1 else np.empty((len(grid), 0))
    order = np.argsort(single.mean(axis=0), kind="stable")
    evenly = np.unique(np.linspace(0, len(order) - 1, LINES).astype(int))
    lines = order[evenly] if len(order) else order
    return Dependence(
        name=column.name,
        kind=column.kind,
        grid=grid,
        task=subject.spec.task,
        outputs=names,
        mean=_rows(table.mean(axis=2)),
        low=_rows(np.quantile(table, 0.1, axis=2)),
        high=_rows(np.quantile(table, 0.9, axis=2)),
        lines=_rows(single[:, lines].T) if len(lines) else (),
        share=share,
        rows=n,
    )


def _grid(values: pd.Series, column: Column) -> tuple[tuple[Any, ...], tuple[float, ...]]:
    """Quantiles of a number; the most frequent categories, null among them, and their shares."""
    if column.kind == "category":
        texts = [it if isinstance(it, str) else None for it in values]
        counted = Counter(texts).most_common(CATEGORIES)
        return tuple(it for it, _ in counted), tuple(n / len(texts) for _, n in counted)
    floats = values.to_numpy(dtype=float)
    floats = floats[np.isfinite(floats)]
    if not len(floats):
        return (), ()
    distinct = np.unique(floats)
    if len(distinct) > POINTS:
        at = np.linspace(0.01, 0.99, POINTS)
        if column.kind == "number":
            distinct = np.unique(np.quantile(floats, at))
        else:  # only values that there are
            distinct = np.unique(np.quantile(floats, at, method="nearest"))
    return tuple(float(it) for it in distinct), ()


def _some(subject: Subject, points: int) -> pd.DataFrame:
    """Rows of the frame, evenly spaced, so that all of the grid fits into memory."""
    frame = subject.frame
    most = min(ROWS, max(20, CELLS // (points * frame.shape[1])))
    return frame.iloc[np.unique(np.linspace(0, len(frame) - 1, most).astype(int))]


def _scores(subject: Subject, frame: pd.DataFrame) -> tuple[tuple[str, ...], Array]:
    """The outputs' names, and a score of each for each row: (outputs, n)."""
    task, target = subject.spec.task, subject.spec.target
    if task == "regression":
        return (target,), subject.outputs(frame).scores[None, :]
    if task == "binary":
        positive = subject.classes[subject.positive]
        return (f"{target} = {positive}",), subject.outputs(frame).scores[None, :]
    seen = Counter(subject.y.tolist())
    places = sorted(range(len(subject.classes)), key=lambda it: -seen[subject.classes[it]])
    chosen = sorted(places[:CLASSES])
    probabilities = np.asarray(subject.model.predict_proba(frame), dtype=float)
    return tuple(str(subject.classes[it]) for it in chosen), probabilities[:, chosen].T


def _rows(table: Array) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(it) for it in row) for row in table)
