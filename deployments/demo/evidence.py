"""What the demo claims is read back from the ledger, the logs and the requests it sent."""

from __future__ import annotations

import numpy as np

from andon.adapters.inference_log import read_window
from andon.adapters.ledger import Incident, Ledger, VerdictRow
from andon.metrics import METRICS
from andon.settings import Settings
from deployments.demo.story import Check, Story

PRODUCTION = "production"
POSITIVE = "yes"


def before_drift(story: Story, ledger: Ledger) -> None:
    """Keep what the monitor said while the traffic was like the training data."""
    story.drift_before = _latest_drift(story, ledger)


def gather(story: Story, settings: Settings, ledger: Ledger) -> None:
    """Fill the story's evidence and its checks."""
    story.verdicts = ledger.verdicts(story.model, since=story.started)
    story.releases = [
        (it, ledger.transitions(it.seq))
        for it in reversed(ledger.releases(story.model))
        if it.started_at >= story.started
    ]
    mine = [it for it in ledger.incidents(story.model) if it.opened_at >= story.started]
    story.incident = mine[-1] if mine else None
    story.drift_after = _worst_drift(story)
    story.metric = "roc_auc"
    story.metrics = _metrics(story, settings)
    story.checks = _checks(story, ledger)


def _latest_drift(story: Story, ledger: Ledger) -> list[VerdictRow]:
    rows = [
        it for it in ledger.verdicts(story.model, story.started) if it.station == "monitor drift"
    ]
    return [it for it in rows if it.run_id == rows[-1].run_id] if rows else []


def _worst_drift(story: Story) -> list[VerdictRow]:
    """The verdicts of the first monitor run that failed."""
    rows = [it for it in story.verdicts if it.station == "monitor drift"]
    failed = [it.run_id for it in rows if it.outcome == "fail"]
    return [it for it in rows if failed and it.run_id == failed[0]]


def _metrics(story: Story, settings: Settings) -> list[tuple[str, str, float]]:
    """The metric of each version on the live rows it answered, by whether they had drifted."""
    drift = next((at for at, what in story.marks if what == "drift begins"), float("inf"))
    window = read_window(settings, PRODUCTION, story.model, since=story.started)
    groups: dict[tuple[str, str], list[tuple[bool, float]]] = {}
    for row in window.labelled:
        kind = "drifted rows" if row["time"] >= drift else "rows like training"
        pair = (row["label"] == POSITIVE, row["outputs"]["score"])
        groups.setdefault((f"v{row['version']}", kind), []).append(pair)
    found = []
    for (version, kind), pairs in groups.items():
        y, score = (np.asarray(column, dtype=float) for column in zip(*pairs, strict=True))
        found.append((version, kind, METRICS[story.metric].of(y, score)))
    return found


def _checks(story: Story, ledger: Ledger) -> list[Check]:
    promoted = [it for it, _ in story.releases if it.rollout.phase.value == "promoted"]
    live = [it for it in promoted if it.environment == PRODUCTION]
    champion = ledger.champion(PRODUCTION, story.model)
    failed = [it for it in story.sent if it.failed]
    incident = story.incident
    alarms = [it for it in story.drift_before if it.outcome == "fail"]
    return [
        Check(
            "delivered",
            champion is not None,
            f"v{champion.version} is the champion" if champion else "there is no champion",
        ),
        Check(
            "no alarm without drift",
            bool(story.drift_before) and not alarms,
            f"{len(alarms)} of {len(story.drift_before)} features alarmed",
        ),
        Check(
            "drift was seen",
            any(it.outcome == "fail" for it in story.drift_after),
            f"{sum(it.outcome == 'fail' for it in story.drift_after)} features drifted",
        ),
        _retrained(incident),
        Check(
            "a better challenger was released",
            bool(live) and _gained(story, live[-1].version),
            _gain(story, live[-1].version) if live else "nothing was released",
        ),
        Check(
            "0 failed requests",
            bool(story.sent) and not failed,
            f"{len(failed)} of {len(story.sent)} requests failed"
            + (f"; first: {failed[0].failed}" if failed else ""),
        ),
        Check(
            "the incident is closed",
            incident is not None and incident.state == "closed",
            incident.story[-1][1] if incident else "there was none",
        ),
    ]


def _retrained(incident: Incident | None) -> Check:
    what = "the alert started retrain by itself"
    starts = (
        [it for _, it in incident.story if it.startswith("retraining started")] if incident else []
    )
    return Check(what, len(starts) == 1, starts[0] if starts else "no run took the alert up")


def _on_drifted(story: Story) -> dict[str, float]:
    return {version: value for version, kind, value in story.metrics if kind == "drifted rows"}


def _gained(story: Story, version: str) -> bool:
    values = _on_drifted(story)
    others = [value for name, value in values.items() if name != f"v{version}"]
    return bool(others) and values.get(f"v{version}", 0.0) > max(others)


def _gain(story: Story, version: str) -> str:
    values = ", ".join(f"{name} {value:.3f}" for name, value in _on_drifted(story).items())
    return f"v{version} was promoted; {story.metric} on drifted rows: {values}"
