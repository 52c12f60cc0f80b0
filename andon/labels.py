"""Is the model still as good as at training, by the labels that come back?

Labelled rows are looked at in blocks of a fixed size, in the order in which they came to count. A
block is judged once, however often the monitor runs, and evidence is gathered over blocks by an
e-detector (Shin, Ramdas & Rinaldo, *New England Journal of Statistics in Data Science* 2, 2024):
the sum, over all blocks at which a change may have begun, of the evidence since then. While the
loss is within the margin its expectation after k blocks is at most k, so that it takes PATIENCE
blocks on average to reach PATIENCE, and within k blocks the chance is at most k / PATIENCE.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andon.compare import quality
from andon.metrics import MetricInfo
from andon.paired import law
from andon.sequential import Mean
from andon.spec import QualityMonitor
from andon.verdict import Outcome, Verdict

PATIENCE = 4_000
SURE = 1e-3  # no smaller p is believed of the intervals of a block
MEANS = ("accuracy", "brier")  # whose rows' losses are from 0 to 1: exact at any size
Array = NDArray[Any]


@dataclass(frozen=True)
class Arrived:
    """How labels came: predictions that are old enough, those with a label, delays in seconds.

    `twice`: the same label again. `changed`: another one, and the later one counts. `unknown`: of
    predictions that this version's log has not. `skewed`: from before the prediction, or from the
    future. `corrupt`: lines and batches that could not be read.
    """

    mature: int = 0
    labelled: int = 0
    waiting: int = 0
    delays: tuple[float, ...] = ()
    twice: int = 0
    changed: int = 0
    unknown: int = 0
    skewed: int = 0
    corrupt: int = 0

    @property
    def coverage(self) -> float:
        """Share of the predictions that are old enough, and have a label."""
        return self.labelled / self.mature if self.mature else 0.0

    def delay(self, q: float) -> float:
        """A quantile of the delays, in seconds; 0 without labels."""
        return float(np.quantile(self.delays, q)) if self.delays else 0.0


def evidence(
    info: MetricInfo, y: Array, output: Array, *, worst: float, block: int, most: int
) -> float:
    """Against "the metric is no worse than `worst`", from the newest `most` whole blocks.

    `y`, `output`: (n,) as for `MetricInfo`, oldest first. To be compared with PATIENCE.
    """
    whole = len(y) // block
    parts = [slice(i * block, (i + 1) * block) for i in range(max(0, whole - most), whole)]
    if not parts:
        return 0.0
    if info.name in MEANS and info.rows is not None:
        logs = _of_means(info, [(y[it], output[it]) for it in parts], worst)
    else:
        steps = [_of_block(info, y[it], output[it], worst) for it in parts]
        logs = [sum(steps[begin:]) for begin in range(len(steps))]
    top = max(logs)
    return math.exp(min(top + math.log(sum(math.exp(it - top) for it in logs)), 700.0))


def _of_means(info: MetricInfo, parts: Sequence[tuple[Array, Array]], worst: float) -> list[float]:
    """Log evidence since each block, of the mean loss."""
    assert info.rows is not None  # noqa: S101 - those of MEANS have them
    limit = 1.0 - worst if info.greater_is_better else worst
    since, found = Mean(), []
    for y, output in reversed(parts):
        rows = info.rows(y, output)[:, 0]
        since += Mean.of(list(1.0 - rows if info.greater_is_better else rows))
        found.append(since.evidence(min(max(limit, 0.0), 1.0)))
    return found


def _of_block(info: MetricInfo, y: Array, output: Array, worst: float) -> float:
    """Log evidence of one block, from the p value of its interval; 0 where there is none."""
    if not math.isfinite(info.of(y, output)):
        return 0.0
    believed = law(info, y, output, seed=0)
    if believed is None:
        return 0.0
    below = believed.at_most(worst)
    p = max(1.0 - below if info.greater_is_better else below, SURE)
    return _calibrated(p)


def _calibrated(p: float) -> float:
    """Log of the e-value ∫ κ p^(κ-1) dκ (Vovk & Wang, Annals of Statistics 49, 2021)."""
    if p >= 1.0 - 1e-6:
        return math.log(0.5)
    return math.log((1.0 - p + p * math.log(p)) / (p * math.log(p) ** 2))


def judged(
    info: MetricInfo, y: Array, output: Array, monitor: QualityMonitor, *,
    expected: float, arrived: Arrived,
) -> Verdict:  # fmt: skip
    """The metric on labels against its value at training; `y`, `output` (n,), oldest first.

    Fails if the evidence in the newest `window_rows`, in blocks of `min_labels`, says that the loss
    is above the margin; passes if the 95 % interval on these rows lies below it.
    """
    window, block, margin = monitor.window_rows, monitor.min_labels, monitor.margin
    found = quality(
        info, y[-window:], output[-window:], expected=expected, margin=margin, min_labels=block
    )
    worst = expected - info.sign * margin
    most = max(1, window // block)
    gathered = evidence(info, y, output, worst=worst, block=block, most=most)
    outcome, detail = found.outcome, found.detail
    if gathered >= PATIENCE:
        outcome = Outcome.FAIL
        detail += f"; by more than {margin:g} beyond doubt"
    elif outcome is Outcome.FAIL:
        outcome = Outcome.INCONCLUSIVE
        detail += "; looks worse, not yet beyond doubt"
    return found.model_copy(
        update={
            "outcome": outcome,
            "detail": detail + told(arrived),
            "evidence": {
                **found.evidence, "detector": gathered, "alarm_at": PATIENCE, "block": block,
                "coverage": arrived.coverage, "delay_median": arrived.delay(0.5),
                "delay_90": arrived.delay(0.9), "waiting": arrived.waiting,
            },
        }
    )  # fmt: skip


def benchmark(
    info: MetricInfo, y: Array, output: Array, monitor: QualityMonitor, stated: float
) -> Verdict:
    """The metric against a value that people have stated, by the same rule without a margin."""
    held = monitor.model_copy(update={"margin": 0.0})
    found = judged(info, y, output, held, expected=stated, arrived=Arrived())
    outcome, value = found.outcome, found.evidence.get("live")
    if outcome is Outcome.INCONCLUSIVE and value is not None:
        # With no margin an interval that holds the stated value is what "as good" looks like.
        outcome = Outcome.PASS if info.sign * (value - stated) >= 0 else outcome
    detail = found.detail.replace("at training", "stated as benchmark")
    check = f"quality: {info.name} against benchmark"
    return found.model_copy(update={"check": check, "outcome": outcome, "detail": detail})


def told(arrived: Arrived) -> str:
    """How labels came, for people; only what is worth a word."""
    parts = []
    if arrived.mature:
        share = f"{100 * arrived.coverage:.0f} % of {arrived.mature:,} predictions have a label"
        parts.append(f"{share}, half of them after {_time(arrived.delay(0.5))}")
    if arrived.waiting:
        parts.append(f"{arrived.waiting:,} labels are of predictions too young to count")
    odd = {
        "that change an earlier one (the later one counts)": arrived.changed,
        "for predictions that this version did not give": arrived.unknown,
        "with a time that cannot be": arrived.skewed,
        "that cannot be read": arrived.corrupt,
    }
    parts += [f"{n:,} labels {what}" for what, n in odd.items() if n]
    return "".join(f"; {it}" for it in parts)


def _time(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
