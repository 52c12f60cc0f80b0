"""Whether a release made it worse: both versions on the labelled rows that the new one answered."""

from __future__ import annotations

from andon import appraisal
from andon.adapters import tables
from andon.adapters.inference_log import Spans, Window, read_labelled
from andon.adapters.learning import live_table
from andon.adapters.ledger import Candidate
from andon.adapters.projects import metric_of
from andon.adapters.rescoring import bundle_outputs
from andon.adapters.trainer import HELD_OUT
from andon.appraisal import Case
from andon.errors import DataError
from andon.settings import Settings
from andon.spec import ModelSpec
from andon.verdict import Outcome, Verdict

FEWEST = 200  # labelled rows
MOST = 2_000  # the latest
CHECK = "not worse than the version before"


def against_the_one_before(
    settings: Settings, spec: ModelSpec, environment: str, now: Candidate, earlier: Candidate,
    *, since: float, live: Spans,
) -> Verdict:  # fmt: skip
    """Paired, on the latest labelled rows since the release of `now`.

    Fails only on evidence that it is worse by more than `metric.margin`; inconclusive with too few
    rows, or where one of the two cannot score them.
    """
    from serving.engines.base import Refused

    mine = {now.version: live.get(now.version, ())}
    found = read_labelled(settings, environment, spec.name, since=since, live=mine)
    rows = Window(found.rows[-MOST:], found.labels, found.corrupt, found.masked)
    if len(rows.rows) < FEWEST:
        return _unsure(len(rows.rows), f"{len(rows.rows)} labelled rows, wanted {FEWEST}")
    if rows.masked:
        return _unsure(len(rows.rows), "the log lacks the columns of logging.mask")
    try:
        said = appraisal.compared(_case(settings, spec, now, earlier, rows), hint=False)
    except (DataError, Refused, FileNotFoundError) as error:
        return _unsure(len(rows.rows), f"v{earlier.version} and v{now.version}: {error}")
    detail = f"v{earlier.version} as champion, v{now.version} as challenger: {said.detail}"
    return said.model_copy(update={"check": CHECK, "detail": detail})


def _case(
    settings: Settings, spec: ModelSpec, now: Candidate, earlier: Candidate, rows: Window
) -> Case:
    import polars as pl

    from serving.bundle import read_manifest

    bundle = settings.state / now.bundle
    manifest = read_manifest(bundle)
    schema = pl.read_parquet_schema(settings.store / "builds" / spec.name / now.build / HELD_OUT)
    table = live_table(spec, rows, schema)
    return Case(
        spec=spec,
        info=metric_of(spec, settings.project),
        y=tables.target(table, spec),
        challenger=bundle_outputs(bundle, table, manifest.classes),
        champion=bundle_outputs(settings.state / earlier.bundle, table, manifest.classes),
        classes=list(manifest.classes),
        positive=manifest.positive,
    )


def _unsure(n: int, why: str) -> Verdict:
    return Verdict(check=CHECK, outcome=Outcome.INCONCLUSIVE, n=n, detail=why)
