"""Station: may this build replace the champion?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from andon import training
from andon.adapters.files import key_of
from andon.adapters.ledger import Candidate
from andon.compare import not_worse
from andon.errors import DataError
from andon.metrics import METRICS
from andon.verdict import Outcome, Verdict
from tasks.line import Job, Line, keep, line_for, show, station, verdict_table
from tasks.results import Evaluated, Snapshot, Trained
from tasks.train import target


def _champion(line: Line) -> Candidate | None:
    release = line.ledger.champion("production", line.spec.name)
    return line.ledger.candidate_of(release) if release else None


def _read(job: Job, snapshot: Snapshot, trained: Trained) -> str:
    line = line_for(job.model)
    champion = _champion(line)
    return key_of(trained.key, champion and champion.digest, line.spec.metric)


@station(reads=_read)
def evaluate(job: Job, snapshot: Snapshot, trained: Trained) -> Evaluated:
    """Score the champion again on the same held-out rows, and compare."""
    line = line_for(job.model)
    champion = _champion(line)
    verdict = _verdict(line, champion, trained)
    keep(job, "evaluate", f"build {trained.key}", [verdict])
    name = f"v{champion.version}" if champion else "none yet"
    show(job, "evaluation", f"# Against the champion ({name})\n\n{verdict_table([verdict])}")
    return Evaluated(champion=champion and champion.version, verdicts=(verdict,))


def _verdict(line: Line, champion: Candidate | None, trained: Trained) -> Verdict:
    check = "not worse than champion"
    if champion is None:
        detail = "there is no champion yet; the absolute limit and the constant baseline decide"
        return Verdict(check=check, outcome=Outcome.PASS, n=trained.rows[1], detail=detail)
    if champion.build == trained.key:
        detail = f"this build is the champion, v{champion.version}"
        return Verdict(check=check, outcome=Outcome.PASS, n=trained.rows[1], detail=detail)
    from serving.engine import Refused

    folder = line.settings.state / trained.folder
    facts = json.loads((folder / "facts.json").read_text())
    metric = line.spec.metric_name
    challenger, y = _challenger(line, folder, facts)
    try:
        rescored = _rescored(line, champion, folder, METRICS[metric].uses)
    except (DataError, Refused) as error:
        detail = (
            f"the champion v{champion.version} cannot score these rows, so nothing can be "
            f"compared: {error}; `andon release {line.spec.name} VERSION` releases without it"
        )
        return Verdict(check=check, outcome=Outcome.INCONCLUSIVE, detail=detail)
    return not_worse(
        metric,
        y,
        rescored,
        challenger,
        margin=line.spec.metric.margin,
        seed=line.spec.seed,
    )


def _challenger(line: Line, folder: Path, facts: dict[str, Any]) -> tuple[Any, Any]:
    import polars as pl

    from andon.adapters import tables
    from serving.bundle import read_signature
    from serving.engine import read_model

    metric, positive = line.spec.metric_name, facts["positive"]
    test = pl.read_parquet(folder / "held_out.parquet")
    frame = tables.training_frame(test, read_signature(folder).columns)
    model = read_model(folder / "model.skops")
    said = training.outputs(model, frame, line.spec.task, positive)
    named = facts["classes"][positive] if positive >= 0 else None
    return said.of_kind(METRICS[metric].uses), training.truth(
        target(test, line.spec), metric, named
    )


def _rescored(line: Line, champion: Candidate, folder: Path, uses: str) -> Any:
    """What the champion's own bundle says of the challenger's held-out rows."""
    import numpy as np
    import polars as pl

    from andon.adapters import tables
    from serving import engine

    bundle = engine.load(line.settings.state / champion.bundle)
    test = pl.read_parquet(folder / "held_out.parquet")
    records = tables.records(test, bundle.signature.columns)
    if uses == "label":
        return np.asarray([answer["label"] for answer in bundle.answer(records)])
    scores = bundle.scores(records)
    return scores if uses == "value" else scores[:, bundle.manifest.positive]
