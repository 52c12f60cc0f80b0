"""What a fitted front end computes, feature by feature: a chain of steps, a text, or a table.

Each feature comes from one column. Steps on a table's feature are done here and now, on its values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from serving.compiling.errors import CannotCompile
from serving.engines.base import Refused
from serving.engines.ops import FUNCTIONS, Op, one, op

Value: TypeAlias = float | None  # None: refused
Key: TypeAlias = str | float

FINITE, PRESENT = op("finite"), op("present")
# After these, what was finite still is, and what was not null is not.
_TAME = (
    "fill",
    "swap",
    "clip",
    "isnan",
    "equals",
    "above",
    "bins",
    "finite",
    "present",
    "absolute",
)
_FILLING = ("fill", "isnan", "equals", "above", "bins", "present")
_KEEPING = ("sub", "add", "div", "clip", "swap", "finite", "absolute")


@dataclass(frozen=True)
class Number:
    """Steps on the number in a column."""

    source: int
    ops: tuple[Op, ...] = ()


@dataclass(frozen=True)
class Text:
    """The text in a column; `changes` says what some become, None being null."""

    source: int
    changes: Mapping[str | None, str | None] = field(default_factory=dict)
    null_refused: bool = False


@dataclass(frozen=True)
class Coded:
    """A value for each text, or for each number that `ops` lead to.

    `known` are all that are known (a list shared by the features of one encoder); those that are
    not `special` have the value `other`.
    """

    source: int
    known: tuple[Key, ...]
    special: Mapping[Key, Value]
    other: Value
    unknown: Value
    null: Value
    ops: tuple[Op, ...] = ()

    def mapped(self, ops: Sequence[Op]) -> Coded:
        """The same, with further steps on every value."""
        ones = [one(step) for step in ops]

        def value(x: Value) -> Value:
            try:
                for step in ones:
                    x = x if x is None else step(x)
            except Refused:
                return None
            return x

        with np.errstate(all="ignore"):
            return replace(
                self,
                special={key: value(it) for key, it in self.special.items()},
                other=value(self.other),
                unknown=value(self.unknown),
                null=value(self.null),
            )

    def refuses(self) -> bool:
        """Whether it takes not all cells."""
        return None in (self.other, self.unknown, self.null, *self.special.values())


Feature: TypeAlias = Number | Text | Coded


def step(feature: Feature, *ops: Op, name: str = "") -> Feature:
    """The feature after numeric steps; those that can change nothing are left out."""
    if isinstance(feature, Text):
        raise CannotCompile(f"{name}: takes text for a number")
    if isinstance(feature, Coded):
        return feature.mapped(ops)
    done = feature.ops
    for it in ops:
        if not (it == FINITE and _is_finite(done)) and not (it == PRESENT and _is_present(done)):
            done = (*done, it)
    return Number(feature.source, done)


def _is_finite(ops: Sequence[Op]) -> bool:
    for it in reversed(ops):
        if it.name == "finite":
            return True
        if it.name not in _TAME:
            return False
    return True  # as cells are


def _is_present(ops: Sequence[Op]) -> bool:
    for it in reversed(ops):
        if it.name in _FILLING:
            return it.name != "fill" or not math.isnan(it.numbers[0])
        if it.name not in _KEEPING:
            return False
    return False


def function_op(name: str) -> Op:
    """NumPy's function of that name."""
    name = {"abs": "absolute"}.get(name, name)
    if name not in FUNCTIONS:
        raise CannotCompile(f"FunctionTransformer: {name}")
    return op(name)
