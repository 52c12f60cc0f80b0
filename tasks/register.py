"""Stations: the build becomes a registered version, and its lineage goes on the ledger."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_link_artifact

from andon import registered
from andon.adapters import projects, provenance
from andon.adapters.builds import read_facts
from andon.adapters.files import file_hash, key_of
from andon.adapters.ledger import Candidate
from andon.adapters.mlflow_files import Extras
from andon.adapters.mlflow_mirror import mirror_or_tell
from andon.adapters.mlflow_registry import BUILD, SERVED, Build, Registry, Rows, shown
from andon.spec import Frozen
from andon.verdict import gate
from tasks.line import Job, Line, line_for, station
from tasks.results import Bundled, Evaluated, Snapshot, SplitRows, Trained

CARD = "card.md"
EVALUATION = "andon.evaluation"  # the latest: a champion that comes later judges anew


@station()
def register(
    job: Job, snapshot: Snapshot, split: SplitRows, trained: Trained, evaluated: Evaluated
) -> str:
    """Register the build in MLflow and return its version; the same build gives the same.

    Served in another way, it is another version: what is live would change.
    """
    line = line_for(job.model)
    registry = Registry(line.settings.registry_url)
    candidates = line.ledger.candidates(job.model)
    served = _served(line)
    version = registry.version_of(job.model, trained.key, served) or _recorded(
        registry, candidates, trained.key, served
    )
    taken = {it.version for it in candidates if not _is(it, trained.key, served)}
    tags = lineage(job, line, snapshot, split, trained)
    if version is None or version in taken:
        version = registry.register(_build(line, snapshot, split, trained, tags), taken=taken)
    recorded = next((it.tags for it in candidates if it.version == version and it.tags), tags)
    outcome = gate(evaluated.verdicts).value
    registry.set_tags(job.model, version, {**shown(recorded), EVALUATION: outcome})
    create_link_artifact(
        registry.link(job.model, version),
        link_text=f"{job.model} v{version} in MLflow",
        key=f"{job.model}-registered",
    )
    return version


def _served(line: Line) -> str:
    """What a bundle is made of beside the build."""
    return key_of(line.spec.serving, line.spec.logging)


def _is(candidate: Candidate, build: str, served: str) -> bool:
    """Whether it is this build, served this way; older ledgers do not say how."""
    kept = (candidate.tags or {}).get(SERVED, served)
    return (candidate.build, kept) == (build, served)


def _recorded(
    registry: Registry, candidates: list[Candidate], build: str, served: str
) -> str | None:
    """The version on the ledger, if MLflow has it: somebody may have taken its tags away."""
    mine = [it.version for it in candidates if it.tags and _is(it, build, served)]
    there = registry.tags(candidates[0].model) if mine else {}
    return next((it for it in mine if it in there), None)


def _build(
    line: Line, snapshot: Snapshot, split: SplitRows, trained: Trained, tags: dict[str, str]
) -> Build:
    import polars as pl

    from andon.adapters import tables
    from andon.adapters.builds import read_fitted
    from andon.adapters.trainer import HELD_OUT
    from serving.bundle import read_signature
    from serving.engines.sklearn import TRUSTED

    folder = line.settings.state / trained.folder
    columns = read_signature(folder).columns
    example = tables.training_frame(pl.read_parquet(folder / HELD_OUT).head(5), columns)
    estimator = read_fitted(folder)
    return Build(
        model=line.spec.name,
        key=trained.key,
        estimator=estimator,
        trusted=TRUSTED,
        params={**registered.parameters(_get_params(estimator)), **_params(line, folder)},
        metrics=trained.metrics,
        tags=tags,
        example=example,
        inputs=_inputs(line.spec.name, snapshot, split),
        requirements=tuple(f"{it}=={metadata.version(it)}" for it in provenance.LIBRARIES),
    )


def _get_params(estimator: Any) -> dict[str, Any]:
    return dict(estimator.get_params(deep=True)) if hasattr(estimator, "get_params") else {}


def _params(line: Line, folder: Path) -> dict[str, str]:
    """What was decided beside the pipeline's own parameters."""
    spec, facts = line.spec, read_facts(folder)
    given = {
        "andon.rows_learned": facts["rows"][0],
        "andon.rows_held_out": facts["rows"][1],
        "andon.seed": spec.seed,
        "andon.metric": spec.metric_name,
        "andon.folds": spec.training.folds,
        "andon.search": spec.training.search and spec.training.search.kind,
    }
    found = facts.get("search")
    if isinstance(found, dict):
        given |= {f"andon.search.{name}": value for name, value in found.items()}
    return registered.parameters(given)


def _inputs(model: str, snapshot: Snapshot, split: SplitRows) -> tuple[Rows, ...]:
    """Both parts of the split have the snapshot's digest: the source says which part it is."""
    parts = (("training", "learn"), ("evaluation", "held out"))
    return tuple(
        Rows(
            context=context,
            name=f"{model}, {part}",
            digest=snapshot.hash,
            source={"from": snapshot.source, "md5": snapshot.hash, "split": split.key},
            columns=snapshot.columns,
            rows=rows,
        )
        for (context, part), rows in zip(parts, split.rows, strict=True)
    )


def lineage(
    job: Job, line: Line, snapshot: Snapshot, split: SplitRows, trained: Trained
) -> dict[str, str]:
    """Where a version comes from: its tags in MLflow and on the ledger."""
    commit = projects.commit(line.settings.project)
    lock = line.settings.project / "uv.lock"
    return {
        BUILD: trained.key,
        SERVED: _served(line),
        "andon.snapshot": snapshot.hash,
        "andon.split": split.key,
        "andon.commit": commit.sha,
        "andon.dirty": str(commit.dirty).lower(),
        "andon.lock": file_hash(lock)[:16] if lock.is_file() else "none",
        "andon.trigger": job.trigger,
        "andon.flow_run": job.run_id,
        "mlflow.source.name": f"models/{job.model}/pipeline.py",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": commit.sha,
    }


@station()
def attach(job: Job, trained: Trained, bundled: Bundled, files: tuple[str, ...]) -> None:
    """Put the bundle, the card and the reports on the version; the card's top describes it.

    Without a card, its metrics do.

    `files` are files or folders, relative to the state folder; what is not there is passed over.
    """
    line = line_for(job.model)
    state = line.settings.state
    places = tuple(path for path in (state / it for it in files) if path.exists())
    extras = Extras(
        tags={"andon.bundle": bundled.digest, "andon.bundle_folder": bundled.folder},
        bundle=state / bundled.folder,
        files=places,
        description=_card(places) or _metrics(trained),
    )
    for left_out in Registry(line.settings.registry_url).attach(job.model, bundled.version, extras):
        get_run_logger().warning("not put into MLflow: %s", left_out)


def _card(places: tuple[Path, ...]) -> str:
    """The top of the first card there is."""
    cards = (it / CARD if it.is_dir() else it for it in places)
    text = next((it.read_text("utf-8") for it in cards if it.name == CARD and it.is_file()), "")
    return registered.in_short(text)


def _metrics(trained: Trained) -> str:
    listed = ", ".join(f"{name} {value:.4f}" for name, value in trained.metrics.items())
    return f"{listed} on {trained.rows[1]:,} held-out rows; {trained.rows[0]:,} learned from."


def reports(*results: Frozen) -> tuple[str, ...]:
    """Where stations say that their reports are: `report` and `folder` of their results."""
    found = (getattr(it, name, None) for it in results for name in ("report", "folder"))
    return tuple(str(it) for it in found if it)


@station()
def mirror(job: Job) -> None:
    """Make MLflow's aliases as the ledger says. A silent MLflow changes nothing that serves."""
    line, log = line_for(job.model), get_run_logger()
    changes, wrong = mirror_or_tell(line.ledger, line.settings.registry_url, job.model)
    for change in changes:
        log.info("MLflow: %s", change)
    if wrong:
        log.warning("MLflow's aliases are not as the ledger says, reconcile will see: %s", wrong)


@station()
def record(
    job: Job,
    snapshot: Snapshot,
    split: SplitRows,
    trained: Trained,
    bundled: Bundled,
    image: str | None,
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
        tags=shown(lineage(job, line, snapshot, split, trained)),
    )
