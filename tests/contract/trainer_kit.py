"""Splits to train on, and what a training left."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from andon.adapters import splitting, tables
from andon.adapters.child import Report
from andon.adapters.compute import Limits
from andon.adapters.trainer import FACTS, HELD_OUT, LEARN, SIGNATURE, Request
from andon.spec import ModelSpec

RNG = np.random.default_rng(0)
N = 600
X = RNG.normal(size=N)
ROWS = pl.DataFrame(
    {
        "id": range(N),
        "x": X,
        "z": RNG.normal(size=N),
        "place": [f"p{i % 11}" for i in range(N)],
        "at": pl.datetime_range(
            pl.datetime(2026, 1, 1), pl.datetime(2026, 1, 25, 23), "1h", eager=True
        )[:N],
        "y": np.where(X + RNG.normal(0, 0.7, N) > 0, "yes", "no"),
        "value": 3 * X + RNG.normal(0, 0.1, N),
    }
)
LINE = """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

def pipeline():
    return Pipeline([("scale", StandardScaler()), ("line", LogisticRegression())])
"""
LIMITS = Limits(seconds=120, memory_mb=2_000, cpus=2)


class Heard(Report):
    """Keeps what is told."""

    def __init__(self) -> None:
        super().__init__(None)
        self.events: list[dict[str, Any]] = []

    def tell(self, **event: Any) -> None:
        self.events.append(json.loads(json.dumps(event)))


class Make:
    """Makes a split of rows, and what asks for it to be trained."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, pipeline: str = LINE, rows: pl.DataFrame = ROWS, **keys: Any) -> Request:
        drop = ["value", "place"] if keys.get("task") != "regression" else ["y", "place"]
        given = {"target": "y", "task": "binary", "key": "id", "time": "at", "drop": drop, **keys}
        spec = ModelSpec.model_validate({"name": "m", "data": "d.parquet", **given})
        models = self._folder / "models" / "m"
        models.mkdir(parents=True)
        (models / "pipeline.py").write_text(textwrap.dedent(pipeline))
        split, build = self._folder / "split", self._folder / "build"
        for it in (split, build):
            it.mkdir()
        parts = splitting.split(rows, spec)
        tables.write(parts.learn, split / LEARN)
        tables.write(parts.held_out, split / HELD_OUT)
        (split / SIGNATURE).write_bytes(msgspec.json.encode(parts.signature))
        return Request(project=self._folder, spec=spec, split=split, folder=build, cpus=2)


def facts(request: Request) -> dict[str, Any]:
    return json.loads((request.folder / FACTS).read_text())


def outcomes(request: Request) -> dict[str, str]:
    return {it["check"]: it["outcome"] for it in facts(request)["verdicts"]}
