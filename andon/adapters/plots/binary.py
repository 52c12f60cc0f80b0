"""Pictures of a binary model: how it ranks, and whether its scores are probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from andon.adapters.plots.style import (
    BLUE,
    GREY,
    ORANGE,
    PALE,
    Drawn,
    Scored,
    figure,
    number,
    percent,
    short,
    styled,
)
from andon.metrics import METRICS

BINS = 10
Z = 1.959964


def of(scored: Scored) -> list[Drawn]:
    """All of them; none of what one class alone does not show."""
    yes = scored.is_positive
    both = yes.any() and not yes.all()
    return [*([roc(scored), precision_recall(scored)] if both else []), calibration(scored)]


@styled
def roc(scored: Scored) -> Drawn:
    """The ROC curve, with the point of the labels."""
    from sklearn.metrics import roc_curve

    yes, area = scored.is_positive, METRICS["roc_auc"].of
    value = area(scored.is_positive, scored.scores)
    title = f"Ranks {percent(value)} of pairs rightly (ROC AUC {value:.3f})"
    made = figure(title, f"{_positives(scored)}. A pair is a positive and a negative row.", 5.0)
    axes = made.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":", label="by chance (0.500)")
    if scored.other is not None:
        theirs = area(yes, scored.other)
        fpr, tpr, _ = roc_curve(yes, scored.other)
        axes.plot(fpr, tpr, color=ORANGE, ls="--", lw=1.6, label=_named(scored, theirs))
    fpr, tpr, _ = roc_curve(yes, scored.scores)
    axes.plot(fpr, tpr, color=BLUE, label=f"this model ({value:.3f})")
    alt = f"ROC curve on {scored.rows}: area {value:.3f}"
    if scored.labels is not None:
        said = scored.labels == scored.classes[scored.positive]
        x, y = float(said[~yes].mean()), float(said[yes].mean())
        axes.plot([x], [y], "o", color=BLUE, mec="white", ms=9, label="its labels")
        alt += f"; its labels find {percent(y)} of the positives and {percent(x)} of the negatives"
    if scored.other is not None:
        alt += f"; {scored.other_name} has {theirs:.3f}"
    _square(axes, "false positive rate", "true positive rate")
    axes.legend(loc="lower right")
    return Drawn("roc", title, f"{alt}.", made)


@styled
def precision_recall(scored: Scored) -> Drawn:
    """Precision by recall."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    yes = scored.is_positive
    value, base = float(average_precision_score(yes, scored.scores)), float(yes.mean())
    title = f"Average precision {value:.3f}, where {percent(base)} of rows are positive"
    made = figure(title, f"{_positives(scored)}.", 5.0)
    axes = made.subplots()
    axes.axhline(base, color=GREY, lw=1, ls=":", label=f"by chance ({base:.3f})")
    alt = f"Precision and recall on {scored.rows}: average precision {value:.3f}, chance {base:.3f}"
    if scored.other is not None:
        theirs = float(average_precision_score(yes, scored.other))
        precision, recall, _ = precision_recall_curve(yes, scored.other)
        axes.step(recall, precision, where="post", color=ORANGE, ls="--", lw=1.6,
                  label=_named(scored, theirs))  # fmt: skip
        alt += f"; {scored.other_name} has {theirs:.3f}"
    precision, recall, _ = precision_recall_curve(yes, scored.scores)
    axes.step(recall, precision, where="post", color=BLUE, label=f"this model ({value:.3f})")
    _square(axes, "recall: share of the positives found", "precision: share of finds that hold")
    axes.legend(loc="lower left" if base < 0.5 and value > 0.6 else "best")
    return Drawn("precision-recall", title, f"{alt}.", made)


@styled
def calibration(scored: Scored) -> Drawn:
    """Mean score against the share that is positive, in bins of equally many rows."""
    yes, scores = scored.is_positive.astype(float), scored.scores
    parts = [it for it in np.array_split(np.argsort(scores, kind="stable"), BINS) if len(it)]
    mean = np.array([scores[it].mean() for it in parts])
    share, n = np.array([yes[it].mean() for it in parts]), np.array([len(it) for it in parts])
    low, high = wilson(share, n)
    off = (mean < low) | (mean > high)
    overall = f"{percent(scores.mean())} predicted, {percent(yes.mean())} came true"
    title = f"{_verdict(off, mean - share, len(parts))}; over all rows {overall}"
    made = figure(title, f"{_positives(scored)}. Bars: 95 % intervals of the share.", 5.6)
    upper, lower = made.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    upper.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":", label="score = share")
    upper.errorbar(mean, share, yerr=[share - low, high - share], fmt="o-", color=BLUE, lw=1.4,
                   ms=6, capsize=3, label="this model")  # fmt: skip
    if off.any():
        upper.plot(mean[off], share[off], "o", mfc="white", mec=BLUE, mew=2, ms=8, label="off")
    upper.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="share that is positive")
    upper.legend(loc="upper left")
    lower.hist(scores, bins=np.linspace(0, 1, 41), color=BLUE)
    lower.set(xlabel=f"score: probability of {_positive(scored)}", ylabel="rows")
    lower.locator_params(axis="y", nbins=3)
    pairs = ", ".join(f"{a:.2f}: {b:.2f}" for a, b in zip(mean, share, strict=True))
    alt = f"Calibration on {scored.rows}; mean score and share that is positive by bin: {pairs}"
    return Drawn("calibration", title, f"{alt}; {overall}.", made)


def _verdict(off: Any, gap: Any, bins: int) -> str:
    wrong = int(off.sum())
    if wrong <= max(1, bins // 10):  # by chance alone, 1 in 20 bins is off
        return f"Scores hold in {bins - wrong} of {bins} bins"
    high, low = int((gap[off] > 0).sum()), int((gap[off] < 0).sum())
    which = "too high" if not low else "too low" if not high else "too high or too low"
    return f"Scores are {which} in {wrong} of {bins} bins"


def wilson(share: Any, n: Any) -> tuple[Any, Any]:
    """95 % score interval of a share (Wilson 1927)."""
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return np.minimum(middle - half, share), np.maximum(middle + half, share)


def _square(axes: Any, x: str, y: str) -> None:
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), xlabel=x, ylabel=y)
    axes.grid(color=PALE)


def _named(scored: Scored, value: float) -> str:
    return f"{short(scored.other_name, 18)} ({value:.3f})"


def _positive(scored: Scored) -> str:
    return f"{short(scored.target, 16)} = {short(scored.classes[scored.positive], 12)}"


def _positives(scored: Scored) -> str:
    yes = int(scored.is_positive.sum())
    return f"{scored.rows}, {yes:,} with {_positive(scored)}"


def spread(values: Any) -> str:
    """For alternative text."""
    return ", ".join(number(it) for it in np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95)))
