"""Stations: the build becomes a registered version, and its lineage goes on the ledger."""

from __future__ import annotations

import json

from prefect import get_run_logger
from prefect.artifacts import create_link_artifact

from andon.adapters import projects
from andon.adapters.files import key_of
from andon.adapters.mlflow_registry import SERVED, Build, Registry
from andon.errors import LineError
from andon.spec import ModelSpec
from andon.verdict import gate
from tasks.line import Job, line_for, station
from tasks.results import Bundled, Evaluated, Released, Snapshot, Trained


@station()
def register(job: Job, snapshot: Snapshot, trained: Trained, evaluated: Evaluated) -> str:
    """Register the build in MLflow and return its version; the same build gives the same.

    Served in another way, it is another version: what is live would change.
    """
    line = line_for(job.model)
    registry = Registry(line.settings)
    version = registry.version_of(
        job.model, trained.key, key_of(line.spec.serving, line.spec.logging)
    )
    version = version or registry.register(_build(job, snapshot, trained, evaluated))
    registry.alias(job.model, "candidate", version)
    create_link_artifact(
        registry.link(job.model, version),
        link_text=f"{job.model} v{version} in MLflow",
        key=f"{job.model}-registered",
    )
    return version


def _served(spec: ModelSpec) -> str:
    """What a bundle is made of beside the build."""
    return key_of(spec.serving, spec.logging)


def _build(job: Job, snapshot: Snapshot, trained: Trained, evaluated: Evaluated) -> Build:
    import polars as pl

    from andon.adapters import tables
    from serving.bundle import read_signature
    from serving.engines.sklearn import TRUSTED, read_model
    from tasks.train import LIBRARIES

    line = line_for(job.model)
    folder = line.settings.state / trained.folder
    columns = read_signature(folder).columns
    example = tables.training_frame(pl.read_parquet(folder / "held_out.parquet").head(5), columns)
    commit = projects.commit(line.settings.project)
    return Build(
        model=job.model,
        key=trained.key,
        estimator=read_model(folder / "model.skops"),
        trusted=TRUSTED,
        params={
            "rows_learned": trained.rows[0],
            "rows_held_out": trained.rows[1],
            "seed": line.spec.seed,
            "metric": line.spec.metric_name,
        },
        metrics=trained.metrics,
        tags={
            SERVED: _served(line.spec),
            "andon.snapshot": snapshot.hash,
            "andon.commit": str(commit),
            "andon.trigger": job.trigger,
            "andon.flow_run": job.run_id,
            "andon.evaluation": gate(evaluated.verdicts).value,
        },
        example=example,
        artifacts=(folder / "facts.json", folder / "profile.json", folder / "signature.json"),
        requirements=tuple(f"{it}=={_version(it)}" for it in LIBRARIES),
    )


def _version(library: str) -> str:
    from importlib.metadata import version

    return version(library)


@station()
def mirror(job: Job, released: Released) -> None:
    """Show in MLflow who is champion. The ledger decides; a silent MLflow changes nothing."""
    if released.environment != "production":
        return
    try:
        Registry(line_for(job.model).settings).alias(job.model, "champion", released.version)
    except LineError as error:
        get_run_logger().warning("MLflow's alias was not set: %s", error)


@station()
def record(
    job: Job, snapshot: Snapshot, trained: Trained, bundled: Bundled, image: str | None
) -> None:
    """Write the version's lineage to the ledger, once."""
    line = line_for(job.model)
    commit = projects.commit(line.settings.project)
    line.ledger.add_candidate(
        model=job.model,
        version=bundled.version,
        build=trained.key,
        snapshot=snapshot.hash,
        git_sha=commit.sha,
        git_dirty=commit.dirty,
        bundle=bundled.folder,
        digest=bundled.digest,
        image=image,
        metrics=json.loads(json.dumps(trained.metrics)),
        trigger=job.trigger,
        run_id=job.run_id,
    )
