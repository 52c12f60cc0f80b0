"""What the rows of the inference log say: labels, scores on one scale, and what is no answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andon import profile
from andon.adapters.arrow_segments import Batch
from andon.looks import Answers, Pair

DIFFERENT = 0.1  # of the scale: numbers further apart than this are different answers

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """Brings numbers to 0…1: those of a regression. Scores are there already."""

    low: float = 0.0
    width: float = 1.0

    def of(self, numbers: Numbers) -> Numbers:
        """On the scale; what is beyond its ends is at them."""
        return np.clip((numbers - self.low) / self.width, 0.0, 1.0)


def scale_of(feature: profile.Feature) -> Scale | None:
    """The scale of a regression, from what the bundle's reference profile says of its predictions.

    Fixed before any of the numbers that it is used for is seen. From the 5th to the 95th percentile
    and half of that further on either side, but not beyond the lowest and highest of all: a single
    wild prediction must not make everything else look alike.
    """
    if feature.low is None or feature.high is None:
        return None
    low, high = _inner(feature)
    if high <= low:  # few values
        low, high = feature.low, feature.high
    beyond = (high - low) / 2
    low, high = max(feature.low, low - beyond), min(feature.high, high + beyond)
    if high <= low:  # it always says the same
        beyond = max(abs(low), 1.0) / 2
        low, high = low - beyond, high + beyond
    return Scale(low, high - low)


def _inner(feature: profile.Feature) -> tuple[float, float]:
    """About the 5th and the 95th percentile: the inner borders of the bins that these are in."""
    counts = np.cumsum(feature.counts[1:-2])  # without below, above and null
    if not len(counts) or counts[-1] == 0:
        return 0.0, 0.0
    first, last = np.searchsorted(counts, np.array([0.05, 0.95]) * counts[-1]).tolist()
    return feature.edges[first + 1], feature.edges[last]


def scale_in(bundle: Path) -> Scale | None:
    """Of a bundle's reference profile; None if there is none."""
    try:
        found = profile.from_json((bundle / "profile.json").read_bytes())
    except Exception:  # whatever is wrong with it, there is no scale in it
        return None
    return scale_of(found.score)


@dataclass(frozen=True)
class Said:
    """What a version said of some rows. `labels`: None for regression.

    `numbers`: scores, or predicted values; NaN where there is none. `sound`: neither NaN, infinite
    nor a score outside 0…1.
    """

    ids: list[str]
    labels: list[Any] | None
    numbers: Numbers
    sound: NDArray[np.bool_]


def said(batch: Batch) -> Said:
    """The answers in a batch; raises KeyError if it has none."""
    rows = batch.rows
    values = "out.value" in rows.schema.names
    column = rows["out.value" if values else "out.score"]
    numbers = column.to_numpy(zero_copy_only=False).astype(np.float64)
    sound = np.isfinite(numbers)
    labels = None if values else rows["out.label"].to_pylist()
    if labels is not None:
        there = np.array([it is not None for it in labels], dtype=np.bool_)
        sound &= (numbers >= 0.0) & (numbers <= 1.0) & there
    return Said(rows["id"].to_pylist(), labels, numbers, sound)


def summed(many: Sequence[Said], scale: Scale | None) -> Answers:
    """Answers of a look. A regression without a scale has no scores."""
    labels: Counter[str] = Counter()
    scores: list[float] = []
    bad, example = 0, ""
    for it in many:
        wrong = np.flatnonzero(~it.sound)
        bad += len(wrong)
        if len(wrong) and not example:
            example = f"prediction {it.ids[wrong[0]]}: {_shown(it, int(wrong[0]))}"
        good = it.numbers[it.sound]
        if it.labels is not None:
            sound = it.sound.tolist()
            labels.update(str(x) for x, fine in zip(it.labels, sound, strict=True) if fine)
            scores += good.tolist()
        elif scale is not None:
            scores += scale.of(good).tolist()
    rows = sum(int(it.sound.sum()) for it in many)
    return Answers(rows=rows, labels=labels, scores=tuple(scores), bad=bad, example=example)


def _shown(it: Said, i: int) -> str:
    number = it.numbers[i]
    what = "NaN" if np.isnan(number) else f"{number:g}"
    return what if it.labels is None else f"label {it.labels[i]}, score {what}"


@dataclass(frozen=True, slots=True)
class Answer:
    """One row's. `label`: None for regression."""

    id: str
    label: Any
    number: float


def pair(ours: Answer, theirs: Answer, scale: Scale, slices: tuple[str, ...], probe: bool) -> Pair:
    """Two answers to the same inputs."""
    if ours.label is None or theirs.label is None:
        apart = abs(ours.number - theirs.number) / scale.width > DIFFERENT
        both = scale.of(np.array([ours.number, theirs.number])).tolist()
    else:
        apart, both = ours.label != theirs.label, [ours.number, theirs.number]
    return Pair(apart, both[0], both[1], slices, probe)


def loss(answer: Answer, label: Any, scale: Scale | None) -> float | None:
    """0 (right) to 1: wrong, or as far off as the scale is wide; None if it cannot be told."""
    if answer.label is not None:
        return float(answer.label != label)
    if scale is None or isinstance(label, str):
        return None
    return min(1.0, abs(float(label) - answer.number) / scale.width)
