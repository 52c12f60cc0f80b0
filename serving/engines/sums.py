"""One line through a front end's features, without the features."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.engines.front import Affine, Assigned, Front, Lookup
from serving.table import Row, Table

Share = float | None  # None: refused


class Sum:
    """The weighted sum of a row's features, and of each of a table's rows, to the same bit."""

    def __init__(self, front: Front, weights: list[float], intercept: float) -> None:
        self._front, self._weights = front, weights
        # A feature without a base (each category that is known sets it) starts from nothing.
        self._base = [0.0 if math.isnan(value) else value for value in front.base]
        own = {it.feature for it in (*front.scaled, *front.shifted)}
        own |= {it.feature for it in front.general}
        self._start = intercept + math.fsum(
            value * weight
            for feature, (value, weight) in enumerate(zip(self._base, weights, strict=True))
            if feature not in own and value
        )
        self._scaled = [self._weighted(it) for it in front.scaled]
        self._shifted = [self._weighted(it) for it in front.shifted]
        self._nulls = [
            (it.source, (it.null - it.first) * weights[it.feature]) for it in front.nulls
        ]
        self._general = bool(front.general)
        self._texts = self._merged([it for it in front.lookups if it.text])
        self._numbers = [
            (lookup, self._shares(lookup), self._share(lookup.unknown))
            for lookup in front.lookups
            if not lookup.text
        ]

    def _weighted(self, it: Affine) -> tuple[int, float, float, float, float]:
        weight = self._weights[it.feature]
        return it.source, it.null * weight, it.first, it.second, weight

    def _share(self, pairs: Assigned | None) -> Share:
        if pairs is None:
            return None
        return sum((value - self._base[it]) * self._weights[it] for it, value in pairs)

    def _shares(self, lookup: Lookup) -> dict[Any, Share]:
        return {key: self._share(pairs) for key, pairs in lookup.known.items()}

    def _merged(self, lookups: list[Lookup]) -> list[tuple[int, dict[Any, Share], Share]]:
        """One look-up for each column, whatever the number of encoders on it."""
        by_source: dict[int, list[tuple[dict[Any, Share], Share]]] = {}
        for it in lookups:
            shares = self._shares(it), self._share(it.unknown)
            by_source.setdefault(it.source, []).append(shares)
        return [
            (
                source,
                {
                    key: _total([known.get(key, unknown) for known, unknown in each])
                    for key in dict.fromkeys(key for known, _ in each for key in known)
                },
                _total([unknown for _, unknown in each]),
            )
            for source, each in by_source.items()
        ]

    def of_row(self, row: Row) -> float:
        """Raises Refused."""
        total = self._start
        cell: Any
        for source, null, first, second, weight in self._scaled:
            cell = row[source]
            total += null if cell is None else (cell - first) / second * weight
        for source, null, first, second, weight in self._shifted:
            cell = row[source]
            total += null if cell is None else (cell * first + second) * weight
        for source, part in self._nulls:
            if row[source] is None:
                total += part
        if self._general:
            for feature, value in self._front.computed(row):
                total += value * self._weights[feature]
        return total + self._categories(row)

    def _categories(self, row: Row) -> float:
        total = 0.0
        for source, known, unknown in self._texts:
            share = known.get(row[source], unknown)
            if share is None:
                raise self._front.refusal(source, row[source])
            total += share
        for lookup, known, unknown in self._numbers:
            share = known.get(self._front.key(lookup, row[lookup.source]), unknown)
            if share is None:
                raise self._front.refusal(lookup.source, row[lookup.source])
            total += share
        return total

    def of_table(self, table: Table) -> NDArray[np.float64]:
        """Raises Refused."""
        total = np.full(table.n, self._start)
        x: Any
        for source, null, first, second, weight in self._scaled:
            x = table.columns[source]
            total += np.where(np.isnan(x), null, (x - first) / second * weight)
        for source, null, first, second, weight in self._shifted:
            x = table.columns[source]
            total += np.where(np.isnan(x), null, (x * first + second) * weight)
        for source, part in self._nulls:
            x = table.columns[source]
            total += np.where(np.isnan(x), part, 0.0)
        if self._general:
            for feature, values in self._front.columns_computed(table):
                total += values * self._weights[feature]
        categories = np.zeros(table.n)
        for source, known, unknown in self._texts:
            categories += self._found(table, source, table.columns[source], known, unknown)
        for lookup, known, unknown in self._numbers:
            keys = self._front.keys(lookup, table)
            categories += self._found(table, lookup.source, keys, known, unknown)
        return total + categories

    def _found(
        self, table: Table, source: int, keys: Any, known: dict[Any, Share], unknown: Share
    ) -> Any:
        shares = [known.get(key, unknown) for key in keys]
        if None in shares:
            row = shares.index(None)
            cells: Any = table.columns[source]
            raise self._front.refusal(source, cells[row], row)
        return shares


def _total(shares: list[Share]) -> Share:
    return None if None in shares else sum(it for it in shares if it is not None)
