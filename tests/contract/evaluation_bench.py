"""The stations from a snapshot to an evaluation, on made-up people, without a platform."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

import tasks.bundle
import tasks.evaluate
import tasks.line
import tasks.split
import tasks.train
from andon import evidence
from andon.adapters import tables
from andon.adapters.files import load_settings
from andon.adapters.inference_log import Window
from tasks.line import Job
from tasks.results import Evaluated, Snapshot, Trained

PIPELINE = """
from sklearn.compose import make_column_transformer
from sklearn.linear_model import {cls}
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

def pipeline():
    front = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["region"]),
        (StandardScaler(), {columns}),
    )
    return make_pipeline(front, {cls}({settings}))
"""
SPEC = """
data: d.csv
target: y
task: {task}
key: id
serving: {{engine: sklearn}}
slices: {{columns: [region], min_rows: 50}}
{more}
"""


def people(n: int, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    table = pl.DataFrame(
        {
            "id": [f"p{seed}-{it}" for it in range(n)],
            "region": rng.choice(["north", "south"], n),
            "age": rng.normal(40, 10, n),
            "income": rng.normal(0, 1, n),
        }
    )
    z = 1.5 * table["income"].to_numpy() + (table["age"].to_numpy() - 40) / 10
    noisy = z + rng.logistic(size=n) / 2
    return table.with_columns(
        yes=pl.Series(np.where(noisy > 0, "yes", "no")),
        kind=pl.Series(np.array(["a", "b", "c"])[np.digitize(noisy, [-0.7, 0.7])]),
        value=pl.Series(noisy),
    )


def bench(project: Path, patch: pytest.MonkeyPatch) -> Bench:
    """One in an empty project; nothing is told to a platform, and there is no ledger."""
    patch.setenv("ANDON_PROJECT", str(project))
    (project / "andon.yaml").touch()
    found = Bench(project)
    patch.setattr(tasks.line, "ledger_of", lambda _: None)
    for station in (tasks.split, tasks.train, tasks.evaluate, tasks.bundle):
        for name in ("keep", "show"):
            patch.setattr(station, name, lambda *_: None, raising=False)
    # Progress is told to servers that are not there.
    silent = SimpleNamespace(take=lambda _: None)
    patch.setattr(tasks.train, "told", lambda *_: contextlib.nullcontext(silent))
    patch.setattr(tasks.evaluate, "champion_of", lambda *_: found.rival)
    patch.setattr(tasks.evaluate, "_live", lambda *_: found.live)
    return found


TARGETS = {"binary": "yes", "multiclass": "kind", "regression": "value"}


@dataclass
class Bench:
    """The stations from snapshot to evaluation, with a ledger that says who is champion."""

    project: Path
    model: str = "people"
    rival: Any = None
    live: Window = field(default_factory=lambda: Window((), {}))
    job: Job = field(init=False)

    def __post_init__(self) -> None:
        self.job = Job(run_id="r1", flow="deliver", model=self.model, trigger="test")

    def write(self, *, task="binary", more="", columns=("age", "income"), settings="") -> None:
        cls = "LinearRegression" if task == "regression" else "LogisticRegression"
        folder = self.project / "models" / self.model
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.yaml").write_text(SPEC.format(task=task, more=more))
        code = PIPELINE.format(cls=cls, columns=list(columns), settings=settings)
        (folder / "pipeline.py").write_text(code)

    def snapshot(self, table: pl.DataFrame, task: str = "binary") -> Snapshot:
        target = TARGETS[task]
        kept = [it for it in table.columns if it not in TARGETS.values()]
        hash_ = f"{abs(hash((tuple(table['id']), task, tuple(kept)))):x}"[:12]
        folder = load_settings().store / "snapshots" / hash_
        folder.mkdir(parents=True, exist_ok=True)
        source = folder / "source.parquet"
        table.select(*kept, pl.col(target).alias("y")).write_parquet(source)
        tables.write_snapshot(source, folder)
        relative = str(folder.relative_to(load_settings().state))
        return Snapshot(hash=hash_, folder=relative, rows=table.height, columns={}, source="test")

    def train(self, table: pl.DataFrame, task: str = "binary") -> tuple[Snapshot, Trained]:
        snapshot = self.snapshot(table, task)
        return snapshot, tasks.train.train.fn(
            self.job, tasks.split.split_rows.fn(self.job, snapshot)
        )

    def crown(self, trained: Trained, version: str = "1") -> None:
        """Make a build the champion."""
        made = tasks.bundle.make_bundle.fn(self.job, trained, version)
        self.rival = SimpleNamespace(
            version=version, build=trained.key, bundle=made.folder, digest=made.digest
        )

    def evaluate(self, snapshot: Snapshot, trained: Trained) -> tuple[Evaluated, Any]:
        said = tasks.evaluate.evaluate.fn(self.job, snapshot, trained)
        raw = (load_settings().state / said.folder / evidence.EVALUATION).read_bytes()
        return said, evidence.from_json(raw)
