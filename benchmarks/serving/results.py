"""What was measured, as flat samples, and the medians and ratios of it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

Sample = dict[str, Any]


@dataclass(frozen=True)
class Spread:
    """A median over rounds, and the extremes."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self | None:
        found = sorted(values)
        return cls(statistics.median(found), found[0], found[-1]) if found else None

    def text(self, form: Callable[[float], str]) -> str:
        """`median (low to high)`, shorter where they read the same."""
        median, low, high = map(form, (self.median, self.low, self.high))
        return median if low == high else f"{median} ({low} to {high})"


@dataclass(frozen=True)
class Load:
    """One of the four loads; None for what does not depend on one."""

    rows: int
    clients: int

    def fits(self, sample: Sample) -> bool:
        return (sample.get("rows"), sample.get("clients")) == (self.rows, self.clients)


class Results:
    """Every sample of a run."""

    def __init__(self, samples: list[Sample] | None = None) -> None:
        self.samples: list[Sample] = samples or []

    def add(self, phase: str, **sample: Any) -> None:
        self.samples.append({"phase": phase, **sample})

    def of(self, phase: str, **where: Any) -> list[Sample]:
        """The samples of a phase that have these values."""
        return [
            it
            for it in self.samples
            if it["phase"] == phase and all(it.get(key) == value for key, value in where.items())
        ]

    def by_round(
        self, what: str, model: str, server: str, load: Load | None = None
    ) -> dict[int, float]:
        """One figure in each round: of a load, or of a start."""
        found = self.of("load" if load else "start", model=model, server=server)
        return {it["round"]: it[what] for it in found if load is None or load.fits(it)}

    def spread(self, what: str, model: str, server: str, load: Load | None = None) -> Spread | None:
        return Spread.of(self.by_round(what, model, server, load).values())

    def best(
        self, what: str, model: str, servers: Iterable[str], load: Load | None, most: bool
    ) -> str | None:
        """Which of the servers has the best median."""
        medians = {
            name: spread.median
            for name in servers
            if (spread := self.spread(what, model, name, load)) is not None
        }
        choose = max if most else min
        return choose(medians, key=lambda name: medians[name]) if medians else None

    def ratio(
        self, what: str, model: str, server: str, other: str | None, load: Load | None
    ) -> Spread | None:
        """Server to other, round by round."""
        if other is None:
            return None
        mine = self.by_round(what, model, server, load)
        theirs = self.by_round(what, model, other, load)
        return Spread.of(mine[it] / theirs[it] for it in mine.keys() & theirs.keys() if theirs[it])
