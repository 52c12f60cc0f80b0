"""Station: judge the latest window of live traffic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from andon.adapters.inference_log import Window, read_window
from andon.adapters.ledger import Candidate, Release
from andon.adapters.live import Live
from andon.adapters.projects import metric_of
from andon.compare import quality
from andon.spec import DataMonitor, DriftMonitor, QualityMonitor
from andon.summary import Cut
from andon.training import encoded, truth
from andon.verdict import Outcome, Verdict
from tasks.line import Job, Line, keep, line_for, show, station, verdict_table
from tasks.live import Seen, judge_live
from tasks.results import Watched

ByRows = DataMonitor | DriftMonitor | QualityMonitor  # they judge the rows of the inference log


@station()
def watch(job: Job, environment: str) -> Watched:
    """Every monitor of the model on the champion's latest rows."""
    line = line_for(job.model)
    champion = line.ledger.champion(environment, job.model)
    if champion is None:
        show(job, "monitor", f"# {job.model} has no champion in {environment}: nothing to watch")
        return Watched(windows={}, rows={}, verdicts={})
    candidate = line.ledger.candidate_of(champion)
    kept: dict[Cut, Live] = {}
    monitors = [it for it in line.spec.monitors if isinstance(it, ByRows)]
    seen = {it.kind: _look(line, candidate, champion, it, kept) for it in monitors}
    for kind, it in seen.items():
        keep(job, f"monitor {kind}", f"v{champion.version} in {environment}", it.verdicts)
    tables = "\n\n".join(f"## {kind}\n\n{it.told}" for kind, it in seen.items())
    title = f"# {job.model} v{champion.version} in {environment}"
    show(job, "monitor", f"{title}\n\n{tables}{_not_watched(seen.values())}")
    return Watched(
        windows={kind: it.span for kind, it in seen.items()},
        rows={kind: it.rows for kind, it in seen.items()},
        verdicts={kind: it.verdicts for kind, it in seen.items()},
        version=champion.version,
    )


def _look(
    line: Line, candidate: Candidate, champion: Release, monitor: ByRows, kept: dict[Cut, Live]
) -> Seen:
    if isinstance(monitor, QualityMonitor):
        window = _window(line, champion, monitor)
        verdicts = (_quality(line, candidate, monitor, window),)
        rows, table = len(window.rows), verdict_table(verdicts)
        return Seen(window.span, rows, window.masked, verdicts, table)
    since, environment = champion.ended_at or 0.0, champion.environment
    spans = line.ledger.live_spans(environment, line.spec.name, since)
    return judge_live(
        line, candidate, monitor, environment=environment, since=since, spans=spans, kept=kept
    )


def _window(line: Line, champion: Release, monitor: QualityMonitor) -> Window:
    since = champion.ended_at or 0.0
    return read_window(
        line.settings,
        champion.environment,
        line.spec.name,
        version=champion.version,
        since=since,
        latest=monitor.window_rows,
        live=line.ledger.live_spans(champion.environment, line.spec.name, since),
    )


def _not_watched(seen: Iterable[Seen]) -> str:
    """A masked column is not inconclusive for ever: that it is not watched was wanted."""
    masked = sorted({name for it in seen for name in it.masked})
    listed = ", ".join(f"`{name}`" for name in masked)
    return f"\n\nNot watched, by choice (`logging.mask`): {listed}" if masked else ""


def _quality(line: Line, candidate: Candidate, monitor: QualityMonitor, window: Window) -> Verdict:
    import numpy as np

    from serving.bundle import read_manifest

    manifest = read_manifest(line.settings.state / candidate.bundle)
    positive: Any = manifest.classes[manifest.positive] if manifest.positive >= 0 else None
    info, rows = metric_of(line.spec, line.settings.project), window.labelled
    expected = candidate.metrics.get(info.name)
    if info.uses == "probabilities" or expected is None:
        why = (
            f"v{candidate.version} was not measured by it"
            if expected is None
            else "the log has the highest probability of a row only"
        )
        detail = f"{info.name} cannot be watched: {why}"
        check = f"quality: {info.name}"
        return Verdict(check=check, outcome=Outcome.INCONCLUSIVE, n=len(rows), detail=detail)
    key = {"probability": "score", "label": "label", "value": "value"}[info.uses]
    said = np.asarray([row["outputs"][key] for row in rows])
    return quality(
        info,
        truth(np.asarray([row["label"] for row in rows]), info, positive),
        encoded(said, positive) if info.uses == "label" else said,
        expected=expected,
        margin=monitor.margin,
        min_labels=monitor.min_labels,
    )
