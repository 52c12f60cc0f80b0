"""All that is found out about a challenger on held-out rows, beside a champion or alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from andon import cuts, evidence, slices, training, worst
from andon.calibration import calibration
from andon.compare import not_worse
from andon.metrics import METRICS, MetricInfo
from andon.paired import level
from andon.spec import ModelSpec
from andon.thresholds import judged
from andon.training import Outputs
from andon.verdict import Verdict

Array = NDArray[Any]
POINTS = 1_000  # of residuals
BARS = 40


@dataclass(frozen=True)
class Case:
    """Held-out rows: their truth as it stands in the data, and what the models say of them."""

    spec: ModelSpec
    info: MetricInfo
    y: Array
    challenger: Outputs
    champion: Outputs | None
    classes: list[Any]
    positive: int
    threshold: float | None = None

    @property
    def label(self) -> Any:
        """The positive label; None unless binary."""
        return self.classes[self.positive] if self.positive >= 0 else None

    def rows(self, info: MetricInfo) -> slices.Rows:
        """Truth and outputs as a metric takes them."""
        said = [
            None if it is None else it.of_kind(info.uses, self.label)
            for it in (self.challenger, self.champion)
        ]
        truth = training.truth(self.y, info, self.label, self.classes)
        return slices.Rows(truth, cast(Array, said[0]), said[1])

    def part(self, chosen: Array) -> Case:
        """Some of the rows, the champion's outputs left out."""
        return replace(self, y=self.y[chosen], challenger=self.challenger.part(chosen))

    def against(self, champion: Outputs) -> Case:
        """With a champion's outputs for the same rows."""
        return replace(self, champion=champion)


def compared(case: Case, *, hint: bool) -> Verdict:
    """Is the challenger not worse than the champion, which has to be there?

    `hint`: an inconclusive one says how many more rows would settle it.
    """
    rows, spec = case.rows(case.info), case.spec
    return not_worse(
        case.info,
        rows.y,
        cast(Array, rows.champion),
        rows.challenger,
        margin=spec.metric.margin,
        seed=spec.seed,
        hint=hint,
    )


def comparison(info: MetricInfo, said: Verdict) -> evidence.Comparison | None:
    """What `compared` has found, for reports; None if it could not measure."""
    seen = said.evidence
    if said.value is None or said.limit is None or "method" not in seen:
        return None
    return evidence.Comparison(
        metric=info.name,
        method=seen["method"],
        n=said.n,
        margin=-said.limit,
        champion=seen["champion"],
        challenger=seen["challenger"],
        gain=evidence.Interval(said.value, seen["low"], seen["high"]),
        outcome=cast(Any, said.outcome.value),
        better=seen["better"],
        worse_p=seen["worse_p"],
        equal_p=seen["equal_p"],
        more_rows=seen.get("more_rows"),
    )


def limit_interval(case: Case) -> tuple[float, float] | None:
    """The 95 % interval of the challenger's metric."""
    rows = case.rows(case.info)
    return level(case.info, rows.y, rows.challenger, seed=case.spec.seed)


def measures(case: Case) -> list[evidence.Measured]:
    """The metric that decides, then all of ours for this task."""
    ours = [it for it in METRICS.values() if case.spec.task in it.tasks]
    infos = [case.info, *(it for it in ours if it.name != case.info.name)]
    return [_measure(case, it, decides=it is case.info) for it in infos]


def _measure(case: Case, info: MetricInfo, *, decides: bool) -> evidence.Measured:
    rows, seed = case.rows(info), case.spec.seed

    def interval(said: Array | None) -> evidence.Interval | None:
        if said is None:
            return None
        value = info.of(rows.y, said)
        if not np.isfinite(value):
            return evidence.Interval(None)
        return evidence.Interval(value, *(level(info, rows.y, said, seed=seed) or (None, None)))

    return evidence.Measured(
        name=info.name,
        greater_is_better=info.greater_is_better,
        challenger=cast(evidence.Interval, interval(rows.challenger)),
        champion=interval(rows.champion),
        decides=decides,
        limit=case.spec.metric.limit if decides else None,
    )


def sliced(case: Case, table: pl.DataFrame, features: list[str]) -> evidence.Slices:
    """Named slices of the table's rows, and the worst ones of its features."""
    spec, rows, masked = case.spec, case.rows(case.info), set(case.spec.reports.mask)
    asked = spec.slices
    found: list[evidence.Slice] = []
    looked = 0

    def cut(name: str, chosen: Array) -> cuts.Coded:
        return cuts.coded(table[name][chosen], most=worst.TOP_VALUES, masked=name in masked)

    named = slices.named(
        case.info,
        rows,
        [cuts.coded(table[it], masked=it in masked) for it in asked.columns],
        margin=asked.margin,
        min_rows=asked.min_rows,
        seed=spec.seed,
    )
    if asked.find:
        few, seed = asked.min_rows, spec.seed
        found, looked = worst.worst(case.info, rows, cut, features, min_rows=few, seed=seed)
    value = case.info.of(rows.y, rows.challenger)
    return evidence.Slices(
        metric=case.info.name,
        greater_is_better=case.info.greater_is_better,
        overall=value if np.isfinite(value) else None,
        margin=asked.margin,
        min_rows=asked.min_rows,
        slices=[*named, *found],
        searched=looked,
    )


def judged_slices(case: Case, found: evidence.Slices) -> Verdict | None:
    """The verdict on named slices; None if there are none, or no champion to compare with."""
    if not case.spec.slices.columns or case.champion is None:
        return None
    named, asked = [it for it in found.slices if it.named], case.spec.slices
    return slices.verdict(named, margin=asked.margin, min_rows=asked.min_rows)


def of_task(case: Case) -> dict[str, Any]:
    """The parts of the evidence that depend on the task."""
    if case.spec.task == "regression":
        return {"residuals": _residuals(case)}
    if case.spec.task == "multiclass":
        return {"confusion": _confusion(case)}
    rows = case.rows(METRICS["brier"])
    parts: dict[str, Any] = {
        "confusion": _confusion(case),
        "calibration": calibration(rows.y, rows.challenger, seed=case.spec.seed),
    }
    if case.spec.threshold is not None:
        parts["thresholds"] = _thresholds(case)
    return parts


def _thresholds(case: Case) -> evidence.Thresholds | None:
    labels, costs = case.rows(METRICS["accuracy"]), case.spec.threshold
    if costs is None:
        return None
    return judged(
        labels.y,
        case.challenger.scores,
        labels.challenger,
        costs,
        chosen=case.threshold,
        champion=labels.champion,
        seed=case.spec.seed,
    )


def _confusion(case: Case) -> evidence.Confusion:
    place = {label: at for at, label in enumerate(case.classes)}
    others = sorted({*case.y.tolist()} - set(place))  # never learned, and yet there
    place |= {label: len(place) + at for at, label in enumerate(others)}

    def counts(said: Outputs | None) -> list[list[int]] | None:
        if said is None or said.labels is None:
            return None
        found = np.zeros((len(place), len(place)), dtype=int)
        pairs = ([place.get(it, -1) for it in labels.tolist()] for labels in (case.y, said.labels))
        truth, called = map(np.asarray, pairs)
        known = called >= 0
        np.add.at(found, (truth[known], called[known]), 1)
        return cast(list[list[int]], found.tolist())

    return evidence.Confusion(
        classes=[str(it) for it in place],
        challenger=counts(case.challenger) or [],
        champion=counts(case.champion),
    )


def _residuals(case: Case) -> evidence.Residuals | None:
    said = case.challenger.scores
    residual = case.y.astype(float) - said
    if len(residual) == 0 or not np.isfinite(residual).all():
        return None
    low, high = np.quantile(residual, (0.005, 0.995))
    if not low < high:
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(residual, BARS, (low, high))
    drawn = np.random.default_rng(case.spec.seed).permutation(len(said))[:POINTS]
    return evidence.Residuals(
        edges=edges.tolist(),
        counts=counts.tolist(),
        below=int((residual < low).sum()),
        above=int((residual > high).sum()),
        points=[(float(said[it]), float(residual[it])) for it in np.sort(drawn)],
        quantiles=np.quantile(residual, (0.05, 0.25, 0.5, 0.75, 0.95)).tolist(),
    )
