"""What the monitors of live inputs and scores say of the last windows of live rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from andon.drift import drift
from andon.live_data import live_data
from andon.profile import Profile
from andon.spec import DataMonitor, DriftMonitor, EstimateMonitor
from andon.summary import Cut, Summary
from andon.verdict import Verdict

PREDICTIONS = "prediction drift"
LONGEST = 120  # letters of a check's name


def cut_for(monitor: DataMonitor | DriftMonitor | EstimateMonitor) -> Cut:
    """How the latest rows are cut into windows."""
    lasting = monitor.persistence
    return Cut(monitor.window_rows, monitor.min_rows, lasting.of, lasting.need)


def verdicts(
    monitor: DataMonitor | DriftMonitor,
    reference: Profile,
    windows: Sequence[Summary],
    masked: Collection[str] = (),
) -> tuple[Verdict, ...]:
    """One a feature; drift also of the scores, and of those of slices. `windows`: newest first.

    Scores are judged within the same error budget as the features. What is `masked` is left out.
    """
    features = [it for it in reference.features if it.name not in masked]
    need = monitor.persistence.need
    if isinstance(monitor, DataMonitor):
        return tuple(
            live_data(
                features, windows, alpha=monitor.alpha, rise=monitor.rise,
                min_rows=monitor.min_rows, need=need,
            )
        )  # fmt: skip
    expected = {f"drift: {it.name}": it for it in features}
    tallies = [{f"drift: {name}": it for name, it in w.features.items()} for w in windows]
    if reference.score.n:
        expected[PREDICTIONS] = reference.score
        for tally, window in zip(tallies, windows, strict=True):
            if window.said is not None:
                tally[PREDICTIONS] = window.said
    for part in reference.parts:
        # A slice with few rows now is silent: it must not keep all the rest from being clear.
        now = windows[0].parts.get(part.name) if windows else None
        if part.column in masked or now is None or now.n < monitor.min_rows:
            continue
        check = f"{PREDICTIONS} in {part.name}"[:LONGEST]
        expected[check] = part.score
        for tally, window in zip(tallies, windows, strict=True):
            if part.name in window.parts:
                tally[check] = window.parts[part.name]
    return tuple(
        drift(
            expected, tallies, alpha=monitor.alpha, effect=monitor.effect,
            min_rows=monitor.min_rows, need=need,
        )
    )  # fmt: skip
