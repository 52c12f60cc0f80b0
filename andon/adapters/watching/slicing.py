"""Which slices an input is in: as `andon.cuts` cuts them, by borders that are fixed before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from andon import profile
from andon.adapters.files import load_spec
from andon.cuts import FEW_VALUES
from andon.errors import LineError

DAY = 86_400.0
Names = Callable[[Any], str | None]


class Slicer:
    """Names of slices by column; of values, not of rows that are seen together."""

    def __init__(self, columns: Mapping[str, Names]) -> None:
        self._columns = dict(columns)

    @property
    def columns(self) -> Sequence[str]:
        """The columns that are cut."""
        return list(self._columns)

    def of(self, record: Mapping[str, Any]) -> tuple[str, ...]:
        """The slices of one row; a column that is not there, or of odd values, is cut nowhere."""
        found = []
        for column, name in self._columns.items():
            with suppress(KeyError, ValueError, TypeError, OverflowError):
                value = name(record[column])
                found += [] if value is None else [f"{column}={value}"]
        return tuple(found)

    def of_rows(self, columns: Mapping[str, Sequence[Any]], n: int) -> list[tuple[str, ...]]:
        """The slices of `n` rows."""
        mine = {it: columns[it] for it in self._columns if it in columns}
        if not mine:
            return [()] * n
        rows = zip(*mine.values(), strict=True)
        return [self.of(dict(zip(mine, row, strict=True))) for row in rows]


def slicer_of(project: Path, model: str, bundle: Path) -> Slicer:
    """The spec's slices, cut by the bundle's reference profile; none without these two."""
    try:
        spec = load_spec(project, model)
        raw = (bundle / "profile.json").read_bytes()
        features = {it.name: it for it in profile.from_json(raw).features}
    except (LineError, OSError):
        return Slicer({})
    cut = {it: _names(features[it]) for it in spec.slices.columns if it in features}
    masked = set(spec.reports.mask)
    return Slicer({it: (_hidden(name) if it in masked else name) for it, name in cut.items()})


def _hidden(name: Names) -> Names:
    """Values that no message may show, by numbers in the order of their first appearance."""
    seen: dict[str, str] = {}

    def hidden(value: Any) -> str | None:
        found = name(value)
        return None if found is None else seen.setdefault(found, f"masked {len(seen) + 1}")

    return hidden


def _names(feature: profile.Feature) -> Names:
    if feature.kind == "category":
        known = set(feature.top)
        return lambda value: "null" if value is None else value if value in known else None
    if feature.kind == "boolean":
        return lambda value: "null" if value is None else str(bool(value)).lower()
    dates = feature.kind == "date"
    number = _days if dates else float
    few = len(feature.edges) - 1 <= FEW_VALUES
    named = _as_it_is if few and not dates else _between(_quarters(feature), dates)

    def name(value: Any) -> str | None:
        return "null" if value is None else named(number(value))

    return name


def _as_it_is(number: float) -> str:
    return f"{number:g}"


def _quarters(feature: profile.Feature) -> list[float]:
    """Borders near the quartiles: bins of the profile begin there."""
    counts = np.cumsum(feature.counts[1:-2])
    if not len(counts) or counts[-1] == 0:
        return []
    places = {int(np.searchsorted(counts, q * counts[-1])) + 1 for q in (0.25, 0.5, 0.75)}
    return [feature.edges[it] for it in sorted(places) if it < len(feature.edges) - 1]


def _between(borders: list[float], dates: bool) -> Callable[[float], str]:
    shown = [_date(it) if dates else f"{it:.6g}" for it in borders]
    if not shown:
        return lambda _: "any"
    middle = [f"{low} to {high}" for low, high in pairwise(shown)]
    names = [f"below {shown[0]}", *middle, f"{shown[-1]} or more"]
    return lambda number: names[int(np.searchsorted(borders, number, side="right"))]


def _date(days: float) -> str:
    return str(np.datetime64(int(days * DAY * 1e6), "us"))[:10]


def _days(value: Any) -> float:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return float(aware.timestamp()) / DAY
