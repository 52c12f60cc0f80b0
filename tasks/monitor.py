"""Station: judge the latest window of live traffic."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from andon.adapters.ledger import Candidate, Release
from andon.adapters.live import Live
from andon.spec import QualityMonitor
from andon.summary import Cut
from tasks.labels import judge_labels
from tasks.line import Job, Line, keep, line_for, show, station
from tasks.live import ByCounts, Seen, judge_live
from tasks.pages import report
from tasks.results import Watched

ByRows = ByCounts | QualityMonitor  # they judge the rows of the inference log


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
    told = f"{title}\n\n{_linked(line, report(line, champion, seen))}{tables}"
    show(job, "monitor", f"{told}{_not_watched(seen.values())}")
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
        return judge_labels(line, candidate, champion, monitor)
    since, environment = champion.ended_at or 0.0, champion.environment
    spans = line.ledger.live_spans(environment, line.spec.name, since)
    return judge_live(
        line, candidate, monitor, environment=environment, since=since, spans=spans, kept=kept
    )


def _linked(line: Line, path: Path | None) -> str:
    if path is None:
        return ""
    address = f"{line.settings.pages_url}/{path.relative_to(line.settings.pages)}"
    return f"[The report, with pictures]({address})\n\n"


def _not_watched(seen: Iterable[Seen]) -> str:
    """A masked column is not inconclusive for ever: that it is not watched was wanted."""
    masked = sorted({name for it in seen for name in it.masked})
    listed = ", ".join(f"`{name}`" for name in masked)
    return f"\n\nNot watched, by choice (`logging.mask`): {listed}" if masked else ""
