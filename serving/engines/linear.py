"""The linear engine: a line through encoded columns, category by category, in plain float64.

Features are never written out: a category has its own share of the score, worked out when loaded,
so that a hundred thousand of them cost a row no more than two.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from serving.bundle import BundleError, Manifest, Signature
from serving.bundle import Linear as Kind
from serving.engines.base import Engine, Refused, Scored, label_of
from serving.engines.front import Front
from serving.engines.ops import Op, one
from serving.engines.sums import Sum
from serving.table import Row, Table

Link = Literal["value", "sigmoid", "softmax", "one_vs_rest"]
NOT_FINITE = "the model has no finite answer for these values"


class LinearSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line for each class, or one: binary, regression.

    `after`: regression, the steps from the line to the value. `means`: what each input column adds
    to the score in the mean of known rows.
    """

    link: Link
    coefficients: list[list[float]]
    intercepts: list[float]
    after: list[Op] = []
    means: list[float] | None = None


class LinearEngine(Engine):
    """One pass over the numbers, one look-up for each category.

    A table is added up in the order of a row, so that both round alike.
    """

    def __init__(
        self, front: Front, spec: LinearSpec, manifest: Manifest, signature: Signature
    ) -> None:
        width = {len(line) for line in spec.coefficients}
        if width != {front.width} or len(spec.intercepts) != len(spec.coefficients):
            raise BundleError(f"linear.json: {width} coefficients, {front.width} features")
        self._front, self._spec = front, spec
        self._kinds = [column.kind for column in signature.columns]
        self._threshold = manifest.engine.threshold if isinstance(manifest.engine, Kind) else None
        self._positive = manifest.positive % 2
        self._after = [one(step) for step in spec.after]
        self._sums = [
            Sum(front, line, intercept)
            for line, intercept in zip(spec.coefficients, spec.intercepts, strict=True)
        ]
        self._sources = front.sources()
        self._base = np.nan_to_num(front.base)
        self._finish: Callable[[list[float]], tuple[int, list[float]]] = {
            "value": self._value,
            "sigmoid": self._sigmoid,
            "softmax": self._softmax,
            "one_vs_rest": self._one_vs_rest,
        }[spec.link]
        self._regression = spec.link == "value"

    @classmethod
    def load(cls, folder: Path, manifest: Manifest, signature: Signature) -> LinearEngine:
        """Raises BundleError if the files are not such a model."""
        path = folder / "linear.json"
        try:
            spec = msgspec.json.decode(path.read_bytes(), type=LinearSpec)
        except (OSError, msgspec.DecodeError) as error:
            raise BundleError(f"{path}: {error}") from None
        return cls(Front.load(folder / "front.json", signature), spec, manifest, signature)

    def row(self, row: Row) -> Scored:
        sums = [it.of_row(row) for it in self._sums]
        for total in sums:
            if total - total != 0.0:  # infinite, or no number
                sums = self._carefully(row)
                break
        label, scores = self._finish(sums)
        return Scored([] if self._regression else [label], [scores])

    def table(self, table: Table) -> Scored:
        with np.errstate(all="ignore"):
            sums = np.array([it.of_table(table) for it in self._sums])
        by_row = sums.T.tolist()
        bad = ~np.isfinite(sums).all(axis=0)
        for number in np.flatnonzero(bad).tolist():
            try:
                by_row[number] = self._carefully(self._row_of(table, number))
            except Refused as error:
                raise Refused(f"row {number}: {error}") from None
        finish = self._finish
        done = [finish(it) for it in by_row]
        labels = [] if self._regression else [label for label, _ in done]
        return Scored(labels, [scores for _, scores in done])

    @property
    def explains(self) -> bool:
        """Whether the score is a sum of what the columns add."""
        return len(self._sums) == 1 and not self._after

    def contributions(self, row: Row) -> list[float] | None:
        if not self.explains:
            return None
        shares = self.shares(row)
        means = self._spec.means or [0.0] * len(shares)
        return [share - mean for share, mean in zip(shares, means, strict=True)]

    def shares(self, row: Row) -> list[float]:
        """What each column adds to the (first) line; raises Refused."""
        parts = (np.array(self._front.row(row)) - self._base) * self._spec.coefficients[0]
        shares: list[float] = np.bincount(self._sources, parts, len(self._kinds)).tolist()
        return shares

    def _carefully(self, row: Row) -> list[float]:
        """The sums where one is not finite: refused unless every feature is."""
        features = np.array(self._front.row(row))
        if not np.isfinite(features).all():
            raise Refused("the model takes no null there, or a value is too large for it")
        with np.errstate(all="ignore"):
            sums = np.array(self._spec.coefficients) @ features + np.array(self._spec.intercepts)
        found: list[float] = sums.tolist()
        return found

    def _row_of(self, table: Table, number: int) -> Row:
        cells: list[Any] = [column[number] for column in table.columns]
        return tuple(
            cell if cell is None or kind == "category" else None if cell != cell else float(cell)  # noqa: PLR0124 - NaN
            for cell, kind in zip(cells, self._kinds, strict=True)
        )

    def _value(self, sums: list[float]) -> tuple[int, list[float]]:
        value = sums[0]
        if self._after:
            with np.errstate(all="ignore"):
                for step in self._after:
                    value = step(value)
        if not math.isfinite(value):
            raise Refused(NOT_FINITE)
        return 0, [value]

    def _sigmoid(self, sums: list[float]) -> tuple[int, list[float]]:
        total = sums[0]
        probability = _expit(total)
        if self._threshold is None:
            return (1 if total > 0.0 else 0), [1.0 - probability, probability]
        scores = [1.0 - probability, probability]
        return label_of(scores, self._threshold, self._positive), scores

    def _softmax(self, sums: list[float]) -> tuple[int, list[float]]:
        highest = max(sums)
        if not math.isfinite(highest):
            raise Refused(NOT_FINITE)
        powers = [math.exp(it - highest) for it in sums]
        whole = sum(powers)
        return sums.index(highest), [it / whole for it in powers]

    def _one_vs_rest(self, sums: list[float]) -> tuple[int, list[float]]:
        each = [_expit(it) for it in sums]
        whole = sum(each)
        if whole == 0.0:
            each, whole = [1.0] * len(each), float(len(each))
        return sums.index(max(sums)), [it / whole for it in each]


def _expit(value: float) -> float:
    if value >= 0.0:
        return 1.0 / (1.0 + math.exp(-value))
    if value < 0.0:
        power = math.exp(value)
        return power / (1.0 + power)
    raise Refused(NOT_FINITE)
