"""Rows that trees may split wrongly, and what it means that an engine agrees with scikit-learn."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from sklearn.datasets import make_classification

from serving.bundle import Column, Manifest, Signature, Trees
from serving.compiling.trees import compile_trees
from serving.engines.base import Refused
from serving.engines.front import Chain, FrontSpec
from serving.engines.trees import TOO_LARGE, load_trees
from serving.table import Table

N, WIDTH = 6000, 8
RNG = np.random.default_rng(7)
X, Y2 = make_classification(N, WIDTH, n_informative=6, n_redundant=0, random_state=0, flip_y=0.1)
Y4 = make_classification(
    N, WIDTH, n_informative=6, n_redundant=0, n_classes=4, random_state=0, flip_y=0.1
)[1]
X[:, 6] = X[:, 6].round(1)  # many values that are equal
Y = X[:, 0] * 3 + X[:, 1] ** 2 + RNG.normal(size=N)
HOLES = np.where(RNG.random(X.shape) < 0.1, np.nan, X)
EXTREMES = [1e38, -1e38, 3.4e38, 1e39, -1e39, 1e308, -1e308, -0.0, 0.0, 5e-324, -5e-324, 1e-46]
EDGES = [*EXTREMES, float(np.finfo(np.float32).max), TOO_LARGE, np.nextafter(TOO_LARGE, 0), np.nan]
TRAIN = slice(0, 1500)


def manifest_of(model, **changes) -> Manifest:
    classes = np.asarray(getattr(model, "classes_", [])).tolist()
    task = {0: "regression", 2: "binary"}.get(len(classes), "multiclass")
    facts = {"task": task, "classes": classes, "positive": len(classes) - 1, **changes}
    return Manifest(model="m", version="1", target="y", build="b", **{"engine": Trees(), **facts})


def load(folder, model, width=WIDTH, **changes):
    """The model through its files."""
    manifest = manifest_of(model, **changes)
    for name, raw in compile_trees(model, width, manifest).items():
        (folder / name).write_bytes(raw)
    spec = FrontSpec(base=[0.0] * width, chains=[Chain(i, i) for i in range(width)])
    (folder / "front.json").write_bytes(msgspec.json.encode(spec))
    return load_trees(
        folder, manifest, Signature([Column(f"x{i}", "number") for i in range(width)])
    )


def table_of(x) -> Table:
    return Table(len(x), [np.ascontiguousarray(column) for column in x.T])


def rows_of(x):
    return [tuple(None if np.isnan(it) else it for it in row) for row in x.tolist()]


def expected(model, x):
    """scikit-learn's labels, as positions, and scores."""
    with np.errstate(over="ignore"):
        if not hasattr(model, "classes_"):
            return [], np.asarray(model.predict(x)).reshape(-1, 1)
        places = {label: place for place, label in enumerate(model.classes_.tolist())}
        return [places[it] for it in model.predict(x).tolist()], model.predict_proba(x)


def agrees(engine, model, x, ulps=0):
    """Labels are equal, scores to that many last places; a row alone is as in the table."""
    labels, scores = expected(model, x)
    found = engine.table(table_of(x))
    assert found.labels == labels
    np.testing.assert_array_max_ulp(np.array(found.scores), scores, maxulp=ulps) if ulps else (
        np.testing.assert_array_equal(np.array(found.scores), scores)
    )
    for row, cells in enumerate(rows_of(x[:300])):
        alone = engine.row(cells)
        assert alone.labels == found.labels[row : row + 1]
        assert alone.scores == found.scores[row : row + 1]


def agrees_on_refusal(engine, model, x):
    """Each row alone: refused by both, or answered alike."""
    refusals = 0
    for row, cells in zip(x, rows_of(x), strict=True):
        try:
            labels, scores = expected(model, row[None])
        except ValueError:
            refusals += 1
            with pytest.raises(Refused, match="row 0"):
                engine.row(cells)
            with pytest.raises(Refused, match="row 1"):
                engine.table(table_of(np.stack([np.zeros_like(row), row])))
        else:
            found = engine.row(cells)
            assert found.labels == labels
            np.testing.assert_allclose(found.scores, scores, rtol=1e-15, atol=0)
    return refusals


def with_edges(values=EDGES):
    """Rows with one extreme value each, in each column, and nowhere else."""
    rows = np.repeat(X[:WIDTH], len(values), axis=0)
    rows[np.arange(len(rows)), np.arange(len(rows)) // len(values)] = np.tile(values, WIDTH)
    return rows
