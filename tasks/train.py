"""Station: fit the project's pipeline, and measure it on rows it never saw."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import get_run_logger

from andon import training
from andon.adapters import projects
from andon.adapters.files import file_hash, key_of, load_settings, load_spec, stored
from andon.errors import DataError, LineError
from andon.spec import ModelSpec
from andon.thresholds import with_threshold
from andon.verdict import Verdict
from tasks.line import Job, Line, keep, line_for, show, station, verdict_table
from tasks.results import SplitRows, Trained
from tasks.split import HELD_OUT, LEARN, SIGNATURE

if TYPE_CHECKING:
    import polars as pl

LIBRARIES = ("scikit-learn", "numpy", "scipy", "pandas", "skops")


def _build_key(job: Job, split: SplitRows) -> str:
    settings = load_settings()
    spec = load_spec(settings.project, job.model)
    code = file_hash(settings.project / "models" / job.model / "pipeline.py")
    learned = (spec.target, spec.task, spec.positive, spec.seed, spec.training, spec.threshold)
    environment = [platform.python_version(), *(f"{it}={version(it)}" for it in LIBRARIES)]
    measured = projects.measured_by(spec, settings.project)
    return key_of(job.model, split.key, code, learned, measured, environment)


@station(reads=_build_key)
def train(job: Job, split: SplitRows) -> Trained:
    """Fit, score, and keep the model with all that evaluation and serving need."""
    line, key = line_for(job.model), _build_key(job, split)
    folder = line.settings.store / "builds" / job.model / key
    _, reused = stored(folder, lambda into: _train(line, split, into))
    if reused:
        get_run_logger().info("reused the build %s", key)
    facts = json.loads((folder / "facts.json").read_text())
    verdicts = tuple(Verdict.model_validate(it) for it in facts.pop("verdicts"))
    keep(job, "train", f"build {key}", verdicts)
    listed = "\n".join(f"| {name} | {value:.4f} |" for name, value in facts["metrics"].items())
    show(
        job,
        "metrics",
        f"# Build `{key}`\n\n{facts['rows'][0]:,} rows to learn from, {facts['rows'][1]:,} held out"
        f"\n\n| metric | held out |\n| --- | --- |\n{listed}\n\n{verdict_table(verdicts)}",
    )
    return Trained(
        key=key,
        folder=str(folder.relative_to(line.settings.state)),
        metrics=facts["metrics"],
        rows=tuple(facts["rows"]),
        verdicts=verdicts,
    )


def _train(line: Line, split: SplitRows, folder: Path) -> None:
    import polars as pl

    from andon import profile
    from andon.adapters import tables
    from serving.bundle import read_signature

    spec, settings = line.spec, line.settings
    rows = settings.state / split.folder
    learn, test = (pl.read_parquet(rows / name) for name in (LEARN, HELD_OUT))
    signature = read_signature(rows)
    columns = signature.columns
    y = target(learn, spec)
    classes, positive = training.classes_of(y, spec.task, spec.positive)
    model = _fitted(line, tables.training_frame(learn, columns), y)
    said = training.outputs(model, tables.training_frame(test, columns), spec.task, positive)
    y_test, named = target(test, spec), classes[positive] if positive >= 0 else None
    info = projects.metric_of(spec, settings.project)
    learned, truth = (training.truth(it, info, named, classes) for it in (y, y_test))
    verdicts = training.checks(info, learned, truth, said, named)
    metrics = training.measured(info, spec.task, y_test, said, classes, positive)
    _keep_model(model, folder / "model.skops", f"models/{spec.name}/pipeline.py")
    for name in (HELD_OUT, SIGNATURE):
        os.link(rows / name, folder / name)
    reference = profile.build(learn, columns, said.scores)
    (folder / "profile.json").write_bytes(profile.to_json(reference))
    facts = {
        "metrics": metrics,
        "rows": [learn.height, test.height],
        "split": split.folder,
        "classes": classes,
        "positive": positive,
        "verdicts": [it.model_dump(mode="json") for it in verdicts],
    }
    (folder / "facts.json").write_text(json.dumps(facts, indent=1))


def _fitted(line: Line, frame: Any, y: Any) -> Any:
    spec = line.spec
    model = training.fit(projects.load_pipeline(line.settings.project, spec.name), frame, y)
    if spec.task != "regression" and not hasattr(model, "predict_proba"):
        raise LineError(
            f"models/{spec.name}/pipeline.py: task {spec.task!r} needs probabilities, but "
            f"{type(model).__name__} has no predict_proba; put it into a CalibratedClassifierCV"
        )
    if spec.threshold is not None:
        classes, positive = training.classes_of(y, spec.task, spec.positive)
        model = with_threshold(model, frame, y, spec.threshold, classes[positive], spec.seed)
    return model


def _keep_model(model: Any, path: Path, code: str) -> None:
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


def target(table: pl.DataFrame, spec: ModelSpec) -> Any:
    """The target as an array of labels (object) or values (float64); raises DataError on nulls."""
    column = table[spec.target]
    if column.null_count():
        raise DataError(f"target {spec.target}: {column.null_count()} rows have none")
    return column.cast(float).to_numpy() if spec.task == "regression" else _labels(column)


def _labels(column: pl.Series) -> Any:
    import numpy as np

    return np.asarray(column.to_list())
