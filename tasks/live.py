"""What is judged of live inputs and scores as it was logged: no labels are needed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from andon import profile
from andon.adapters.inference_log import Spans
from andon.adapters.ledger import Candidate
from andon.adapters.live import Live, Wanted, summarised
from andon.adapters.projects import metric_of
from andon.estimate import estimate
from andon.live_data import repeated
from andon.monitoring import cut_for, verdicts
from andon.spec import DataMonitor, DriftMonitor, EstimateMonitor
from andon.summary import Cut, Summary
from andon.verdict import Outcome, Verdict
from serving.bundle import read_manifest
from tasks.joint import judge_together
from tasks.line import SIGNS, Line

SKEW = 60.0  # seconds by which a server's clock may be ahead


@dataclass(frozen=True)
class Seen:
    """What a monitor saw: of the newest window its span (epoch seconds) and rows; a table.

    `summary` and `reference`: what was counted in that window and at training, if it counts.
    """

    span: tuple[float, float]
    rows: int
    masked: frozenset[str]
    verdicts: tuple[Verdict, ...]
    told: str
    summary: Summary | None = None
    reference: profile.Profile | None = None


ByCounts = DataMonitor | DriftMonitor | EstimateMonitor


def judge_live(
    line: Line, candidate: Candidate, monitor: ByCounts, *,
    environment: str, since: float, spans: Spans | None = None,
    kept: dict[Cut, Live] | None = None,
) -> Seen:  # fmt: skip
    """Data, drift or estimate on the version's latest rows: one pass over the inference log.

    What was read is `kept`, for the next monitor with windows of the same kind.
    """
    raw = (line.settings.state / candidate.bundle / "profile.json").read_bytes()
    reference, cut = profile.from_json(raw), cut_for(monitor)
    live = (kept or {}).get(cut)
    if live is None:
        of = candidate.version, since, cut.latest, cut.piece
        wanted = Wanted(*of, spans, reference.parts, until=time.time() + SKEW)
        live = summarised(
            line.settings, environment, line.spec.name, wanted, reference.features, reference.score
        )
    if kept is not None:
        kept[cut] = live
    windows = cut.windows(live.pieces)
    if isinstance(monitor, EstimateMonitor):
        found: tuple[Verdict, ...] = (_estimate(line, candidate, reference, windows, monitor),)
    else:
        found = verdicts(monitor, reference, windows, live.masked)
    if isinstance(monitor, DataMonitor):
        found += (_repeated(live, monitor),)
    if isinstance(monitor, DriftMonitor):
        of = candidate.version, since, 0, cut.piece
        wanted = Wanted(*of, spans, until=time.time() + SKEW)
        seen = [it for it in reference.features if it.name not in live.masked]
        found += judge_together(line, candidate, monitor, environment, seen, windows, wanted)
    newest = windows[0] if windows else None
    span, rows = (newest.span, newest.rows) if newest else ((0.0, 0.0), 0)
    table = _table(found, windows, live)
    return Seen(span, rows, live.masked, found, table, newest, reference)


def _repeated(live: Live, monitor: DataMonitor) -> Verdict:
    again, rows = live.repeated
    return repeated(again, rows, limit=monitor.repeated, min_rows=monitor.min_rows)


def _estimate(
    line: Line, candidate: Candidate, reference: profile.Profile, windows: Sequence[Summary],
    monitor: EstimateMonitor,
) -> Verdict:  # fmt: skip
    manifest = read_manifest(line.settings.state / candidate.bundle)
    info = metric_of(line.spec, line.settings.project)
    measured = candidate.metrics.get(info.name) if manifest.task == "binary" else None
    threshold = getattr(manifest.engine, "threshold", None) or 0.5
    return estimate(info, reference.score, windows, monitor, measured=measured, threshold=threshold)


def _table(given: Sequence[Verdict], windows: Sequence[Summary], live: Live) -> str:
    """As Markdown: effect, p and n of each check, the worst first."""
    sizes = ", ".join(f"{it.rows:,}" for it in windows) or "none"
    lines = [
        f"Rows in each window, the newest first: {sizes}.",
        "",
        "| check | verdict | effect | floor | p | adjusted p | n | |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    if live.ahead:
        lines.insert(1, f"\nLeft out, since their clock is ahead of ours: {live.ahead:,} rows.")
    if live.corrupt:
        lines.insert(1, f"\nLeft out as damaged: {live.corrupt} batches of the log.")
    for it in sorted(given, key=_badness):
        p, adjusted = (_number(it.evidence.get(key)) for key in ("p", "adjusted_p"))
        detail = it.detail.replace("|", "\\|").replace("\n", " ")
        lines.append(
            f"| {it.check} | {SIGNS[it.outcome]} | {_number(it.value)} | {_number(it.limit)} "
            f"| {p} | {adjusted} | {it.n:,} | {detail} |"
        )
    return "\n".join(lines)


def _badness(it: Verdict) -> tuple[bool, float]:
    return it.outcome is Outcome.PASS, -(it.value or 0.0)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
