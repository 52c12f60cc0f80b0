"""What is judged of live inputs and scores as it was logged: no labels are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from andon import drift as drifting
from andon import profile
from andon.adapters.inference_log import Spans
from andon.adapters.ledger import Candidate
from andon.adapters.live import Live, Wanted, summarised
from andon.live_data import live_data
from andon.profile import Feature
from andon.spec import DataMonitor, DriftMonitor
from andon.summary import Cut, Summary
from andon.verdict import Outcome, Verdict
from tasks.line import SIGNS, Line

PREDICTIONS = "prediction drift"


@dataclass(frozen=True)
class Seen:
    """What a monitor saw: of the newest window its span (epoch seconds) and rows; a table."""

    span: tuple[float, float]
    rows: int
    masked: frozenset[str]
    verdicts: tuple[Verdict, ...]
    told: str


def judge_live(
    line: Line, candidate: Candidate, monitor: DataMonitor | DriftMonitor, *,
    environment: str, since: float, spans: Spans | None = None,
) -> Seen:  # fmt: skip
    """Data or drift on the version's latest rows, in windows: one pass over the inference log."""
    raw = (line.settings.state / candidate.bundle / "profile.json").read_bytes()
    reference = profile.from_json(raw)
    lasting = monitor.persistence
    cut = Cut(monitor.window_rows, monitor.min_rows, lasting.of, lasting.need)
    wanted = Wanted(candidate.version, since, cut.latest, cut.piece, spans)
    live = summarised(
        line.settings, environment, line.spec.name, wanted, reference.features, reference.score
    )
    windows = cut.windows(live.pieces)
    features = [it for it in reference.features if it.name not in live.masked]
    verdicts = tuple(
        _data(monitor, features, windows)
        if isinstance(monitor, DataMonitor)
        else _drift(monitor, features, reference.score, windows)
    )
    span, rows = (windows[0].span, windows[0].rows) if windows else ((0.0, 0.0), 0)
    return Seen(span, rows, live.masked, verdicts, _table(verdicts, windows, live))


def _data(monitor: DataMonitor, features: list[Feature], windows: list[Summary]) -> list[Verdict]:
    return live_data(
        features, windows, alpha=monitor.alpha, rise=monitor.rise, min_rows=monitor.min_rows,
        need=monitor.persistence.need,
    )  # fmt: skip


def _drift(
    monitor: DriftMonitor, features: list[Feature], score: Feature, windows: list[Summary]
) -> list[Verdict]:
    reference = {f"drift: {it.name}": it for it in features}
    tallies = [{f"drift: {name}": it for name, it in w.features.items()} for w in windows]
    if score.n:
        reference[PREDICTIONS] = score
        tallies = [
            tally | ({PREDICTIONS: window.said} if window.said else {})
            for tally, window in zip(tallies, windows, strict=True)
        ]
    return drifting.drift(
        reference, tallies, alpha=monitor.alpha, effect=monitor.effect,
        min_rows=monitor.min_rows, need=monitor.persistence.need,
    )  # fmt: skip


def _table(verdicts: Sequence[Verdict], windows: Sequence[Summary], live: Live) -> str:
    """As Markdown: effect, p and n of each check, the worst first."""
    sizes = ", ".join(f"{it.rows:,}" for it in windows) or "none"
    lines = [
        f"Rows in each window, the newest first: {sizes}.",
        "",
        "| check | verdict | effect | floor | p | adjusted p | n | |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    if live.corrupt:
        lines.insert(1, f"\nLeft out as damaged: {live.corrupt} batches of the log.")
    for it in sorted(verdicts, key=_badness):
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
