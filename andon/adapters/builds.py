"""What training left in a build's folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from andon import training
from andon.adapters import tables
from andon.adapters.files import file_hash
from andon.adapters.trainer import FACTS, MODEL, MODEL_HASH
from andon.errors import DataError, LineError
from andon.spec import ModelSpec
from andon.thresholds import threshold_of
from andon.training import Outputs
from serving.bundle import Column, read_signature

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Build:
    """A fitted pipeline. `positive` is its class' index, -1 unless binary; `split` its rows'."""

    model: Any
    columns: list[Column]
    classes: list[Any]
    positive: int
    split: str | None = None

    @property
    def features(self) -> list[str]:
        """The features' names."""
        return [it.name for it in self.columns]

    @property
    def threshold(self) -> float | None:
        """The score from which on it says yes, if that was chosen by cost."""
        return threshold_of(self.model)

    def outputs(self, table: pl.DataFrame, spec: ModelSpec) -> Outputs:
        """What it says of a table's rows; raises DataError if a column is missing."""
        frame = tables.training_frame(table, self.columns)
        return training.outputs(self.model, frame, spec.task, self.positive)


def read_build(folder: Path) -> Build:
    """The build of a folder; raises DataError if its pipeline is not the one that was fitted."""
    facts = read_facts(folder)
    return Build(
        model=read_fitted(folder),
        columns=read_signature(folder).columns,
        classes=facts["classes"],
        positive=facts["positive"],
        split=facts.get("split"),
    )


def read_facts(folder: Path) -> dict[str, Any]:
    """Metrics, classes, rows and more, by name."""
    found: dict[str, Any] = json.loads((folder / FACTS).read_text())
    return found


def read_fitted(folder: Path) -> Any:
    """The pipeline; raises DataError if it is not the one that was fitted."""
    from serving.engines.sklearn import read_model

    # Builds of an earlier Andon have no hash; what they hold is still only of trusted types.
    wanted, found = read_facts(folder).get(MODEL_HASH), file_hash(folder / MODEL)
    if wanted not in (None, found):
        raise DataError(
            f"{folder / MODEL}: its SHA-256 is {found}, the one that was fitted has {wanted}: "
            f"somebody or something changed it; remove {folder} and deliver again"
        )
    return read_model(folder / MODEL)


def keep_fitted(model: Any, path: Path, code: str) -> None:
    """Write it and read it again: what a prediction server would refuse is no use to anybody."""
    from serving.archive import dump
    from serving.bundle import BundleError
    from serving.engines.sklearn import read_model

    dump(model, path)
    try:
        read_model(path)
    except BundleError as error:
        why = str(error).removeprefix(f"{path}: ")
        raise LineError(
            f"{code}: no prediction server would load this pipeline: it {why}; use the classes of "
            "scikit-learn, without lambdas or functions of your own"
        ) from None
