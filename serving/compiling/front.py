"""The front end of a pipeline: the longest row of first steps that are known column by column."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from serving.bundle import Signature
from serving.compiling.errors import CannotCompile
from serving.compiling.steps import Steps
from serving.compiling.symbolic import Coded, Feature, Key, Number, Text, Value
from serving.engines.front import GUARD, Chain, Codes, FrontSpec, Pairs
from serving.engines.ops import exact

Entries = list[tuple[int, Coded]]  # output, what it is


@dataclass(frozen=True)
class CompiledFront:
    """`front.json`, how many features it gives, and the steps that are left."""

    content: bytes
    width: int
    rest: list[Any]
    why: str = ""  # the rest was not compiled

    def only(self) -> Any:
        """The estimator, if it is all that is left."""
        if len(self.rest) > 1:
            raise CannotCompile(self.why)
        return self.rest[0]


def compile_front(steps: Sequence[Any], signature: Signature) -> CompiledFront:
    """The front end of `steps`, whose last one is the estimator; raises CannotCompile."""
    features: list[Feature] = [
        Text(source) if column.kind == "category" else Number(source)
        for source, column in enumerate(signature.columns)
    ]
    guards: list[Feature] = []
    done, why = 0, ""
    for transformer in steps[:-1]:
        compiled = Steps()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of unknown categories, which we ask for
                features = compiled(transformer, features)
        except CannotCompile as error:
            why = f"no compiled form of {error}"
            break
        guards += compiled.guards
        done += 1
    for feature in features:
        if isinstance(feature, Text):
            name = signature.columns[feature.source].name
            raise CannotCompile(
                why or f"column {name!r} reaches {type(steps[done]).__name__} as text"
            )
    content = msgspec.json.encode(_spec(features, guards))
    return CompiledFront(content, len(features), list(steps[done:]), why)


def _spec(features: list[Feature], guards: list[Feature]) -> FrontSpec:
    base: list[float] = [0.0] * len(features)
    chains: list[Chain] = []
    groups: dict[Any, Entries] = {}
    for output, feature in [*enumerate(features), *((GUARD, guard) for guard in guards)]:
        if isinstance(feature, Number):
            chains.append(Chain(feature.source, output, list(feature.ops)))
        elif isinstance(feature, Coded):
            if output != GUARD:
                base[output] = math.nan if feature.other is None else feature.other
            # Features of one encoder share the very list of categories.
            shared = (feature.source, id(feature.known), str(feature.ops))
            groups.setdefault(shared, []).append((output, feature))
    codes = [_codes(entries, base) for entries in groups.values()]
    return FrontSpec([exact(value) for value in base], chains, codes)


def _codes(entries: Entries, base: list[float]) -> Codes:
    first = entries[0][1]
    cells: dict[Key, Pairs | None] = {key: [] for key in first.known}
    for output, feature in entries:
        if feature.other is None:
            cells.update((key, None) for key in first.known if key not in feature.special)
        for key, value in feature.special.items():
            cells[key] = _with(cells.get(key), output, value, base)
    unknown: Pairs | None = []
    null: Pairs | None = []
    for output, feature in entries:
        unknown = _with(unknown, output, feature.unknown, base)
        null = _with(null, output, feature.null, base)
    numbers = not any(isinstance(key, str) for key in cells)
    of_text = isinstance(next(iter(cells), ""), str)
    return Codes(
        source=first.source,
        cells=list(cells.values()),
        unknown=unknown,
        null=null,
        texts=[str(key) for key in cells] if of_text else None,
        numbers=[exact(float(key)) for key in cells] if numbers and not of_text else None,
        ops=list(first.ops),
    )


def _with(pairs: Pairs | None, output: int, value: Value, base: list[float]) -> Pairs | None:
    if pairs is None or value is None:
        return None
    if output == GUARD or value == base[output] or (math.isnan(value) and math.isnan(base[output])):
        return pairs
    pairs.append((output, exact(value)))
    return pairs
