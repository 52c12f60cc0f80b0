"""Builds' folders, as training leaves them, and tables with a known truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from andon import training
from andon.adapters import tables
from andon.spec import ModelSpec
from serving.archive import dump

NOWHERE = Path("nowhere")  # no project is needed, but for a metric of its own


def make(folder: Path, table: pl.DataFrame, pipeline: Any, **given: Any) -> tuple[Path, ModelSpec]:
    """A build's folder, as training leaves it: three quarters of the rows are learned from."""
    spec = ModelSpec(name="x", data="x", **{"target": "y", **given})
    cut = table.height * 3 // 4
    learn, held_out = table[:cut], table[cut:]
    signature = tables.signature(learn, spec)
    y = tables.target(learn, spec)
    classes, positive = training.classes_of(y, spec.task, spec.positive)
    model = training.fit(pipeline, tables.training_frame(learn, signature.columns), y)
    folder.mkdir()
    held_out.write_parquet(folder / "held_out.parquet")
    dump(model, folder / "model.skops")
    (folder / "signature.json").write_bytes(msgspec.json.encode(signature))
    facts = {"classes": classes, "positive": positive}
    (folder / "facts.json").write_text(json.dumps(facts))
    return folder, spec


def noise(n: int, columns: int = 1, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(n, columns))


def lined(n: int = 800, columns: int = 4) -> pl.DataFrame:
    """y = 3 a + b + chance; the others tell nothing."""
    x = noise(n, columns)
    names = ["a", "b", *(f"c{i}" for i in range(columns - 2))]
    y = 3 * x[:, 0] + x[:, 1] + noise(n, seed=1)[:, 0]
    return pl.DataFrame({**{name: x[:, i] for i, name in enumerate(names)}, "y": y})
