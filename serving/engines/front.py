"""The front end: encoded features from cells, column by column, in plain float64.

`front.json` is data: for each feature the steps on a number, or what each category stands for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.bundle import BundleError, Signature
from serving.engines.base import Refused
from serving.engines.ops import OneValue, Op, many, one
from serving.engines.rules import GUARD, Chain, Codes, FrontSpec, Pairs
from serving.table import Row, Table

Assigned = tuple[tuple[int, float], ...]  # feature, value
__all__ = ["GUARD", "Affine", "Assigned", "Chain", "Codes", "Front", "FrontSpec", "Lookup", "Pairs"]


class Affine(NamedTuple):
    """(x - first) / second, or x * first + second; `null` stands for null."""

    source: int
    feature: int
    null: float
    first: float
    second: float


class General(NamedTuple):
    """Any other chain; no `null`: it is refused."""

    source: int
    feature: int
    null: float | None
    ones: tuple[OneValue, ...]
    manys: tuple[Callable[[Any], Any], ...]


class Lookup(NamedTuple):
    """What a category sets, None standing for null; no value: it is refused."""

    source: int
    known: dict[Any, Assigned | None]
    unknown: Assigned | None
    text: bool
    ones: tuple[OneValue, ...]
    manys: tuple[Callable[[Any], Any], ...]


class Front:
    """Rows and tables as features. What scikit-learn refuses, it refuses.

    Its parts are open to engines that compute with less than all features.
    """

    def __init__(self, spec: FrontSpec, signature: Signature) -> None:
        self.columns = signature.columns
        self.base = [float(value) for value in spec.base]
        self.width = len(self.base)
        self.scaled: list[Affine] = []
        self.shifted: list[Affine] = []
        self.nulls: list[Affine] = []  # tells null from all else: `first` where it is not null
        self.general: list[General] = []
        for chain in spec.chains:
            self._take(chain)
        self.lookups = [_lookup(codes) for codes in spec.codes]

    @classmethod
    def load(cls, path: Path, signature: Signature) -> Front:
        """Raises BundleError if the file is not a front end."""
        try:
            return cls(msgspec.json.decode(path.read_bytes(), type=FrontSpec), signature)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleError(f"{path}: {error}") from None

    def _take(self, chain: Chain) -> None:
        source, feature = chain.source, chain.feature
        ones = tuple(one(step) for step in chain.ops)
        with np.errstate(all="ignore"):
            null = _refusing(ones, math.nan)
        names = tuple(step.name for step in chain.ops)
        # Where a cell is not null, a first fill changes nothing.
        first, second = _affine(chain.ops[1:] if names[:1] == ("fill",) else chain.ops)
        constant = _refusing(ones, 0.0) if names[:1] == ("isnan",) else None
        if feature == GUARD or null is None:
            first = second = constant = None
        if constant is not None and null is not None:
            self.nulls.append(Affine(source, feature, null, constant, 0.0))
            self.base[feature] = constant
        elif null is not None and first is not None and second is not None:
            shifted = "mul" in names
            (self.shifted if shifted else self.scaled).append(
                Affine(source, feature, null, first, second)
            )
        else:
            manys = tuple(many(step) for step in chain.ops)
            self.general.append(General(source, feature, null, ones, manys))

    def row(self, row: Row) -> list[float]:
        """One row's features; raises Refused."""
        out = self.base.copy()
        cell: Any
        for source, feature, null, first, second in self.scaled:
            cell = row[source]
            out[feature] = null if cell is None else (cell - first) / second
        for source, feature, null, first, second in self.shifted:
            cell = row[source]
            out[feature] = null if cell is None else cell * first + second
        for source, feature, null, _, _ in self.nulls:
            if row[source] is None:
                out[feature] = null
        if self.general:
            for feature, value in self.computed(row):
                out[feature] = value
        for lookup in self.lookups:
            cell = row[lookup[0]]
            key = cell if lookup[3] else self.key(lookup, cell)
            pairs = lookup[1].get(key, lookup[2])
            if pairs is None:
                raise self.refusal(lookup.source, cell)
            for feature, value in pairs:
                out[feature] = value
        return out

    def computed(self, row: Row) -> list[tuple[int, float]]:
        """The features of general chains; raises Refused."""
        out = []
        cell: Any
        with np.errstate(all="ignore"):
            for source, feature, null, ones, _ in self.general:
                cell = row[source]
                value = null if cell is None else _refusing(ones, float(cell))
                if value is None:
                    raise self.refusal(source, cell)
                if feature != GUARD:
                    out.append((feature, value))
        return out

    def key(self, lookup: Lookup, cell: Any) -> Any:
        """What a number, or null, is looked up by; raises Refused."""
        if cell is None:
            return None
        value = float(cell)
        if lookup.ones:
            with np.errstate(all="ignore"):
                found = _refusing(lookup.ones, value)
            if found is None:
                raise self.refusal(lookup.source, cell)
            value = found
        return None if math.isnan(value) else value

    def table(self, table: Table) -> NDArray[np.float64]:
        """(n, width) features of many rows; raises Refused."""
        out = np.empty((table.n, self.width))
        out[:] = self.base
        with np.errstate(all="ignore"):
            for source, feature, null, first, second in self.scaled:
                x: Any = table.columns[source]
                out[:, feature] = np.where(np.isnan(x), null, (x - first) / second)
            for source, feature, null, first, second in self.shifted:
                x = table.columns[source]
                out[:, feature] = np.where(np.isnan(x), null, x * first + second)
            for source, feature, null, first, _ in self.nulls:
                x = table.columns[source]
                out[:, feature] = np.where(np.isnan(x), null, first)
            for feature, values in self.columns_computed(table):
                out[:, feature] = values
        for lookup in self.lookups:
            for row, pairs in enumerate(self._found(lookup, table)):
                for feature, value in pairs:
                    out[row, feature] = value
        return out

    def columns_computed(self, table: Table) -> list[tuple[int, Any]]:
        """The features of general chains, by column; raises Refused."""
        out = []
        for source, feature, null, _, manys in self.general:
            x: Any = table.columns[source]
            missing = np.isnan(x)
            if null is None and missing.any():
                raise self.refusal(source, None, int(missing.argmax()))
            values = np.where(missing, 0.0 if null is None else null, self._run(source, manys, x))
            if feature != GUARD:
                out.append((feature, values))
        return out

    def keys(self, lookup: Lookup, table: Table) -> Any:
        """What each row's cell is looked up by; raises Refused."""
        cells: Any = table.columns[lookup.source]
        if lookup.text:
            return cells
        with np.errstate(all="ignore"):
            values = self._run(lookup.source, lookup.manys, cells)
        return [None if math.isnan(x) else x for x in values.tolist()]

    def _found(self, lookup: Lookup, table: Table) -> list[Assigned]:
        known, unknown = lookup.known, lookup.unknown
        found = [known.get(key, unknown) for key in self.keys(lookup, table)]
        if None in found:
            row = found.index(None)
            cells: Any = table.columns[lookup.source]
            raise self.refusal(lookup.source, cells[row], row)
        return found  # type: ignore[return-value]

    def _run(self, source: int, manys: tuple[Callable[[Any], Any], ...], x: Any) -> Any:
        try:
            for step in manys:
                x = step(x)
        except Refused as error:
            raise Refused(f"column {self.columns[source].name!r}: {error}") from None
        return x

    def sources(self) -> list[int]:
        """The column that each feature comes from."""
        sources = [0] * self.width
        for it in (*self.scaled, *self.shifted, *self.nulls):
            sources[it.feature] = it.source
        for other in self.general:
            if other.feature != GUARD:
                sources[other.feature] = other.source
        for lookup in self.lookups:
            for pairs in (*lookup.known.values(), lookup.unknown):
                for feature, _ in pairs or ():
                    sources[feature] = lookup.source
        return sources

    def refusal(self, source: int, cell: Any, row: int | None = None) -> Refused:
        """Why this cell is not taken."""
        where = "" if row is None else f"row {row}: "
        null = cell is None or cell != cell  # noqa: PLR0124 - NaN
        what = "null" if null else f"{cell!r:.100}"
        return Refused(f"{where}column {self.columns[source].name!r}: the model takes no {what}")


def _affine(ops: Sequence[Op]) -> tuple[float, float] | tuple[None, None]:
    shape = tuple(step.name for step in ops)
    numbers = [value for step in ops for value in step.numbers]
    if shape == ("mul", "add"):
        return numbers[0], numbers[1]
    if shape not in ((), ("sub",), ("div",), ("sub", "div")):
        return None, None
    second = numbers[-1] if "div" in shape else 1.0
    if second == 0.0:  # Python would raise
        return None, None
    return numbers[0] if "sub" in shape else 0.0, second


def _refusing(ones: Sequence[OneValue], value: float) -> float | None:
    """The value after the steps; None if one of them refuses it."""
    try:
        for step in ones:
            value = step(value)
    except Refused:
        return None
    return value


def _lookup(codes: Codes) -> Lookup:
    keys: list[Any] = (
        codes.texts if codes.texts is not None else list(map(float, codes.numbers or []))
    )
    known = dict(zip(keys, map(_assigned, codes.cells), strict=True))
    known[None] = _assigned(codes.null)
    return Lookup(
        codes.source,
        known,
        _assigned(codes.unknown),
        codes.texts is not None,
        tuple(one(step) for step in codes.ops),
        tuple(many(step) for step in codes.ops),
    )


def _assigned(pairs: Pairs | None) -> Assigned | None:
    return None if pairs is None else tuple((feature, float(value)) for feature, value in pairs)
