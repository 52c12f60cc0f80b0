"""The fitted pipelines, saved as each server takes them."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import joblib
import pandas as pd
from case import COLUMNS, Fitted, Record
from correct import Rows
from processes import THREADS
from servers import PEERS, SERVERS, Server
from venvs import SetupError

from serving.bundle import Manifest, Signature
from serving.frame import to_table
from serving.writing import write_bundle

SAMPLES = 30
DISTINCT = {1: 1_000, 100: 50}  # bodies by rows in each; a server that cached would gain by few


@dataclass(frozen=True)
class Model:
    """One kind of pipeline, ready to be served."""

    kind: str
    folder: Path
    rows: Rows
    engine: str  # of our bundle

    def form(self, server: Server) -> Path:
        """What that server loads."""
        return self.folder / {"joblib": "model.joblib"}.get(server.model, server.model)

    def bodies(self, server: Server, rows: int) -> Path:
        """A file with a request in each line."""
        return self.folder / f"{server.name}-{rows}.jsonl"


def save(fitted: Fitted, training: pd.DataFrame, evaluation: list[Record], folder: Path) -> Model:
    """All forms but MLflow's, which is saved by its own packages."""
    folder.mkdir(parents=True)
    joblib.dump(fitted.pipeline, folder / "model.joblib")
    training.to_parquet(folder / "training.parquet")
    engine = bundle(fitted, evaluation, folder / "bundle")
    bundle(fitted, evaluation, folder / "fallback", ["sklearn"])
    rows = Rows(evaluation, fitted.scores, fitted.labels)
    model = Model(fitted.kind, folder, rows, engine)
    (folder / "records.json").write_text(json.dumps(evaluation[: DISTINCT[1]]))
    for server in SERVERS:
        _render(model, server)
    return model


def bundle(
    fitted: Fitted, evaluation: list[Record], folder: Path, engines: list[str] | None = None
) -> str:
    """Ours, by the parity gate; returns the engine that was chosen."""
    written = write_bundle(
        folder,
        manifest=Manifest("benchmark", "1", "binary", "left", fitted.kind, [0, 1]),
        signature=Signature(COLUMNS),
        pipeline=fitted.pipeline,
        samples_records=evaluation[:SAMPLES],
        profile=b"{}",
        expected=fitted.scores[:SAMPLES],
        evaluation=to_table(COLUMNS, evaluation),
        engines=engines,
    )
    return written.engine


def save_for_mlflow(model: Model, environment: Path) -> None:
    """By the peer's own MLflow, in a folder that is no project."""
    files = ("model.joblib", "training.parquet", "mlflow")
    command = [environment / "bin" / "python", PEERS / "mlflow" / "save.py", *files]
    variables = {**os.environ, **THREADS}
    done = subprocess.run(
        command, check=False, cwd=model.folder, env=variables, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise SetupError(f"mlflow could not save the model: {done.stderr.strip()[-800:]}")


def _render(model: Model, server: Server) -> None:
    records = model.rows.records
    for size, count in DISTINCT.items():
        starts = range(0, min(size * count, len(records)), size)
        lines = [server.body(records[start : start + size]) for start in starts]
        model.bodies(server, size).write_bytes(b"\n".join(lines) + b"\n")
