"""What a fitted pipeline needs to answer well, measured on held-out rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from andon import training
from andon.explanation import Feature, Importances
from andon.importance import Indices, deal, donors, importance, narrow
from andon.metrics import MetricInfo
from andon.spec import ModelSpec
from andon.training import Array
from serving.bundle import Column

if TYPE_CHECKING:
    import pandas as pd

CELLS = 4_000_000  # of a frame at most: of many columns, fewer rows are looked at
MOST = 100  # columns that are looked at one by one
ALIKE = 0.9  # rank correlation
SECONDS = 120.0  # for the importances of a model; then what is left is left out


@dataclass(frozen=True)
class Subject:
    """A fitted pipeline, and the rows it is looked at on: a frame as it takes it, and the truth.

    `held_out` is of how many rows these are a sample.
    """

    model: Any
    frame: pd.DataFrame
    y: Array
    columns: list[Column]
    spec: ModelSpec
    metric: MetricInfo
    classes: list[Any]
    positive: int
    held_out: int

    def outputs(self, frame: pd.DataFrame) -> training.Outputs:
        """What it says of rows."""
        return training.outputs(self.model, frame, self.spec.task, self.positive)

    def said(self, frame: pd.DataFrame) -> Array:
        """The output that the deciding metric uses: (n,)."""
        return self.outputs(frame).of_kind(self.metric.uses, self.named)

    @property
    def truth(self) -> Array:
        """The target in the deciding metric's form: (n,)."""
        return training.truth(self.y, self.metric, self.named, self.classes)

    @property
    def named(self) -> Any:
        """Binary: the positive label."""
        return self.classes[self.positive] if self.positive >= 0 else None


def sample(path: Path, rows: int, seed: int, columns: int) -> tuple[pl.DataFrame, int]:
    """At most `rows` rows of a Parquet file in their order, and how many it has.

    Only the chosen rows are kept in memory. Of very many columns, fewer rows are taken.
    """
    scanned = pl.scan_parquet(path)
    total = int(scanned.select(pl.len()).collect().item())
    rows = min(rows, max(50, CELLS // max(columns, 1)))
    if total <= rows:
        return scanned.collect(), total
    chosen = np.sort(np.random.default_rng(seed).choice(total, rows, replace=False))
    wanted = np.zeros(total, dtype=bool)
    wanted[chosen] = True
    return scanned.filter(pl.lit(pl.Series(wanted))).collect(engine="streaming"), total


def alike(subject: Subject) -> list[tuple[str, str, float]]:
    """Pairs of numeric columns that tell nearly the same: names and rank correlation.

    Shuffling one of them loses little, for the model has the other. (Spearman's; nulls in the
    middle; the closest pairs first.)
    """
    from scipy.stats import rankdata

    names = [it.name for it in subject.columns if it.kind != "category"][:MOST]
    ranks = [rankdata(subject.frame[it], nan_policy="omit") for it in names]
    table = np.array([np.nan_to_num(it, nan=float(np.nanmean(it))) for it in ranks if _varies(it)])
    names = [name for name, it in zip(names, ranks, strict=True) if _varies(it)]
    if len(names) < 2:
        return []
    rho = np.corrcoef(table)
    pairs = [(i, j) for i, j in zip(*np.triu_indices(len(names), 1), strict=True)]
    close = [(names[i], names[j], float(rho[i, j])) for i, j in pairs if abs(rho[i, j]) >= ALIKE]
    return sorted(close, key=lambda it: -abs(it[2]))


def _varies(ranks: Array) -> bool:
    known = ranks[np.isfinite(ranks)]
    return len(known) > 2 and bool(known.min() < known.max())


class _Bench:
    """Measures the metric with columns moved between rows."""

    def __init__(self, subject: Subject, repeats: int) -> None:
        self._subject, self._frame = subject, subject.frame.copy()
        self.group = deal(len(self._frame), subject.spec.seed)
        self._donors = donors(self.group, repeats, subject.spec.seed)
        self.y, self.said = subject.truth, subject.said(subject.frame)
        self.info = subject.metric
        self.score = self.info.of(self.y, self.said)

    def without(self, block: Sequence[int], repeat: int = 0) -> Array:
        """The output with these columns moved together."""
        given: Indices = self._donors[repeat]
        names = [self._subject.columns[it].name for it in block]
        kept = {name: self._frame[name] for name in names}
        for name in names:
            self._frame[name] = kept[name].to_numpy()[given]
        try:
            return self._subject.said(self._frame)
        finally:
            for name in names:
                self._frame[name] = kept[name]

    def loss(self, said: Array) -> float:
        """Positive: worse than with all columns in place; an undefined metric tells nothing."""
        found = self.info.sign * (self.score - self.info.of(self.y, said))
        return found if np.isfinite(found) else 0.0

    def feature(self, name: str, without: list[Array]) -> Feature:
        found = importance(self.info, self.y, self.said, without, self.group)
        return Feature.of(name, found, len(without))


def importances(
    subject: Subject, *, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic
) -> Importances:
    """The importance of each column, the greatest first.

    Of more than `MOST` columns, one half of the rows chooses which are looked at: they are moved in
    blocks, and the blocks that matter most are taken apart. The other half measures them, so that
    what was chosen by chance does not look important. Every column is permuted once before any is
    permuted again; when the time is up, some have fewer repeats, and what was never permuted is
    named.
    """
    deadline, names = clock() + seconds, [it.name for it in subject.columns]
    single, others = list(range(len(names))), list[int]()
    if len(names) > MOST:
        rows = np.random.default_rng([subject.spec.seed, 2]).permutation(len(subject.frame))
        first, subject = (_part(subject, np.sort(it)) for it in np.array_split(rows, 2))
        chooser = _Bench(first, 1)

        def loss(block: Sequence[int]) -> float:
            in_time = clock() < deadline - seconds / 2
            return chooser.loss(chooser.without(block)) if in_time else 0.0

        single, blocks = narrow(len(names), loss, MOST)
        others = sorted(it for block in blocks for it in block)
    bench = _Bench(subject, subject.spec.explanation.repeats)
    said = _permuted(bench, single, subject.spec.explanation.repeats, lambda: clock() < deadline)
    features = [bench.feature(names[it], found) for it, found in said.items()]
    rest = None
    if others:
        together = f"the other {len(others):,} columns together"
        rest = bench.feature(together, [bench.without(others)])
    return Importances(
        metric=subject.spec.metric_name,
        greater_is_better=subject.metric.greater_is_better,
        score=bench.score,
        rows=len(subject.frame),
        held_out=subject.held_out,
        features=tuple(sorted(features, key=_order)),
        rest=rest,
        rest_names=tuple(names[it] for it in others),
        left_out=tuple(names[it] for it in sorted(single) if it not in said),
    )


def _order(it: Feature) -> tuple[float, str]:
    """The greatest first; what is undefined comes last."""
    return (-it.value if np.isfinite(it.value) else float("inf"), it.name)


def _permuted(
    bench: _Bench, columns: list[int], repeats: int, in_time: Callable[[], bool]
) -> dict[int, list[Array]]:
    """The outputs without each column, by repeat; later repeats begin with what mattered most."""
    said: dict[int, list[Array]] = {}
    for repeat in range(repeats):
        first = {it: -bench.loss(found[0]) for it, found in said.items()}
        for it in sorted(columns, key=lambda at: first.get(at, 0.0)):
            if in_time():
                said.setdefault(it, []).append(bench.without([it], repeat))
    return said


def _part(subject: Subject, rows: Indices) -> Subject:
    frame = subject.frame.iloc[rows].reset_index(drop=True)
    return replace(subject, frame=frame, y=subject.y[rows])
