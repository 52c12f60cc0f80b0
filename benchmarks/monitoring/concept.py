"""Quality on labels: false alarms, and how soon a change of what inputs mean is seen."""

from __future__ import annotations

import statistics
import sys
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andon.labels import PATIENCE, evidence
from andon.metrics import METRICS
from andon.spec import QualityMonitor

Array = NDArray[Any]
STREAMS = {"accuracy": 200, "roc_auc": 40}  # DeLong takes its time
CALM, AFTER = 200, 20  # blocks without a change, and after one
GOOD, MARGIN = 0.85, 0.05
CHANGES = {"falls to 0.75": 0.75, "falls to 0.70": 0.70, "every label is turned round": 0.15}


def rows(metric: str, n: int, value: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Truth and output of a model whose metric is `value` in the population."""
    y = (rng.random(n) < 0.4).astype(float)
    if metric == "accuracy":
        return y, np.where(rng.random(n) < value, y, 1 - y)
    return y, rng.normal(size=n) + NormalDist().inv_cdf(value) * np.sqrt(2) * y


def alarm(metric: str, value: float, blocks: int, rng: np.random.Generator) -> int | None:
    """Labels until the alarm, looked at after each block; None: there was none."""
    monitor = QualityMonitor(kind="quality", margin=MARGIN)
    block, most = monitor.min_labels, monitor.window_rows // monitor.min_labels
    info = METRICS[metric]
    y, said = rows(metric, blocks * block, value, rng)
    if blocks == AFTER:  # a change comes after a full window without one
        before = rows(metric, most * block, GOOD, rng)
        y, said = np.concatenate([before[0], y]), np.concatenate([before[1], said])
    first = len(y) - blocks * block
    for n in range(first + block, len(y) + 1, block):
        seen = slice(max(0, n - most * block), n)
        found = evidence(
            info, y[seen], said[seen], worst=GOOD - MARGIN, block=block, most=most
        )  # fmt: skip
        if found >= PATIENCE:
            return n - first
    return None


def lines() -> list[str]:
    """As Markdown."""
    block = QualityMonitor(kind="quality").min_labels
    found = [
        f"Quality on labels, {GOOD} at training, margin {MARGIN}, blocks of {block}, "
        f"{' or '.join(map(str, STREAMS.values()))} streams each: alarms within {CALM} blocks "
        f"without a change, and labels from a change to the alarm:",
        "",
        "| | alarmed | median | longest |",
        "| --- | --- | --- | --- |",
    ]
    for metric, streams in STREAMS.items():
        calm = {"stays": GOOD, "is worse by exactly the margin": GOOD - MARGIN}
        for what, value in {**calm, **CHANGES}.items():
            rng = np.random.default_rng(8)
            blocks = CALM if what in calm else AFTER
            seen = [alarm(metric, value, blocks, rng) for _ in range(streams)]
            when = [it for it in seen if it is not None]
            share = f"{100 * len(when) / streams:.1f} %"
            times = f"{statistics.median(when):,g} | {max(when):,}" if when else " | "
            found.append(f"| {metric} {what} | {share} | {times} |")
            print(found[-1], file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    print("\n".join(lines()))
