"""front.json: how features come from cells, as data."""

from __future__ import annotations

import msgspec

from serving.engines.ops import Exact, Op

Pairs = list[tuple[int, Exact]]
GUARD = -1  # a chain that only refuses


class Chain(msgspec.Struct, frozen=True):
    """A feature that is computed from the number in column `source`."""

    source: int
    feature: int
    ops: list[Op] = []


class Codes(msgspec.Struct, frozen=True):
    """Features looked up by the text, or the number after `ops`, in column `source`.

    `cells[i]`: what `texts[i]` or `numbers[i]` sets beyond the spec's base; null: it is refused.
    """

    source: int
    cells: list[Pairs | None]
    unknown: Pairs | None
    null: Pairs | None
    texts: list[str] | None = None
    numbers: list[Exact] | None = None
    ops: list[Op] = []


class FrontSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`base`: every feature's value where nothing sets it."""

    base: list[Exact]
    chains: list[Chain] = []
    codes: list[Codes] = []
