"""A build under test: what every model has to stand, what `model.yaml` asks, and golden rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl

from andon import behaviour, training
from andon.adapters import projects, tables
from andon.adapters.builds import Build, read_build
from andon.adapters.trainer import HELD_OUT
from andon.behaviour import Subject
from andon.errors import LineError
from andon.metrics import MetricInfo
from andon.spec import ModelSpec
from andon.verdict import Outcome, Verdict
from serving.bundle import Column

if TYPE_CHECKING:
    import pandas as pd

GOLDEN = "golden.json"
ROWS = 1_000


class GoldenRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row with what the model, or the features it makes of the row, have to be.

    `features` are by the pipeline's own names (`get_feature_names_out` of all steps but the last).
    """

    name: str
    row: dict[str, Any]
    score: float | None = None
    label: str | int | bool | None = None
    features: dict[str, float] = {}
    tolerance: float = 1e-6


@dataclass(frozen=True)
class Examined:
    """A build with the rows to test it on: the first held-out ones."""

    build: Build
    spec: ModelSpec
    rows: pl.DataFrame
    metric: MetricInfo

    @property
    def measure(self) -> training.Measure:
        """The metric that decides."""
        return training.Measure(self.metric, self.build.classes, self.build.positive)

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as the pipeline takes them."""
        return tables.training_frame(self.rows, self.build.columns)

    @property
    def subject(self) -> Subject:
        """The pipeline as the tests see it."""
        regression, pipeline = self.spec.task == "regression", self.build.model

        def scores(frame: pd.DataFrame) -> behaviour.Scores:
            said = pipeline.predict(frame) if regression else pipeline.predict_proba(frame)
            return np.asarray(said, dtype=float).reshape(len(frame), -1)

        def labels(frame: pd.DataFrame) -> Any:
            return np.asarray(pipeline.predict(frame).tolist(), dtype=object)

        named = None if regression else labels
        return Subject(scores, named, self.build.positive, self.build.columns)


def examine(folder: Path, spec: ModelSpec, project: Path) -> Examined:
    """The build of a folder, and the rows."""
    return Examined(
        build=read_build(folder),
        spec=spec,
        rows=pl.read_parquet(folder / HELD_OUT, n_rows=ROWS),
        metric=projects.metric_of(spec, project),
    )


def check(it: Examined, golden: list[GoldenRow]) -> list[Verdict]:
    """All tests but the project's own."""
    spec, frame, subject = it.spec, it.frame, it.subject
    asked, seed = spec.tests, spec.seed
    typical = _typical(frame, it.build.columns)
    found = [*behaviour.robust(subject, frame, seed), _nulls(it, frame)]
    for rule in asked.invariance:
        name = f"does not depend on {', '.join(rule.columns)}"
        found.append(_taken(name, behaviour.invariant, subject, frame, rule, seed))
    for way in asked.directional:
        name = f"{way.column} moves the score {way.expect}"
        found.append(_taken(name, behaviour.directional, subject, frame, way))
    for plain in asked.functionality:
        found.append(_taken(plain.name, behaviour.functional, subject, typical, plain))
    for row in golden:
        found.append(_taken(f"golden row: {row.name}", _golden, it, typical, row))
    return found


def _taken(check: str, test: Callable[..., Verdict], *arguments: Any) -> Verdict:
    """Rows that people wrote down have to be taken: here, a refusal is a failure."""
    try:
        return test(*arguments)
    except Exception as error:
        return behaviour.refused(check, error)


def read_golden(path: Path) -> list[GoldenRow]:
    """A project's golden rows; none if there is no such file. Raises LineError if it is wrong."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[GoldenRow])
    except FileNotFoundError:
        return []
    except msgspec.DecodeError as error:
        where = "/".join(path.parts[-4:])
        raise LineError(f"{where}: {error}; it has to be a list of rows with a name") from None


def _typical(frame: pd.DataFrame, columns: list[Column]) -> pd.DataFrame:
    """One row of medians and most frequent texts."""
    row = frame.head(1).copy()
    for column in columns:
        values = frame[column.name].dropna()
        if len(values):
            text = column.kind == "category"
            row[column.name] = values.mode().iloc[0] if text else values.median()
    return row


def _nulls(examined: Examined, frame: pd.DataFrame) -> Verdict:
    spec, of = examined.spec, examined.measure
    truth = of.truth(tables.target(examined.rows, spec))

    def said(rows: pd.DataFrame) -> Any:
        return of.said(training.outputs(examined.build.model, rows, spec.task, of.positive))

    before = said(frame)
    try:
        after = said(behaviour.with_nulls(frame, spec.seed))
    except LineError as error:
        return Verdict(
            check=behaviour.NULLS_COST,
            outcome=Outcome.PASS,
            n=len(frame),
            detail=f"rows with nulls are refused: {str(error).splitlines()[0]}",
        )
    return behaviour.keeps_its_gain(
        lambda rows: of.info.of(truth[rows], before[rows]),
        lambda rows: of.info.of(truth[rows], after[rows]),
        len(truth),
        constant=of.info.of(truth, training.constant(of.info, truth, truth)),
        share=spec.tests.robustness,
        seed=spec.seed,
    )


def _golden(examined: Examined, typical: pd.DataFrame, it: GoldenRow) -> Verdict:
    """A row whose features, score or label people have written down."""
    name, subject = f"golden row: {it.name}", examined.subject
    known = {column.name for column in examined.build.columns}
    if unknown := sorted(set(it.row) - known):
        detail = (
            f"{GOLDEN}: found {', '.join(unknown)}, the features are {', '.join(sorted(known))}"
        )
        return Verdict(check=name, outcome=Outcome.FAIL, n=1, detail=detail)
    row = typical.assign(**it.row)
    wrongs = []
    score = float(subject.score(row)[0])
    if it.score is not None and not abs(score - it.score) <= it.tolerance:
        wrongs.append(f"the score is {score:.6g}, not {it.score:.6g}")
    if it.label is not None and (label := subject.labels and subject.labels(row)[0]) != it.label:
        wrongs.append(f"the label is {label!r}, not {it.label!r}")
    made = _features(examined.build.model, row) if it.features else {}
    for feature, wanted in it.features.items():
        got = made.get(feature)
        if got is None:
            wrongs.append(f"there is no feature {feature}, but {', '.join(list(made)[:20])}")
        elif not abs(got - wanted) <= it.tolerance:
            wrongs.append(f"{feature} is {got:.6g}, not {wanted:.6g}")
    return Verdict(
        check=name,
        outcome=Outcome.FAIL if wrongs else Outcome.PASS,
        value=score,
        limit=it.score,
        n=1,
        detail="; ".join(wrongs) or "as written down",
    )


def _features(pipeline: Any, row: pd.DataFrame) -> dict[str, float]:
    if type(pipeline).__name__ == "FixedThresholdClassifier":  # as `threshold` makes it
        pipeline = pipeline.estimator_.estimator
    steps = getattr(pipeline, "steps", [])
    if len(steps) < 2:
        return {name: float(row[name].iloc[0]) for name in row.columns if row[name].dtype != object}
    front = pipeline[:-1]
    made = front.transform(row)
    dense = np.asarray(made.toarray() if hasattr(made, "toarray") else made, dtype=float)
    return dict(zip(front.get_feature_names_out(), dense[0].tolist(), strict=True))
