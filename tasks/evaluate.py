"""Station: may this build replace the champion?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from andon import training
from andon.adapters.builds import read_fitted
from andon.adapters.files import key_of
from andon.adapters.inference_log import Window, read_window
from andon.adapters.ledger import Candidate, Release
from andon.compare import not_worse, within_limit
from andon.errors import DataError
from andon.metrics import METRICS
from andon.verdict import Outcome, Verdict
from tasks.line import Job, Line, keep, line_for, show, station, verdict_table
from tasks.results import Evaluated, Snapshot, Trained

if TYPE_CHECKING:
    import polars as pl

LIVE_ROWS = 2_000  # the latest labelled live rows that a challenger must do no harm on
FEWEST_LIVE_ROWS = 200
PRODUCTION = "production"


def _serving(job: Job, line: Line) -> Release | None:
    """The champion's release; if this run made it champion, the one before: a retry is no rival."""
    release = line.ledger.champion(PRODUCTION, job.model)
    if release is None or release.run_id != job.run_id:
        return release
    return line.ledger.champion(PRODUCTION, job.model, at=release.started_at)


def _champion(job: Job, line: Line) -> Candidate | None:
    release = _serving(job, line)
    return line.ledger.candidate_of(release) if release else None


def _live(job: Job, line: Line) -> Window:
    """Live rows since the champion serves; none for a retraining, which has learned from them."""
    release = _serving(job, line)
    if release is None or job.flow == "retrain":
        return Window((), {})
    since = release.ended_at or 0.0
    return read_window(line.settings, PRODUCTION, job.model, since=since, latest=LIVE_ROWS)


def _read(job: Job, snapshot: Snapshot, trained: Trained) -> str:
    """Live rows come all the time: what a run has judged it judges no more, another run does."""
    line = line_for(job.model)
    champion = _champion(job, line)
    return key_of(job.run_id, trained.key, champion and champion.digest, line.spec.metric)


@station(reads=_read)
def evaluate(job: Job, snapshot: Snapshot, trained: Trained) -> Evaluated:
    """Score the champion again on the same held-out rows, and on what came back live."""
    line = line_for(job.model)
    champion = _champion(job, line)
    verdicts = [*_limit(line, trained), *_verdicts(line, champion, trained, _live(job, line))]
    keep(job, "evaluate", f"build {trained.key}", verdicts)
    name = f"v{champion.version}" if champion else "none yet"
    show(job, "evaluation", f"# Against the champion ({name})\n\n{verdict_table(verdicts)}")
    return Evaluated(champion=champion and champion.version, verdicts=tuple(verdicts))


def _limit(line: Line, trained: Trained) -> list[Verdict]:
    """The spec's absolute limit; judged here and not in training, whose result is kept."""
    limit, metric = line.spec.metric.limit, line.spec.metric_name
    if limit is None:
        return []
    return [within_limit(metric, trained.metrics[metric], limit, trained.rows[1], "absolute limit")]


def _verdicts(
    line: Line, champion: Candidate | None, trained: Trained, live: Window
) -> list[Verdict]:
    import polars as pl

    check, n = "not worse than champion", trained.rows[1]
    if champion is None:
        detail = "there is no champion yet; the absolute limit and the constant baseline decide"
        return [Verdict(check=check, outcome=Outcome.PASS, n=n, detail=detail)]
    if champion.build == trained.key:
        detail = f"this build is the champion, v{champion.version}"
        return [Verdict(check=check, outcome=Outcome.PASS, n=n, detail=detail)]
    held_out = pl.read_parquet(line.settings.state / trained.folder / "held_out.parquet")
    verdicts = [_compared(line, champion, trained, held_out, check)]
    if len(live.labelled) >= FEWEST_LIVE_ROWS and not live.masked:
        verdicts.append(_no_harm(line, champion, trained, _as_table(line, live, held_out)))
    return verdicts


def _as_table(line: Line, live: Window, like: pl.DataFrame) -> pl.DataFrame:
    from andon.adapters import tables

    rows = [{**row["inputs"], line.spec.target: row["label"]} for row in live.labelled]
    return tables.from_records(rows, like.schema)


def _no_harm(line: Line, champion: Candidate, trained: Trained, table: pl.DataFrame) -> Verdict:
    """Fails only on evidence of harm: a champion retrained after a drift keeps its place.

    Live rows are often too few to prove non-inferiority, which the held-out rows are for.
    """
    verdict = _compared(line, champion, trained, table, "no harm seen on live rows")
    if verdict.outcome is Outcome.FAIL:
        return verdict
    return verdict.model_copy(update={"outcome": Outcome.PASS})


def _compared(
    line: Line, champion: Candidate, trained: Trained, table: pl.DataFrame, check: str
) -> Verdict:
    from serving.engines.base import Refused

    metric = line.spec.metric_name
    challenger, y = _challenger(line, trained, table)
    try:
        rescored = _rescored(line, champion, table, METRICS[metric].uses)
    except (DataError, Refused) as error:
        detail = (
            f"the champion v{champion.version} cannot score these rows, so nothing can be "
            f"compared: {error}; `andon release {line.spec.name} VERSION` releases without it"
        )
        return Verdict(check=check, outcome=Outcome.INCONCLUSIVE, detail=detail)
    margin, seed = line.spec.metric.margin, line.spec.seed
    verdict = not_worse(metric, y, rescored, challenger, margin=margin, seed=seed)
    return verdict.model_copy(update={"check": check})


def _challenger(line: Line, trained: Trained, table: pl.DataFrame) -> tuple[Any, Any]:
    """What the build says of a table's rows, and their truth as the metric wants it."""
    from andon.adapters import tables
    from serving.bundle import read_signature

    folder = line.settings.state / trained.folder
    facts = json.loads((folder / "facts.json").read_text())
    metric, positive = line.spec.metric_name, facts["positive"]
    frame = tables.training_frame(table, read_signature(folder).columns)
    said = training.outputs(read_fitted(folder), frame, line.spec.task, positive)
    named = facts["classes"][positive] if positive >= 0 else None
    y = training.truth(tables.target(table, line.spec), metric, named)
    return said.of_kind(METRICS[metric].uses), y


def _rescored(line: Line, champion: Candidate, table: pl.DataFrame, uses: str) -> Any:
    """What the champion's own bundle says of the same rows."""
    import numpy as np

    from andon.adapters import tables
    from serving import engine

    bundle = engine.load(line.settings.state / champion.bundle)
    records = tables.records(table, bundle.signature.columns)
    if uses == "label":
        return np.asarray([answer["label"] for answer in bundle.answer(records)])
    scores = bundle.scores(records)
    return scores if uses == "value" else scores[:, bundle.manifest.positive]
