"""The metric estimated from scores alone, while labels are still to come.

If a score of 0.7 comes true in 7 of 10 cases, scores say how often the model is right: confidence-
based performance estimation. Nothing here sees that inputs have come to mean something else: that
takes labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andon.metrics import MetricInfo
from andon.profile import Feature, counts
from andon.sequential import TINY
from andon.spec import EstimateMonitor
from andon.summary import Summary
from andon.verdict import Outcome, Verdict
from andon.windows import Finding, judged

Numbers = NDArray[np.float64]
DRAWS, SURE = 400, 0.01
BLIND = "an estimate from scores, blind to what labels would tell"


def accuracy(score: Numbers, weight: Numbers, threshold: float) -> Numbers:
    """Expected accuracy of binary answers; `weight` (..., bins): rows with each score (bins,)."""
    right = np.where(score >= threshold, score, 1.0 - score)
    return _mean(right, weight)


def brier(score: Numbers, weight: Numbers, threshold: float) -> Numbers:
    """Expected squared error of the probabilities."""
    return _mean(score * (1.0 - score), weight)


def log_loss(score: Numbers, weight: Numbers, threshold: float) -> Numbers:
    """Expected log loss: the scores' entropy."""
    p = np.clip(score, 1e-15, 1 - 1e-15)
    return _mean(-(p * np.log(p) + (1 - p) * np.log1p(-p)), weight)


def roc_auc(score: Numbers, weight: Numbers, threshold: float) -> Numbers:
    """Expected ROC AUC: of pairs, each row being positive with its score; ties count half."""
    order = np.argsort(score)
    positive = (weight * score)[..., order]
    negative = (weight * (1.0 - score))[..., order]
    below = np.cumsum(negative, axis=-1) - negative / 2
    pairs = positive.sum(axis=-1) * negative.sum(axis=-1)
    found: Numbers = (positive * below).sum(axis=-1) / np.maximum(pairs, TINY)
    return found


def _mean(value: Numbers, weight: Numbers) -> Numbers:
    found: Numbers = (value * weight).sum(axis=-1) / np.maximum(weight.sum(axis=-1), TINY)
    return found


Expected = Callable[[Numbers, Numbers, float], Numbers]
KNOWN: dict[str, Expected] = {
    "accuracy": accuracy, "brier": brier, "log_loss": log_loss, "roc_auc": roc_auc
}  # fmt: skip


def estimate(
    info: MetricInfo, reference: Feature, windows: Sequence[Summary], monitor: EstimateMonitor, *,
    measured: float | None, threshold: float = 0.5,
) -> Verdict:  # fmt: skip
    """The metric that the windows' scores promise; `windows`: the newest first.

    `reference`: the scores of held-out rows at training, and `measured` the metric on them with
    their labels. A window is bad if the estimate is worse by `margin` than that of the reference,
    and that is no chance. Inconclusive where the reference's own estimate is further than half the
    margin from what was measured: then the scores are no probabilities.
    """
    check = f"estimated {info.name} (no labels)"
    expected = KNOWN.get(info.name)
    why = _cannot(info, expected, reference, measured, threshold, monitor.margin)
    if expected is None or measured is None or why:
        return Verdict(check=check, outcome=Outcome.INCONCLUSIVE, detail=f"{why}; {BLIND}")
    findings = [
        _look(info, expected, reference, it, monitor, measured, threshold) for it in windows
    ] or [Finding(None, 0, f"0 scores, wanted at least {monitor.min_rows}")]
    found = judged(check, monitor.margin, findings, monitor.persistence.need)
    return found.model_copy(update={"detail": f"{found.detail}; {BLIND}"})


def _cannot(
    info: MetricInfo, expected: Expected | None, reference: Feature,
    measured: float | None, threshold: float, margin: float,
) -> str:  # fmt: skip
    """Why nothing can be estimated; "" if it can."""
    if expected is None:
        return f"{info.name} cannot be estimated: {', '.join(KNOWN)} of two classes can"
    if measured is None or not reference.n or not reference.edges:
        return f"{info.name} was not measured at training, or there are no scores of that time"
    score, weight = _scores(reference, counts(reference))
    promised = float(expected(score, weight, threshold))
    if abs(promised - measured) > max(margin / 2, 0.01):
        return (
            f"its scores are no probabilities: at training they promised {info.name} "
            f"{promised:.4f}, and {measured:.4f} was measured"
        )
    return ""


def _scores(reference: Feature, rows: NDArray[np.int64]) -> tuple[Numbers, Numbers]:
    """A score for each bin, its middle, and the rows in it; nulls are left out."""
    edges = np.clip(np.asarray(reference.edges), 0.0, 1.0)
    middles = (edges[:-1] + edges[1:]) / 2
    return np.concatenate([edges[:1], middles, edges[-1:]]), rows[:-1].astype(float)


def _look(
    info: MetricInfo, expected: Expected, reference: Feature, window: Summary,
    monitor: EstimateMonitor, measured: float, threshold: float,
) -> Finding:  # fmt: skip
    rows = window.said.counts if window.said is not None else np.zeros(1, np.int64)
    n = int(rows[:-1].sum())
    if n < max(monitor.min_rows, 1):
        return Finding(None, n, f"{n} scores, wanted at least {monitor.min_rows}")
    score, then = _scores(reference, counts(reference))
    now = _scores(reference, rows)[1]
    loss = info.sign * float(expected(score, then, threshold) - expected(score, now, threshold))
    rng = np.random.default_rng(0)
    spread = math.hypot(
        *(
            float(expected(score, _drawn(rng, it), threshold).std()) for it in (then, now)
        )
    )  # fmt: skip
    p = 0.5 * math.erfc(loss / (spread * math.sqrt(2))) if spread else float(loss <= 0)
    value = measured - info.sign * loss
    evidence: dict[str, Any] = {"estimate": value, "measured": measured, "p": p, "effect": loss}
    detail = f"{info.name} is now about {value:.4f}, {measured:.4f} at training"
    return Finding(loss >= monitor.margin and p < SURE, n, detail, loss, evidence)


def _drawn(rng: np.random.Generator, rows: Numbers) -> Numbers:
    """(DRAWS, bins): rows drawn again, with replacement."""
    n = int(rows.sum())
    return rng.multinomial(n, rows / n, size=DRAWS).astype(float)
