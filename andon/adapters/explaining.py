"""What a fitted pipeline needs to answer well, measured on held-out rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from andon import training
from andon.explanation import Feature, Importances
from andon.importance import Indices, deal, donors, importance, narrow
from andon.metrics import METRICS
from andon.spec import ModelSpec
from andon.training import Array
from serving.bundle import Column

if TYPE_CHECKING:
    import pandas as pd

CELLS = 20_000_000  # of a frame at most: of many columns, fewer rows are looked at
MOST = 200  # columns that are looked at one by one
SECONDS = 300.0  # for the importances of a model; then what is left is left out


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
    classes: list[Any]
    positive: int
    held_out: int

    def outputs(self, frame: pd.DataFrame) -> training.Outputs:
        """What it says of rows."""
        return training.outputs(self.model, frame, self.spec.task, self.positive)

    def said(self, frame: pd.DataFrame) -> Array:
        """The output that the deciding metric uses: (n,)."""
        return self.outputs(frame).of_kind(METRICS[self.spec.metric_name].uses)

    @property
    def truth(self) -> Array:
        """The target in the deciding metric's form: (n,)."""
        named = self.classes[self.positive] if self.positive >= 0 else None
        return training.truth(self.y, self.spec.metric_name, named)


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


class _Bench:
    """Measures the metric with columns moved between rows."""

    def __init__(self, subject: Subject, repeats: int) -> None:
        self._subject, self._frame = subject, subject.frame.copy()
        self.group = deal(len(self._frame), subject.spec.seed)
        self._donors = donors(self.group, repeats, subject.spec.seed)
        self.y, self.said = subject.truth, subject.said(subject.frame)
        self.info = METRICS[subject.spec.metric_name]
        self.score = self.info.of(self.y, self.said)

    def without(self, block: Sequence[int], repeat: int) -> Array:
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
        found = self.score - self.info.of(self.y, said)
        found = found if self.info.greater_is_better else -found
        return found if np.isfinite(found) else 0.0

    def feature(self, name: str, without: list[Array]) -> Feature:
        metric = self._subject.spec.metric_name
        found = importance(metric, self.y, self.said, without, self.group)
        return Feature.of(name, found, len(without))


def importances(
    subject: Subject, *, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic
) -> Importances:
    """The importance of each column, the greatest first.

    More than `MOST` columns are first moved in blocks, and only the blocks that matter most are
    taken apart. Every column is permuted once before any is permuted again; when the time is up,
    some have fewer repeats, and what was never permuted is named.
    """
    deadline, repeats = clock() + seconds, subject.spec.explanation.repeats
    bench, names = _Bench(subject, repeats), [it.name for it in subject.columns]
    single, blocks = list(range(len(names))), list[list[int]]()
    if len(names) > MOST:

        def loss(block: Sequence[int]) -> float:
            return bench.loss(bench.without(block, 0)) if clock() < deadline else 0.0

        single, blocks = narrow(len(names), loss, MOST)
    said: dict[int, list[Array]] = {}
    for repeat in range(repeats):
        first = {it: -bench.loss(said[it][0]) for it in said}
        for it in sorted(single, key=lambda at: first.get(at, 0.0)):
            if clock() < deadline:
                said.setdefault(it, []).append(bench.without([it], repeat))
    features = [bench.feature(names[it], found) for it, found in said.items()]
    others = sorted(it for block in blocks for it in block)
    rest = None
    if others and clock() < deadline:
        moved = [bench.without(others, repeat) for repeat in range(repeats)]
        rest = bench.feature(f"the other {len(others):,} columns together", moved)
    unseen = [it for it in single if it not in said] + ([] if rest else others)
    return Importances(
        metric=subject.spec.metric_name,
        score=bench.score,
        rows=len(subject.frame),
        held_out=subject.held_out,
        features=tuple(sorted(features, key=lambda it: (-it.value, it.name))),
        rest=rest,
        rest_names=tuple(names[it] for it in others) if rest else (),
        left_out=tuple(names[it] for it in sorted(unseen)),
    )
