"""Encoders of categories as tables: each is asked for every category, an unknown one, and null."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from serving.compiling.errors import CannotCompile
from serving.compiling.symbolic import Coded, Feature, Key, Number, Text, Value

Cell: TypeAlias = Key | None
Answer: TypeAlias = dict[int, float] | None  # what is not zero, by output; None: refused
_UNSEEN = "\N{REPLACEMENT CHARACTER}unseen"


def encoded(encoder: Any, features: list[Feature], widths: list[int]) -> list[list[Coded]]:
    """For each feature the `widths[i]` outputs of a fitted encoder, and last of all a guard.

    The guard has no value to speak of; it refuses what the encoder refuses, outputs or not.
    """
    if len(encoder.categories_) != len(features):
        raise CannotCompile(f"{type(encoder).__name__}: fitted on other columns")
    made = []
    start = 0
    for position, (feature, width) in enumerate(zip(features, widths, strict=True)):
        ask = _Asked(encoder, position, start, width, text=isinstance(feature, Text))
        made.append(_outputs(feature, ask, width))
        start += width
    return made


class _Asked:
    """The encoder's answers for one column, the others being what it knows."""

    def __init__(self, encoder: Any, position: int, start: int, width: int, text: bool) -> None:
        self._encoder = copy.copy(encoder)
        if hasattr(encoder, "sparse_output"):
            self._encoder.sparse_output = True
        self._position, self._outputs = position, slice(start, start + width)
        categories = [list(it) for it in encoder.categories_]
        self._others = [it[0] for it in categories]
        self.known: list[Key] = [_key(it, text) for it in categories[position] if not _null(it)]
        self._answers: dict[Cell, Answer] = dict(
            zip(self.known, self._many(self.known), strict=True)
        )
        self._answers[None] = self._one(math.nan)
        self.unknown = self._one(_unseen(self.known, text))

    def __call__(self, cell: Cell) -> Answer:
        return self._answers.get(cell, self.unknown)

    def _one(self, cell: Key) -> Answer:
        try:
            return self._many([cell])[0]
        except ValueError:
            return None

    def _many(self, cells: list[Key]) -> list[dict[int, float]]:
        if not cells:
            return []
        matrix = np.empty((len(cells), len(self._others)), dtype=object)
        matrix[:] = self._others
        matrix[:, self._position] = cells
        numbers = all(isinstance(it, int | float | np.number) for it in [*self._others, *cells])
        if numbers:
            matrix = matrix.astype(np.float64)
        answers: list[dict[int, float]] = [{} for _ in cells]
        found = self._encoder.transform(matrix)
        if hasattr(found, "tocsc"):
            found = found.tocsc()[:, self._outputs].tocoo()
            entries = zip(found.row.tolist(), found.col.tolist(), found.data.tolist(), strict=True)
            for row, output, value in entries:
                answers[row][output] = float(value)
        else:
            for row, values in enumerate(np.asarray(found)[:, self._outputs].tolist()):
                answers[row] = {output: float(value) for output, value in enumerate(values)}
        return answers


def _null(category: Any) -> bool:
    return category is None or category != category  # noqa: PLR0124 - NaN


def _key(category: Any, text: bool) -> Key:
    if text and isinstance(category, str):
        return str(category)
    if not text and isinstance(category, int | float | np.number | np.bool_):
        return float(category)
    raise CannotCompile(f"category {category!r} is not of the column's kind")


def _unseen(known: list[Key], text: bool) -> Key:
    if text:
        unseen = _UNSEEN
        while unseen in known:
            unseen += "'"
        return unseen
    return max((float(it) for it in known), default=0.0) * 2 + 0.5 if known else 0.5


def _outputs(feature: Feature, ask: _Asked, width: int) -> list[Coded]:
    if isinstance(feature, Coded):
        return _table(feature, lambda value: ask(_cell(value)), width)
    if isinstance(feature, Number):
        known: tuple[Key, ...] = tuple(ask.known)
        filled = Coded(feature.source, (), {}, 0.0, 0.0, math.nan).mapped(feature.ops).null
        null_refused = filled is None
        null_is = None if filled is None or math.isnan(filled) else filled

        def cells(cell: Cell) -> Answer:
            return ask(null_is if cell is None else cell)

    else:
        changes = feature.changes
        known = (*ask.known, *(it for it in changes if it is not None and it not in ask.known))
        null_refused = feature.null_refused

        def cells(cell: Cell) -> Answer:
            return ask(changes.get(cell, cell))  # type: ignore[arg-type]

    blank = Coded(
        feature.source, known, {}, 0.0, 0.0, 0.0, feature.ops if isinstance(feature, Number) else ()
    )
    null = None if null_refused else cells(None)
    return _filled(blank, {it: cells(it) for it in known}, {}, ask.unknown, null, width)


def _cell(value: float) -> Cell:
    return None if math.isnan(value) else value


def _table(feature: Coded, ask: Callable[[float], Answer], width: int) -> list[Coded]:
    """A table of a table's values."""

    def answer(value: Value) -> Answer:
        return None if value is None else ask(value)

    special = {key: answer(value) for key, value in feature.special.items()}
    other = answer(feature.other)
    return _filled(feature, special, other, answer(feature.unknown), answer(feature.null), width)


def _filled(
    blank: Coded,
    special: dict[Key, Answer],
    other: Answer,
    unknown: Answer,
    null: Answer,
    width: int,
) -> list[Coded]:
    by_output: list[dict[Key, Value]] = [{} for _ in range(width)]
    refused: dict[Key, Value] = {}
    for key, answer in special.items():
        if answer is None:
            refused[key] = None
        else:
            for output, value in answer.items():
                by_output[output][key] = value
    for output in other or {}:
        # What other keys have has to be said for those that have it not.
        for key in special:
            by_output[output].setdefault(key, 0.0)

    def value_of(answer: Answer, output: int) -> Value:
        return None if answer is None else answer.get(output, 0.0)

    outputs = [
        replace(
            blank,
            special=by_output[output] | refused,
            other=value_of(other, output),
            unknown=value_of(unknown, output),
            null=value_of(null, output),
        )
        for output in range(width)
    ]
    guard = replace(
        blank,
        special=refused,
        other=value_of(other, -1),
        unknown=value_of(unknown, -1),
        null=value_of(null, -1),
    )
    return [*outputs, guard]
