"""The rows of a split, as a pipeline is given them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from andon import training
from andon.adapters import projects, tables
from andon.adapters.trainer import HELD_OUT, LEARN, Request
from andon.folds import Folding
from andon.metrics import MetricInfo
from andon.spec import GroupSplit, ModelSpec, TimeSplit
from serving.bundle import Column, read_signature


@dataclass(frozen=True)
class Data:
    """Both parts, as tables and as a pipeline takes them; `positive` is its class' index or -1."""

    spec: ModelSpec
    columns: list[Column]
    learn: pl.DataFrame
    test: pl.DataFrame
    frame: Any
    y: Any
    test_frame: Any
    y_test: Any
    classes: list[Any]
    positive: int
    metric: MetricInfo

    def outputs(self, model: Any, frame: Any) -> training.Outputs:
        """What a model says of rows."""
        return training.outputs(model, frame, self.spec.task, self.positive)

    @property
    def measure(self) -> training.Measure:
        """The metric that decides."""
        return training.Measure(self.metric, self.classes, self.positive)


def read(request: Request) -> Data:
    """Read a split; raises DataError if its target is not what the task wants."""
    spec = request.spec
    learn, test = (pl.read_parquet(request.split / it) for it in (LEARN, HELD_OUT))
    columns = read_signature(request.split).columns
    y = tables.target(learn, spec)
    classes, positive = training.classes_of(y, spec.task, spec.positive)
    return Data(
        spec=spec,
        columns=columns,
        learn=learn,
        test=test,
        frame=tables.training_frame(learn, columns),
        y=y,
        test_frame=tables.training_frame(test, columns),
        y_test=tables.target(test, spec),
        classes=classes,
        positive=positive,
        metric=projects.metric_of(spec, request.project),
    )


def folding(data: Data) -> Folding:
    """What the rows to learn from hang together by, as the spec's split says."""
    spec, learn = data.spec, data.learn
    if isinstance(spec.split, TimeSplit):
        times = learn[spec.time or ""].cast(pl.Datetime("us")).cast(pl.Int64).to_numpy()
        return Folding(times=times)
    if isinstance(spec.split, GroupSplit):
        return Folding(groups=_numbered(learn[spec.split.column].cast(pl.String)))
    keys = pl.Series(tables.keys(learn, spec))
    # Rows with one key are on one side of the split; so they are in one fold.
    return Folding(groups=_numbered(keys) if keys.is_duplicated().any() else None)


def _numbered(texts: pl.Series) -> np.ndarray[Any, Any]:
    return texts.rank("dense").to_numpy().astype(np.int64)
