"""The model card's part on how good a model is: from an evaluation, as far as there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from andon.evidence import (
    Calibration,
    Comparison,
    Evaluation,
    Interval,
    Measured,
    Slices,
    Thresholds,
)
from andon.page import UNKNOWN, Block, Image, Paragraph, Section, Table, interval

MOST = 25  # slices
NOT_WORSE = "not worse than champion"
ANSWERS = ("roc", "precision-recall", "calibration", "confusion", "residuals", "scores")


def deciding(found: Evaluation | None) -> Measured | None:
    """The metric that decides, if it was measured."""
    return next((it for it in found.metrics if it.decides), None) if found else None


def sections(
    found: Evaluation | None,
    metrics: Mapping[str, float],
    images: Mapping[str, Image],
) -> Iterator[Section]:
    """How good it is; against the champion; on parts of the rows."""
    pictures = [images[name] for name in ANSWERS if name in images]
    if found is None:
        rows = [[name, number(value), UNKNOWN] for name, value in metrics.items()]
        table = Table(("metric", "held out", "95 % interval"), rows, frozenset({1, 2}))
        yield Section("How good it is", [table, *pictures], "facts.json")
        return
    blocks: list[Block] = [_metrics(found)]
    if found.calibration:
        blocks.append(Paragraph(_calibrated(found.calibration)))
    if found.thresholds:
        blocks.append(Paragraph(_threshold(found.thresholds)))
    if found.residuals:
        low, _, middle, _, high = found.residuals.quantiles
        said = f"Truth minus prediction: 9 of 10 rows from {number(low)} to {number(high)}"
        blocks.append(Paragraph(f"{said}; the median is {number(middle)}."))
    yield Section("How good it is", [*blocks, *pictures], "evaluation.json, explanation.json")
    yield Section("Against the champion", list(_compared(found)), "evaluation.json")
    if found.slices and found.slices.slices:
        yield Section("On parts of the rows", list(_slices(found.slices)), "evaluation.json")


def number(value: float | None) -> str:
    """Four digits that matter."""
    return UNKNOWN if value is None else f"{value:.4g}"


def _between(it: Interval | None) -> str:
    return interval(it.low, it.high) if it else UNKNOWN


def _metrics(found: Evaluation) -> Table:
    name = f"champion v{found.champion}" if found.champion else "champion"
    rows = [
        [
            it.name + (" (decides)" if it.decides else ""),
            "greater" if it.greater_is_better else "less",
            number(it.challenger.value),
            _between(it.challenger),
            number(it.champion.value) if it.champion else "none",
            "none" if it.limit is None else number(it.limit),
        ]
        for it in found.metrics
    ]
    left = f" {found.excluded:,} rows that the champion learned from are left out."
    note = f"On {found.rows:,} held-out rows.{left if found.excluded else ''}"
    head = ("metric", "better is", "value", "95 % interval", name, "limit")
    return Table(head, rows, frozenset({2, 3, 4, 5}), note)


def _calibrated(it: Calibration) -> str:
    return (
        f"Calibration: scores are off by {number(it.error.value)} on average beyond chance "
        f"(95 % interval {_between(it.error)}); Brier score {number(it.brier)}, of it reliability "
        f"{number(it.reliability)}, resolution {number(it.resolution)}, uncertainty "
        f"{number(it.uncertainty)}."
    )


def _threshold(it: Thresholds) -> str:
    chosen = (
        "The pipeline's own labels are served"
        if it.chosen is None
        else f"Scores from {number(it.chosen)} on are a yes"
    )
    return (
        f"{chosen}. A false yes costs {it.false_positive:g}, a false no "
        f"{it.false_negative:g}: a row costs {number(it.cost.value)} on average (95 % interval "
        f"{_between(it.cost)}), with a threshold of 0.5 {number(it.at_half.value)}."
    )


def _compared(found: Evaluation) -> Iterator[Block]:
    it: Comparison | None = found.comparison
    if it is None:
        said = [it.get("detail", "") for it in found.verdicts if it.get("check") == NOT_WORSE]
        yield Paragraph(f"Nothing was compared: {said[0] if said else UNKNOWN}.")
        return
    yield Table(
        ("what", "which"),
        [
            ["champion", f"v{found.champion or UNKNOWN}: {it.metric} {number(it.champion)}"],
            ["this build", f"{it.metric} {number(it.challenger)}, on the same {it.n:,} rows"],
            ["gain", f"{number(it.gain.value)} (95 % interval {_between(it.gain)}, {it.method})"],
            ["tolerated loss", number(it.margin)],
            ["verdict", it.outcome + (", and better" if it.better else "")],
            ["p of no difference", number(it.equal_p)],
        ],
    )


def _slices(found: Slices) -> Iterator[Block]:
    rows = [
        [
            " and ".join(f"{one.column} = {one.value}" for one in it.conditions),
            "named" if it.named else "found",
            f"{it.n:,}",
            number(it.challenger),
            number(it.champion) if it.champion is not None else "none",
            _between(it.gain) if it.gain else "none",
            it.outcome,
        ]
        for it in found.slices[:MOST]
    ]
    overall = f"{found.metric} is {number(found.overall)} on all rows."
    searched = f" {found.searched:,} slices were looked at to find the worst." * bool(
        found.searched
    )
    more = len(found.slices) - MOST
    note = f"{overall}{searched}" + (f" {more:,} more are in evaluation.json." * (more > 0))
    head = ("slice", "", "rows", found.metric, "champion", "gain, 95 %", "verdict")
    yield Table(head, rows, frozenset({2, 3, 4, 5}), note)
