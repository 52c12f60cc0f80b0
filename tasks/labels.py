"""The metric on labels that came back: the champion's, and its predecessors'."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from andon.adapters.labelled import Labelled, Wanted, labelled
from andon.adapters.ledger import Candidate, Release
from andon.adapters.projects import metric_of
from andon.errors import LineError
from andon.labels import benchmark, judged
from andon.metrics import MetricInfo
from andon.rollout import Phase
from andon.spec import QualityMonitor
from andon.training import encoded, truth
from andon.verdict import Outcome, Verdict
from serving.bundle import Manifest, read_manifest
from tasks.line import Line, verdict_table
from tasks.live import Seen

KEYS = {"probability": "score", "label": "label", "value": "value"}
BEFORE = 3  # versions that served before, and are shown beside the champion


def judge_labels(
    line: Line, candidate: Candidate, champion: Release, monitor: QualityMonitor
) -> Seen:
    """Quality of the champion on the labels of its own predictions, since it serves."""
    info = metric_of(line.spec, line.settings.project)
    expected = candidate.metrics.get(info.name)
    if info.uses == "probabilities" or expected is None:
        why = (
            f"v{candidate.version} was not measured by it"
            if expected is None
            else "the log has the highest probability of a row only"
        )
        detail = f"{info.name} cannot be watched: {why}"
        verdict = Verdict(check=_name(info), outcome=Outcome.INCONCLUSIVE, detail=detail)
        return Seen((0.0, 0.0), 0, frozenset(), (verdict,), verdict_table([verdict]))
    manifest = read_manifest(line.settings.state / candidate.bundle)
    found = _read(line, champion, monitor, info, since=champion.ended_at or 0.0)
    y, said, strange = _as_the_metric_wants(found, info, manifest)
    verdict = judged(info, y, said, monitor, expected=expected, arrived=found.arrived)
    if strange:
        detail = f"{verdict.detail}; {strange:,} labels are none that the model knows"
        verdict = verdict.model_copy(update={"detail": detail})
    verdicts = [verdict]
    if monitor.benchmark is not None:
        verdicts.append(benchmark(info, y, said, monitor, monitor.benchmark))
    window = monitor.window_rows
    asked = found.asked[-window:]
    span = (float(asked.min()), float(asked.max())) if len(asked) else (0.0, 0.0)
    table = verdict_table(verdicts) + _beside(line, champion, monitor, info, verdict)
    return Seen(span, min(len(y), window), frozenset(), tuple(verdicts), table)


def _name(info: MetricInfo) -> str:
    return f"quality: {info.name}"


def _read(
    line: Line, release: Release, monitor: QualityMonitor, info: MetricInfo, *, since: float
) -> Labelled:
    live = line.ledger.live_spans(release.environment, release.model, since)
    wanted = Wanted(
        release.version, since, time.time(), KEYS[info.uses], monitor.maturity, live
    )  # fmt: skip
    return labelled(line.settings, release.environment, release.model, wanted)


def _as_the_metric_wants(
    found: Labelled, info: MetricInfo, manifest: Manifest
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]:
    """Truth and output of the rows whose label can be one of this model; and how many cannot."""
    known = [_is_of(manifest, it) for it in found.label]
    label = [it for it, good in zip(found.label, known, strict=True) if good]
    said = [it for it, good in zip(found.said, known, strict=True) if good]
    positive: Any = manifest.classes[manifest.positive] if manifest.positive >= 0 else None
    output = np.asarray(said)
    return (
        truth(np.asarray(label), info, positive),
        encoded(output, positive) if info.uses == "label" else output.astype(float),
        len(known) - len(label),
    )


def _is_of(manifest: Manifest, label: Any) -> bool:
    if manifest.task == "regression":
        return isinstance(label, int | float) and not isinstance(label, bool)
    return label in manifest.classes


def _beside(
    line: Line, champion: Release, monitor: QualityMonitor, info: MetricInfo, now: Verdict
) -> str:
    """The champion's predecessors on their own labels, as a table; "" if there are none."""
    rows = []
    for before in _predecessors(line, champion):
        value, n = _value_of(line, before, monitor, info)
        if n:
            at_training = line.ledger.candidate_of(before).metrics.get(info.name)
            rows.append((f"v{before.version}, before", value, at_training, n))
    if not rows:
        return ""
    live, trained = now.evidence.get("live"), now.evidence.get("training")
    rows.insert(0, (f"v{champion.version}, champion", live, trained, now.n))
    lines = ["", "", f"| | {info.name} | at training | labels |", "| --- | --- | --- | --- |"]
    lines += [f"| {who} | {_number(it)} | {_number(then)} | {n:,} |" for who, it, then, n in rows]
    return "\n".join(lines)


def _predecessors(line: Line, champion: Release) -> Iterator[Release]:
    seen = {champion.version}
    for it in line.ledger.releases(champion.model, champion.environment):
        promoted = it.rollout.phase is Phase.PROMOTED and it.ended_at is not None
        if promoted and it.version not in seen and len(seen) <= BEFORE:
            seen.add(it.version)
            yield it


def _value_of(
    line: Line, before: Release, monitor: QualityMonitor, info: MetricInfo
) -> tuple[float | None, int]:
    """Its metric on its latest labelled rows; a version whose files are gone has none."""
    try:
        bundle = line.settings.state / line.ledger.candidate_of(before).bundle
        found = _read(line, before, monitor, info, since=before.ended_at or 0.0)
        y, said, _ = _as_the_metric_wants(found, info, read_manifest(bundle))
    except (LineError, OSError, ValueError):
        return None, 0
    y, said = y[-monitor.window_rows :], said[-monitor.window_rows :]
    value = info.of(y, said) if len(y) else float("nan")
    return (value if np.isfinite(value) else None), len(y)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
