"""Station: may this build replace the champion?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from andon import appraisal, evidence
from andon.adapters.files import key_of, stored
from andon.adapters.inference_log import Window, read_labelled, read_window
from andon.adapters.ledger import Candidate, Release
from andon.adapters.projects import measured_by, metric_of
from andon.adapters.trainer import HELD_OUT
from andon.appraisal import Case
from andon.compare import within_limit
from andon.errors import DataError
from andon.verdict import Outcome, Verdict
from tasks.line import PRODUCTION, Job, Line, keep, line_for, show, station, verdict_table
from tasks.results import Evaluated, Snapshot, Trained
from tasks.sound import began

if TYPE_CHECKING:
    import polars as pl

    from andon.adapters.builds import Build

LIVE_ROWS = 2_000  # the latest labelled live rows that a challenger must do no harm on
FEWEST_LIVE_ROWS = 200
NOT_WORSE = "not worse than champion"
BEATEN = "as good on recent live rows"


def _serving(job: Job, line: Line) -> Release | None:
    """The champion's release; if this run made it champion, the one before: a retry is no rival."""
    release = line.ledger.champion(PRODUCTION, job.model)
    if release is None or release.run_id != job.run_id:
        return release
    return line.ledger.champion(PRODUCTION, job.model, at=release.started_at)


def champion_of(job: Job, line: Line) -> Candidate | None:
    """Who serves, and would be replaced."""
    release = _serving(job, line)
    return line.ledger.candidate_of(release) if release else None


def _live(job: Job, line: Line) -> Window:
    """Live rows since the champion serves; none for a retraining, which has learned from them."""
    release = _serving(job, line)
    if release is None or job.flow == "retrain":
        return Window((), {})
    since = release.ended_at or 0.0
    live = line.ledger.live_spans(PRODUCTION, job.model, since)
    return read_window(
        line.settings, PRODUCTION, job.model, since=since, latest=LIVE_ROWS, live=live
    )


def _recent(job: Job, line: Line) -> Window | None:
    """Of a retraining the labelled live rows since its incident began; None for a delivery."""
    if job.flow != "retrain":
        return None
    alert = line.ledger.answered_by(job.run_id)
    since = began(line.ledger, line.ledger.incident(alert.incident)) if alert else 0.0
    live = line.ledger.live_spans(PRODUCTION, job.model, since)
    return read_labelled(line.settings, PRODUCTION, job.model, since=since, live=live)


def _read(job: Job, snapshot: Snapshot, trained: Trained) -> str:
    """Live rows come all the time: what a run has judged it judges no more, another run does."""
    line = line_for(job.model)
    champion, spec = champion_of(job, line), line.spec
    asked = (spec.metric, spec.slices, spec.threshold, spec.reports, spec.seed)
    by = measured_by(spec, line.settings.project)
    return key_of(evidence.LAYOUT, job.run_id, trained.key, champion and champion.digest, by, asked)


@station(reads=_read)
def evaluate(job: Job, snapshot: Snapshot, trained: Trained) -> Evaluated:
    """Score the champion again on the same held-out rows, and on what came back live."""
    line = line_for(job.model)
    champion = champion_of(job, line)
    key = _read(job, snapshot, trained)
    folder = line.settings.store / "evaluations" / job.model / key
    stored(folder, lambda into: _evaluate(job, line, champion, trained, into))
    found = evidence.from_json((folder / evidence.EVALUATION).read_bytes())
    verdicts = tuple(Verdict.model_validate(it) for it in found.verdicts)
    keep(job, "evaluate", f"build {trained.key}", verdicts)
    name = f"v{champion.version}" if champion else "none yet"
    show(job, "evaluation", f"# Against the champion ({name})\n\n{verdict_table(verdicts)}")
    return Evaluated(
        champion=champion and champion.version,
        verdicts=verdicts,
        folder=str(folder.relative_to(line.settings.state)),
    )


@dataclass(frozen=True)
class _Held:
    """The held-out rows, and what the build says of them."""

    build: Build
    table: pl.DataFrame
    case: Case


def _held(line: Line, trained: Trained) -> _Held:
    import polars as pl

    from andon.adapters.builds import read_build

    folder = line.settings.state / trained.folder
    build, table = read_build(folder), pl.read_parquet(folder / HELD_OUT)
    return _Held(build, table, _case(line, build, table))


def _case(line: Line, build: Build, table: pl.DataFrame) -> Case:
    from andon.adapters import tables

    return Case(
        spec=line.spec,
        info=metric_of(line.spec, line.settings.project),
        y=tables.target(table, line.spec),
        challenger=build.outputs(table, line.spec),
        champion=None,
        classes=build.classes,
        positive=build.positive,
        threshold=build.threshold,
    )


def _evaluate(
    job: Job, line: Line, champion: Candidate | None, trained: Trained, folder: Path
) -> None:
    held = _held(line, trained)
    verdicts, compared, excluded = _limit(line, trained, held), held, 0
    rival = champion if champion and champion.build != trained.key else None
    said = _no_rival(champion, held)
    if rival is not None:
        recent = _recent(job, line)
        rows = held if recent is None else _of(line, held, recent)
        said, compared, excluded = _against(line, rival, rows)
        compared = compared if compared.table.height else held
        verdicts += [_beaten(said, rival)] if recent is not None else []
    elif champion is not None and job.flow == "retrain":
        verdicts.append(Verdict(check=BEATEN, outcome=Outcome.FAIL, detail=said.detail))
    verdicts.append(said)
    case = compared.case
    slices = appraisal.sliced(case, compared.table, held.build.features)
    on_slices = appraisal.judged_slices(case, slices)
    verdicts += [on_slices] if on_slices else []
    if rival is not None:
        verdicts += _no_harm(line, rival, held, _live(job, line))
    found = evidence.Evaluation(
        model=job.model,
        build=trained.key,
        task=line.spec.task,
        metric=case.info.name,
        rows=compared.table.height,
        metrics=appraisal.measures(case),
        verdicts=[it.model_dump(mode="json") for it in verdicts],
        champion=rival.version if rival else None,
        excluded=excluded,
        comparison=appraisal.comparison(case.info, said),
        slices=slices,
        **appraisal.of_task(case),
    )
    (folder / evidence.EVALUATION).write_bytes(evidence.to_json(found))


def _of(line: Line, held: _Held, recent: Window) -> _Held:
    """Only those of the held-out rows that came live since the drift: they are what comes next."""
    from andon.adapters.recent import came_live

    mine = came_live(held.table, line.spec, recent)
    if mine.all():
        return held
    return _Held(held.build, held.table.filter(mine), held.case.part(mine))


def _beaten(said: Verdict, champion: Candidate) -> Verdict:
    """A retraining that gains nothing on recent rows is no answer to an alert."""
    outcome = Outcome.INCONCLUSIVE
    if said.value is not None:
        outcome = Outcome.PASS if said.value >= 0 else Outcome.FAIL
    detail = f"v{champion.version} on {said.n:,} recent live rows: {said.detail}"
    return Verdict(
        check=BEATEN, outcome=outcome, value=said.value, limit=0.0, n=said.n, detail=detail
    )


def _limit(line: Line, trained: Trained, held: _Held) -> list[Verdict]:
    """The spec's absolute limit; judged here and not in training, whose result is kept."""
    limit, info = line.spec.metric.limit, held.case.info
    if limit is None:
        return []
    value, n = trained.metrics[info.name], trained.rows[1]
    interval = appraisal.limit_interval(held.case)
    return [within_limit(info, value, limit, n, "absolute limit", interval)]


def _no_rival(champion: Candidate | None, held: _Held) -> Verdict:
    detail = "there is no champion yet; the absolute limit and the constant baseline decide"
    if champion is not None:
        detail = f"this build is the champion, v{champion.version}"
    return Verdict(check=NOT_WORSE, outcome=Outcome.PASS, n=held.table.height, detail=detail)


def _against(line: Line, champion: Candidate, held: _Held) -> tuple[Verdict, _Held, int]:
    """The verdict, the rows that were compared, and how many the champion had learned from.

    Without the champion's outputs where these cannot be had, or where too few rows are fair.
    """
    from andon.adapters.rescoring import learned_from

    settings, spec = line.settings, line.spec
    theirs = settings.store / "builds" / spec.name / champion.build
    seen = learned_from(held.table, settings.state, theirs, held.build.split, spec)
    fair, left_out = held, 0
    if seen is not None and seen.any():
        left_out = int(seen.sum())
        fair = _Held(held.build, held.table.filter(~seen), held.case.part(~seen))
    verdict, case = _compared(line, champion, fair)
    if left_out:
        why = f"{left_out:,} of {held.table.height:,} held-out rows are left out: v"
        why += f"{champion.version} has learned from them"
        verdict = verdict.model_copy(
            update={
                "detail": f"{verdict.detail}; {why}",
                "evidence": {**verdict.evidence, "excluded": left_out},
            }
        )
    if case.champion is None:
        return verdict, held, 0
    return verdict, _Held(fair.build, fair.table, case), left_out


def _compared(
    line: Line, champion: Candidate, held: _Held, *, hint: bool = True
) -> tuple[Verdict, Case]:
    """The comparison on these rows, and the case with the champion's outputs, if it has any."""
    from andon.adapters.rescoring import bundle_outputs
    from serving.engines.base import Refused

    bundle = line.settings.state / champion.bundle
    if held.table.height == 0:
        detail = "no held-out row is left to compare on"
        return Verdict(check=NOT_WORSE, outcome=Outcome.INCONCLUSIVE, detail=detail), held.case
    try:
        said = bundle_outputs(bundle, held.table, held.case.classes)
    except (DataError, Refused) as error:
        detail = (
            f"the champion v{champion.version} cannot score these rows, so nothing can be "
            f"compared: {error}; `andon release {line.spec.name} VERSION` releases without it"
        )
        return Verdict(check=NOT_WORSE, outcome=Outcome.INCONCLUSIVE, detail=detail), held.case
    case = held.case.against(said)
    return appraisal.compared(case, hint=hint), case


def _no_harm(line: Line, champion: Candidate, held: _Held, live: Window) -> list[Verdict]:
    """Fails only on evidence of harm: a champion retrained after a drift keeps its place.

    Live rows are often too few to prove non-inferiority, which the held-out rows are for.
    """
    if len(live.labelled) < FEWEST_LIVE_ROWS or live.masked:
        return []
    table = _as_table(line, live, held.table)
    rows = _Held(held.build, table, _case(line, held.build, table))
    verdict, _ = _compared(line, champion, rows, hint=False)
    found: dict[str, Any] = {"check": "no harm seen on live rows"}
    if verdict.outcome is not Outcome.FAIL:
        found["outcome"] = Outcome.PASS
    return [verdict.model_copy(update=found)]


def _as_table(line: Line, live: Window, like: pl.DataFrame) -> pl.DataFrame:
    from andon.adapters import tables

    rows = [{**row["inputs"], line.spec.target: row["label"]} for row in live.labelled]
    return tables.from_records(rows, like.schema)
