"""Stations: the sealed bundle of a version, and an image of it where a Docker engine answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import get_run_logger

from andon.adapters.builds import read_facts, read_fitted
from andon.adapters.files import key_of, stored
from andon.adapters.trainer import HELD_OUT
from andon.errors import LineError
from andon.spec import ModelSpec
from andon.verdict import Outcome, Verdict
from tasks.line import Job, Line, keep, line_for, show, station
from tasks.results import Bundled, Trained

if TYPE_CHECKING:
    import pandas as pd

    from serving.bundle import Column, LogPolicy
    from serving.table import Table
    from serving.writing import Written

SAMPLES = 20


def _read(job: Job, trained: Trained, version: str) -> str:
    return key_of(job.model, trained.key, version)


@station(reads=_read)
def make_bundle(job: Job, trained: Trained, version: str) -> Bundled:
    """Write what a prediction server needs, and prove that it answers as the trainer does."""
    from serving.bundle import verify

    line = line_for(job.model)
    folder = line.settings.store / "bundles" / job.model / f"v{version}-{trained.key}"
    written: list[Written] = []
    stored(folder, lambda into: written.append(_write(line, trained, version, into)))
    digest = verify(folder)
    size = sum(path.stat().st_size for path in folder.iterdir())
    text = f"# Bundle of v{version}\n\n`{digest}`, {size:,} bytes"
    show(job, "bundle", "\n\n".join([text, *map(_tried, written)]))
    verdicts = (_skew(folder, line.spec),)
    keep(job, "bundle", f"v{version}", verdicts)
    return Bundled(
        version=version,
        folder=str(folder.relative_to(line.settings.state)),
        digest=digest,
        verdicts=verdicts,
    )


def _skew(folder: Path, spec: ModelSpec) -> Verdict:
    """Training-serving skew: the engine that serves was proven on these rows, or refused."""
    tried = json.loads((folder / "parity.json").read_text())["tried"]
    chosen = next(it for it in tried if it["accepted"])
    n = chosen["rows"] + chosen["edge_rows"]
    return Verdict(
        check="serves as it was trained",
        outcome=Outcome.PASS,
        value=chosen["max_difference"],
        limit=spec.serving.tolerance,
        n=n,
        detail=f"engine {chosen['kind']}: {chosen['rows']:,} held-out and "
        f"{chosen['edge_rows']:,} edge rows, alone and in a batch, as the pipeline answers them",
    )


def _tried(written: Written) -> str:
    """How the engines did."""
    lines = [
        f"Served by **{written.engine}**.",
        "",
        "| engine | verdict | why | rows | edge rows | difference at most | µs a row "
        "| µs a row of 100 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for it in written.tried:
        verdict = it.verdict
        cells = [
            verdict.kind,
            "accepted" if verdict.accepted else "rejected",
            verdict.reason.replace("|", "\\|"),
            f"{verdict.rows:,}",
            f"{verdict.edge_rows:,}",
            *("" if n is None else f"{n:.3g}" for n in (verdict.max_difference, *it.microseconds)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _write(line: Line, trained: Trained, version: str, into: Path) -> Written:
    import polars as pl

    from andon import training
    from andon.adapters import tables
    from serving.bundle import Manifest, read_signature
    from serving.compiling.parity import MOST
    from serving.writing import write_bundle

    folder, spec = line.settings.state / trained.folder, line.spec
    facts = read_facts(folder)
    signature = read_signature(folder)
    model = read_fitted(folder)
    held_out = pl.read_parquet(folder / HELD_OUT)
    rows = held_out.head(SAMPLES)
    frame = tables.training_frame(held_out.head(MOST), signature.columns)
    return write_bundle(
        into,
        manifest=Manifest(
            model=spec.name,
            version=version,
            task=spec.task,
            target=spec.target,
            build=trained.key,
            classes=facts["classes"],
            positive=facts["positive"],
            log=_log_policy(spec, signature.columns),
        ),
        signature=signature,
        pipeline=model,
        samples_records=tables.records(rows, signature.columns),
        profile=(folder / "profile.json").read_bytes(),
        expected=training.outputs(model, frame.head(SAMPLES), spec.task, facts["positive"]).scores,
        evaluation=_table(frame, signature.columns),
        tolerance=spec.serving.tolerance,
        engines=None if spec.serving.engine == "auto" else [spec.serving.engine],
    )


def _log_policy(spec: ModelSpec, columns: list[Column]) -> LogPolicy:
    from serving.bundle import LogPolicy

    unknown = sorted(set(spec.logging.mask) - {column.name for column in columns})
    if unknown:
        known = ", ".join(column.name for column in columns)
        raise LineError(
            f"models/{spec.name}/model.yaml: logging.mask: found {', '.join(unknown)}, "
            f"allowed: {known}"
        )
    return LogPolicy(sample=spec.logging.sample, mask=sorted(spec.logging.mask))


def _table(frame: pd.DataFrame, columns: list[Column]) -> Table:
    """A training frame as engines take rows."""
    from serving.table import Table

    return Table(
        len(frame),
        [
            [cell if isinstance(cell, str) else None for cell in frame[column.name]]
            if column.kind == "category"
            else frame[column.name].to_numpy(dtype=float)
            for column in columns
        ],
    )


@station()
def build_image(job: Job, bundled: Bundled) -> str | None:
    """Build the container image; none where `image: off` is set or no engine answers."""
    from andon.adapters import docker_images

    settings = line_for(job.model).settings
    image = docker_images.build(settings, settings.state / bundled.folder)
    if isinstance(image, docker_images.NoImage):
        get_run_logger().info("no image of v%s: %s", bundled.version, image.reason)
        return None
    show(job, "image", f"# Image of v{bundled.version}\n\n`{image.tag}`\n\n`{image.id}`")
    return f"{image.tag}@{image.id}"
