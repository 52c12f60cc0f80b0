"""The engine for ensembles of trees: ONNX Runtime walks them in float64, the rest is arithmetic.

`trees.json` says what becomes of a row before the trees and of their sums after, so that every
step is scikit-learn's own, in scikit-learn's order: the same labels, ties included.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.bundle import BundleError, Manifest, Signature
from serving.engines.base import Engine, Refused, Scored, label_of
from serving.engines.front import Front
from serving.engines.onnx import Run, open_trees
from serving.table import Numbers, Row, Table

TOO_LARGE = 2.0**128 - 2.0**103  # from here on a float64 rounds to infinity in float32
BLOCK = 4096  # rows at a time: what stands between trees and answer stays small

Link = Literal["mean", "exp", "votes", "sigmoid", "softmax"]
Codes = dict[float, float]


class Categories(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a feature's values are to the trees: `values[i]` is i, any other is missing."""

    feature: int
    values: list[float]


class Ensemble(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All about an ensemble but its trees.

    mean      regression: the sum, divided by `count`
    exp       regression: e to the sum
    votes     classification: each tree's shares of the classes, divided by `count`
    sigmoid   binary: the sum is a log-odds, times `scale`
    softmax   the sums are log-odds, one for each class

    `leaves`: float64 rows of shares; not empty, then the trees give a row of it each, by number.
    Otherwise a binary vote is the sum for the second class.
    """

    link: Link
    width: int
    outputs: int
    count: int = 1
    scale: float = 1.0
    zero_is_positive: bool = False
    float32: bool = False
    takes_nan: bool = False
    categories: list[Categories] = []
    leaves: bytes = b""


class TreesEngine(Engine):
    """Front end, trees, link."""

    def __init__(self, front: Any, run: Run, ensemble: Ensemble, manifest: Manifest) -> None:
        self._front = front
        self._run = run
        self._finish = _finish(ensemble, len(manifest.classes))
        self._strict = ensemble.float32
        self._takes_nan = ensemble.takes_nan
        self._codes: list[tuple[int, Codes]] = [
            (it.feature, {value: float(code) for code, value in enumerate(it.values)})
            for it in ensemble.categories
        ]
        self._threshold = getattr(manifest.engine, "threshold", None)
        self._positive = manifest.positive

    def row(self, row: Row) -> Scored:
        features = self._front.row(row)
        for feature, codes in self._codes:
            features[feature] = _code(codes, features[feature])
        return self._score(np.array([features]))

    def table(self, table: Table) -> Scored:
        features = self._front.table(table)
        for feature, codes in self._codes:
            features[:, feature] = [_code(codes, it) for it in features[:, feature].tolist()]
        labels: list[int] = []
        scores: list[list[float]] = []
        for start in range(0, len(features), BLOCK):
            part = self._score(np.ascontiguousarray(features[start : start + BLOCK]), start)
            labels += part.labels
            scores += part.scores
        return Scored(labels, scores)

    def _score(self, features: Numbers, start: int = 0) -> Scored:
        if self._strict:
            _refuse(features, self._takes_nan, start)
        scored = self._finish(self._run(features), start)
        if self._threshold is None:
            return scored
        labels = [label_of(it, self._threshold, self._positive) for it in scored.scores]
        return Scored(labels, scored.scores)


def _code(codes: Codes, value: float) -> float:
    code = codes.get(value)
    if code is not None:
        return code
    if math.isinf(value):
        raise Refused("a category is infinite")
    return math.nan


def _refuse(features: Numbers, takes_nan: bool, start: int) -> None:
    """Raises Refused if scikit-learn would: its trees take what float32 holds."""
    sizes = np.abs(features)
    if not sizes.size or sizes.max() < TOO_LARGE:  # never so with a NaN
        return
    large, missing = sizes >= TOO_LARGE, np.isnan(features)
    bad = large if takes_nan else large | missing
    if bad.any():
        row, feature = (int(it) for it in np.argwhere(bad)[0])
        what = "null" if missing[row, feature] else "a value too large for float32"
        raise Refused(f"row {start + row}: the model takes no {what} (feature {feature})")


Finish = Callable[[NDArray[np.float64], int], Scored]


def _finish(ensemble: Ensemble, classes: int) -> Finish:
    """From what the trees add up to, to labels and scores."""
    if ensemble.link == "softmax":
        return _softmax
    if ensemble.link == "sigmoid":
        scale, tie = ensemble.scale, ensemble.zero_is_positive
        return lambda sums, _: _pairs([_sigmoid(it, scale, tie) for it in sums[:, 0].tolist()])
    count = float(ensemble.count)
    if ensemble.link == "votes":
        if ensemble.leaves:
            shares = np.frombuffer(ensemble.leaves, dtype="<f8").reshape(-1, classes)
            return lambda numbers, _: _votes(shares[numbers.astype(np.intp)], count)
        return lambda sums, _: _pairs([_vote(it, count) for it in sums[:, 0].tolist()])
    if ensemble.link == "exp":
        return _exponential
    return lambda sums, _: Scored([], (sums / count).tolist())


def _pairs(answers: list[tuple[int, list[float]]]) -> Scored:
    return Scored([label for label, _ in answers], [scores for _, scores in answers])


def _sigmoid(raw: float, scale: float, zero_is_positive: bool) -> tuple[int, list[float]]:
    odds = raw * scale
    # Beyond this, exp overflows and the probability is zero.
    positive = 1.0 / (1.0 + math.exp(-odds)) if odds > -709.0 else 0.0
    return int(raw > 0.0 or (zero_is_positive and raw == 0.0)), [1.0 - positive, positive]


def _vote(votes: float, count: float) -> tuple[int, list[float]]:
    scores = [(count - votes) / count, votes / count]
    return int(scores[1] > scores[0]), scores


def _votes(shares: NDArray[np.float64], count: float) -> Scored:
    scores = np.add.reduce(shares, axis=1)
    scores /= count
    return Scored(scores.argmax(axis=1).tolist(), scores.tolist())


def _softmax(sums: NDArray[np.float64], _: int) -> Scored:
    powers = np.exp(sums - sums.max(axis=1, keepdims=True))
    # Added one after the other, whatever the number of rows.
    scores = powers / np.add.accumulate(powers, axis=1)[:, -1:]
    return Scored(sums.argmax(axis=1).tolist(), scores.tolist())


def _exponential(sums: NDArray[np.float64], start: int) -> Scored:
    with np.errstate(over="ignore"):
        values = np.exp(sums)
    if not np.isfinite(values).all():
        row = start + int(np.isinf(values[:, 0]).argmax())
        raise Refused(f"row {row}: the model has no finite answer for these values")
    return Scored([], values.tolist())


def load_trees(folder: Path, manifest: Manifest, signature: Signature) -> TreesEngine:
    """Raises BundleError if a file is malformed or does not fit the others."""
    front = Front.load(folder / "front.json", signature)
    path = folder / "trees.json"
    try:
        ensemble = msgspec.json.decode(path.read_bytes(), type=Ensemble)
    except (OSError, msgspec.DecodeError) as error:
        raise BundleError(f"{path}: {error}") from None
    if ensemble.width != front.width:
        raise BundleError(f"{path}: takes {ensemble.width} features, front.json has {front.width}")
    run = open_trees(folder / "model.onnx", ensemble.width, ensemble.outputs)
    return TreesEngine(front, run, ensemble, manifest)
