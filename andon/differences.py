"""What differs between two snapshots: columns, rows by key, and distributions, with evidence."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from andon import drift, profile
from andon.profile import Feature
from andon.summary import Tally
from andon.verdict import Outcome, Verdict

HIDDEN = "(masked)"


@dataclass(frozen=True)
class ColumnChange:
    """A column of one snapshot that the other lacks (none), or has as another kind."""

    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.name} is new ({self.after})"
        if self.after is None:
            return f"{self.name} is gone (was {self.before})"
        return f"{self.name} is {self.after} (was {self.before})"


@dataclass(frozen=True)
class KeyedRows:
    """Rows by key; `cells` counts changed values by column, of rows that both have."""

    added: int
    removed: int
    changed: int
    same: int
    cells: dict[str, int]


@dataclass(frozen=True)
class Shift:
    """How one column's values moved; the verdict fails where effect and evidence are both there.

    `nulls` and `mean` are of the snapshot before, and after; `largest` names the bin that moved
    most, with its shares.
    """

    column: str
    kind: str
    verdict: Verdict
    nulls: tuple[float, float]
    mean: tuple[float | None, float | None]
    largest: str


@dataclass(frozen=True)
class Difference:
    """All of it. `keyed` is none where rows cannot be told apart; `notes` say what was left out."""

    rows: tuple[int, int]
    columns: tuple[ColumnChange, ...]
    keyed: KeyedRows | None
    shifts: tuple[Shift, ...]
    notes: tuple[str, ...]


def column_changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[ColumnChange]:
    """Columns that came, went or changed their kind, by name."""
    return [
        ColumnChange(name, before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]


def shifts(
    pairs: Sequence[tuple[Feature, Feature]],
    *,
    alpha: float,
    effect: float,
    min_rows: int,
    masked: Collection[str] = (),
) -> list[Shift]:
    """One for each column, the largest effect first.

    Each pair is a column of both snapshots, counted over the bins of the first. The p values are
    of two-sample tests, adjusted for their number (see `andon.drift`). Nothing that is told of a
    `masked` column shows a value of it.
    """
    verdicts = drift.drift(
        {f"drift: {before.name}": before for before, _ in pairs},
        [{f"drift: {after.name}": Tally(profile.counts(after)) for _, after in pairs}],
        alpha=alpha,
        effect=effect,
        min_rows=min_rows,
    )
    found = [
        _shift(before, after, verdict, before.name in masked)
        for (before, after), verdict in zip(pairs, verdicts, strict=True)
    ]
    return sorted(found, key=lambda it: (-(it.verdict.value or 0.0), it.column))


def changed(found: Sequence[Shift]) -> list[Shift]:
    """The shifts that are large enough to matter, and no chance."""
    return [it for it in found if it.verdict.outcome is Outcome.FAIL]


def _shift(before: Feature, after: Feature, verdict: Verdict, masked: bool) -> Shift:
    nulls = (_share(before.nulls, before.n), _share(after.nulls, after.n))
    return Shift(
        column=before.name,
        kind=str(before.kind),
        verdict=verdict,
        nulls=nulls,
        mean=(None, None) if masked else (before.mean, after.mean),
        largest=HIDDEN if masked else _largest(before, after),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _largest(before: Feature, after: Feature) -> str:
    if not before.n or not after.n:
        return ""
    p, q = profile.counts(before) / before.n, profile.counts(after) / after.n
    place = int(np.argmax(np.abs(p - q)))
    if p[place] == q[place]:
        return ""
    return f"{profile.labels(before)[place]}: {p[place]:.1%} → {q[place]:.1%}"
