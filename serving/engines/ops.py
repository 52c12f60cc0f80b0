"""Steps on one number, as data: each for one value, and for a column of them.

    fill V          null becomes V                 swap A B        A becomes B
    sub add mul div V                              clip LOW HIGH
    isnan           1.0 if null, else 0.0          equals V        1.0 if V, else 0.0
    above V         1.0 if greater, else 0.0       bins EDGES      how many edges are not above it
    yeojohnson L    the power transform            log1p, sqrt, ... NumPy's function of that name
    finite          refuses infinity               present         refuses null

The arithmetic is scikit-learn's own, step by step, so that it rounds as it does.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
import numpy as np

from serving.engines.base import Refused
from serving.table import Numbers

Exact: TypeAlias = float | str  # JSON has neither NaN nor infinity: they are texts
OneValue: TypeAlias = Callable[[float], float]
FUNCTIONS = (
    "absolute", "cbrt", "cos", "exp", "exp2", "expm1", "fabs", "log", "log10", "log1p", "log2",
    "negative", "reciprocal", "sign", "sin", "sqrt", "square", "tanh",
)  # fmt: skip


class Op(msgspec.Struct, frozen=True, array_like=True):
    """A step's name and its numbers."""

    name: str
    values: list[Exact] = []

    @property
    def numbers(self) -> list[float]:
        return [float(value) for value in self.values]


def op(name: str, *values: float) -> Op:
    return Op(name, [exact(value) for value in values])


def exact(value: float) -> Exact:
    """A number as JSON can hold it, to the last bit."""
    value = float(value)
    return value if math.isfinite(value) else str(value)


def one(step: Op) -> OneValue:
    """The step on one value."""
    if step.name in FUNCTIONS:
        # NumPy's, though dearer than math's: these may differ in the last bit.
        function = getattr(np, step.name)
        return lambda x: float(function(x))
    made: OneValue = _ONE[step.name](*step.numbers)
    return made


def many(step: Op) -> Callable[[Numbers], Numbers]:
    """The step on a column."""
    if step.name in FUNCTIONS:
        function: Callable[[Numbers], Numbers] = getattr(np, step.name)
        return function
    made: Callable[[Numbers], Numbers] = _MANY[step.name](*step.numbers)
    return made


def _divide(value: float) -> OneValue:
    # As NumPy divides, which knows no error.
    return (lambda x: x / value) if value else lambda x: float(np.float64(x) / np.float64(value))


def _clip(low: float, high: float) -> OneValue:
    return lambda x: low if x < low else high if x > high else x


def _bins(*edges: float) -> OneValue:
    return lambda x: float(bisect_right(edges, x))


def _yeojohnson(power: float) -> Callable[[Any], Any]:
    def many(x: Any) -> Any:
        column = np.atleast_1d(np.asarray(x, dtype=np.float64))
        made = column.copy()
        above, below = column >= 0, column < 0
        up, down = np.log1p(column[above]), np.log1p(-column[below])
        made[above] = up if power == 0 else np.expm1(power * up) / power
        made[below] = -down if power == 2 else -np.expm1((2 - power) * down) / (2 - power)
        return made

    return many


def _finite(x: float) -> float:
    if x in (math.inf, -math.inf):
        raise Refused(INFINITE)
    return x


def _present(x: float) -> float:
    if math.isnan(x):
        raise Refused(MISSING)
    return x


def _all_finite(x: Numbers) -> Numbers:
    _none_of(np.isinf(x), INFINITE)
    return x


def _all_present(x: Numbers) -> Numbers:
    _none_of(np.isnan(x), MISSING)
    return x


def _none_of(bad: Any, reason: str) -> None:
    if bad.any():
        raise Refused(f"row {int(bad.argmax())}: {reason}")


INFINITE = "the value is too large for this model"
MISSING = "this model takes no null there"
_ONE: dict[str, Callable[..., OneValue]] = {
    "fill": lambda value: lambda x: value if math.isnan(x) else x,
    "swap": lambda old, new: lambda x: new if x == old else x,
    "sub": lambda value: lambda x: x - value,
    "add": lambda value: lambda x: x + value,
    "mul": lambda value: lambda x: x * value,
    "div": _divide,
    "clip": _clip,
    "isnan": lambda: lambda x: 1.0 if math.isnan(x) else 0.0,
    "equals": lambda value: lambda x: 1.0 if x == value else 0.0,
    "above": lambda value: lambda x: 1.0 if x > value else 0.0,
    "bins": _bins,
    "yeojohnson": lambda power: lambda x: float(_yeojohnson(power)(x)[0]),
    "finite": lambda: _finite,
    "present": lambda: _present,
}
_MANY: dict[str, Callable[..., Callable[[Any], Any]]] = {
    "fill": lambda value: lambda x: np.where(np.isnan(x), value, x),
    "swap": lambda old, new: lambda x: np.where(x == old, new, x),
    "sub": lambda value: lambda x: x - value,
    "add": lambda value: lambda x: x + value,
    "mul": lambda value: lambda x: x * value,
    "div": lambda value: lambda x: x / value,
    "clip": lambda low, high: lambda x: np.clip(x, low, high),
    "isnan": lambda: lambda x: np.isnan(x).astype(np.float64),
    "equals": lambda value: lambda x: (x == value).astype(np.float64),
    "above": lambda value: lambda x: (x > value).astype(np.float64),
    "bins": lambda *edges: lambda x: np.searchsorted(edges, x, side="right").astype(np.float64),
    "yeojohnson": _yeojohnson,
    "finite": lambda: _all_finite,
    "present": lambda: _all_present,
}
