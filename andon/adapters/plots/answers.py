"""Pictures of what a model answers: its scores, its confusions, its residuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from andon.adapters.plots import binary
from andon.adapters.plots.style import (
    BLUE,
    GREY,
    ORANGE,
    SKY,
    Drawn,
    Scored,
    figure,
    number,
    percent,
    short,
    styled,
)
from andon.spec import ModelSpec
from andon.training import Array

FEW_CLASSES = 12  # fit into a matrix
CONFUSIONS = 15
MANY_POINTS = 1_500


@dataclass(frozen=True)
class Part:
    """Some values, and how they are drawn; the hatch tells them apart without colour."""

    values: Array
    label: str
    colour: str
    hatch: str


def _histogram(axes: Any, it: Part, edges: Any, label: str, per_cent: bool = False) -> None:
    if len(it.values):
        weights = np.full(len(it.values), 100 / len(it.values) if per_cent else 1.0)
        look = {"alpha": 0.45, "color": it.colour, "ec": it.colour, "hatch": it.hatch, "lw": 1.4}
        axes.hist(
            it.values, bins=edges, weights=weights, histtype="stepfilled", label=label, **look
        )


def of(scored: Scored, spec: ModelSpec) -> list[Drawn]:
    """All pictures for a task; none for no rows."""
    if len(scored.y) == 0:
        return []
    if spec.task == "regression":
        return [residuals(scored), values(scored)]
    if spec.task == "binary":
        return [*binary.of(scored), confusion(scored), scores(scored)]
    return [confusion(scored), confidence(scored)]


@styled
def scores(scored: Scored) -> Drawn:
    """Binary: how scores are spread, by the truth."""
    yes, name = scored.is_positive, [short(it, 14) for it in scored.classes]
    positive, negative = name[scored.positive], name[1 - scored.positive]
    parts = (
        Part(scored.scores[yes], positive, ORANGE, "//"),
        Part(scored.scores[~yes], negative, BLUE, ""),
    )
    seen = [it for it in parts if len(it.values)]
    said = [f"{it.label} rows score {number(float(np.median(it.values)), 2)}" for it in seen]
    title = f"In the middle, {' and '.join(said)}"
    made = figure(title, f"{scored.rows}. Middle: the median.", 3.9)
    axes = made.subplots()
    for it in seen:
        _histogram(axes, it, np.linspace(0, 1, 31), f"{it.label} ({len(it.values):,} rows)", True)
        axes.axvline(float(np.median(it.values)), color=it.colour, lw=1.6, ls="--")
    what = f"{short(scored.target, 16)} = {positive}"
    axes.set(xlim=(0, 1), xlabel=f"score: probability of {what}", ylabel="per cent of these rows")
    axes.legend()
    alt = "; ".join(f"{it.label}: {binary.spread(it.values)}" for it in seen)
    alt = f"Scores on {scored.rows}, quantiles 5, 25, 50, 75 and 95 % by truth: {alt}."
    return Drawn("scores", title, alt, made)


@styled
def confidence(scored: Scored) -> Drawn:
    """Multiclass: how sure the model is where it is right, and where it is wrong."""
    right = np.asarray(scored.labels == scored.y, dtype=bool)
    parts = (
        Part(scored.scores[right], "right", BLUE, ""),
        Part(scored.scores[~right], "wrong", ORANGE, "//"),
    )
    sure, hits = float(scored.scores.mean()), float(right.mean())
    word = "As sure as it is right" if abs(sure - hits) < 0.02 else (
        "Surer than it is right" if sure > hits else "Less sure than it is right"
    )  # fmt: skip
    title = f"{word}: {percent(sure)} sure on average, {percent(hits)} right"
    made = figure(title, f"{scored.rows}, {len(scored.classes):,} classes.", 3.9)
    axes = made.subplots()
    for it in parts:
        _histogram(axes, it, np.linspace(0, 1, 31), f"{it.label} ({len(it.values):,} rows)")
    axes.set(xlim=(0, 1), xlabel="highest probability of a row", ylabel="rows")
    axes.legend(loc="upper left")
    alt = (
        f"Highest probability on {scored.rows}: mean {sure:.3f}; share of right labels {hits:.3f}."
    )
    return Drawn("scores", title, alt, made)


@styled
def confusion(scored: Scored) -> Drawn:
    """Truth against label: a matrix of few classes, the commonest confusions of many."""
    at = {it: i for i, it in enumerate(scored.classes)}
    table = np.zeros((len(at), len(at)), dtype=int)
    unknown = 0
    for truth, label in zip(scored.y.tolist(), np.asarray(scored.labels).tolist(), strict=True):
        if truth in at and label in at:
            table[at[truth], at[label]] += 1
        else:  # a class that was never learned
            unknown += 1
    right = float(np.trace(table)) / max(1, len(scored.y))
    worst = _confusions(table, scored.classes)
    title = f"{percent(right)} right"
    if worst:
        truth, label, n, share = worst[0]
        which = f"{short(truth, 16)} called {short(label, 16)}"
        title += f"; most often {which} ({n:,}, {percent(share)} of them)"
    note = scored.rows + (f", {unknown:,} of a class never learned" if unknown else "")
    listed = "; ".join(f"{a} called {b}: {n:,}" for a, b, n, _ in worst[:5]) or "none"
    alt = f"Confusions on {note}: {percent(right)} right. Most frequent: {listed}."
    matrix = len(at) <= FEW_CLASSES
    made = _matrix(table, scored, title, note) if matrix else _bars(worst, len(at), title, note)
    return Drawn("confusion", title, alt, made)


def _confusions(table: Any, classes: list[Any]) -> list[tuple[str, str, int, float]]:
    """(truth, label, rows, share of the truth's rows), the most frequent first."""
    off = [
        (-table[i, j], i, j) for i, j in zip(*np.nonzero(table), strict=True) if i != j
    ]  # fmt: skip
    return [
        (str(classes[i]), str(classes[j]), int(-n), float(-n / table[i].sum()))
        for n, i, j in sorted(off)
    ]


def _matrix(table: Any, scored: Scored, title: str, note: str) -> Any:
    """Shares of each row, with the counts in the cells."""
    k = len(table)
    made = figure(title, f"{note}. Colour: share of the true class.", 3.6 if k == 2 else 5.2)
    axes: Any = made.subplots()
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto" if k == 2 else "equal")
    size = 14 if k <= 3 else 10 if k <= 6 else 7
    for (i, j), n in np.ndenumerate(table):
        if n:
            text = f"{n:,}\n{percent(shares[i, j])}" if k <= 3 else f"{n:,}"
            axes.text(j, i, text, ha="center", va="center", fontsize=size,
                      color="white" if shares[i, j] > 0.55 else "black")  # fmt: skip
    names = [short(it, 12) for it in scored.classes]
    axes.set_xticks(
        range(k), names, rotation=0 if k <= 3 else 45, ha="center" if k <= 3 else "right"
    )
    axes.set_yticks(range(k), names)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.set(xlabel="label", ylabel=f"truth: {short(scored.target, 20)}")
    return made


def _bars(worst: list[tuple[str, str, int, float]], k: int, title: str, note: str) -> Any:
    from matplotlib.ticker import MaxNLocator

    shown = worst[:CONFUSIONS]
    made = figure(title, f"{note}, {k:,} classes. The most frequent confusions.",
                  1.8 + 0.32 * max(3, len(shown)))  # fmt: skip
    axes = made.subplots()
    places = np.arange(len(shown))[::-1]
    axes.barh(places, [n for _, _, n, _ in shown], color=SKY, ec=BLUE)
    for place, (_, _, n, share) in zip(places, shown, strict=True):
        axes.annotate(f" {percent(share)}", (n, place), va="center", fontsize=9, color=GREY)
    axes.set_yticks(places, [f"{short(a, 14)} → {short(b, 14)}" for a, b, _, _ in shown])
    axes.set(xlabel="rows (per cent of the true class)", ylabel="truth → label")
    axes.margins(x=0.14)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    return made


@styled
def residuals(scored: Scored) -> Drawn:
    """Regression: truth by prediction, and how far they are apart."""
    apart = scored.y.astype(float) - scored.scores
    half = float(np.median(np.abs(apart)))
    bias, name = float(apart.mean()), short(scored.target, 24)
    title = f"Half of the predictions are within {number(half)} of the truth"
    darker = "Darker: more rows. " if len(apart) > MANY_POINTS else ""
    made = figure(title, f"{scored.rows}. {darker}In the unit of {name}.", 6.6)
    upper, lower = made.subplots(2, 1, height_ratios=[2.3, 1])
    ends = [min(scored.y.min(), scored.scores.min()), max(scored.y.max(), scored.scores.max())]
    upper.plot(ends, ends, color=GREY, lw=1, ls=":", label="prediction = truth", zorder=3)
    if len(apart) > MANY_POINTS:
        upper.hexbin(scored.scores, scored.y.astype(float), gridsize=32, cmap="Blues",
                             mincnt=1, bins="log", linewidths=0)  # fmt: skip
    else:
        upper.plot(scored.scores, scored.y, "o", ms=4, color=BLUE, alpha=0.45, mew=0)
    upper.set(xlabel=f"predicted {name}", ylabel=f"true {name}")
    upper.legend(loc="upper left")
    middle = apart[np.abs(apart) <= np.quantile(np.abs(apart), 0.995)]
    lower.hist(middle, bins=min(40, max(8, len(apart) // 8)), color=SKY, ec="white", lw=0.5)
    lower.axvline(0, color=GREY, lw=1, ls=":")
    lower.axvline(bias, color=ORANGE, lw=1.6, ls="--", label=f"mean {number(bias)}")
    lower.set(xlabel=f"true minus predicted {name}", ylabel="rows")
    lower.legend()
    alt = (
        f"Predictions and truth on {scored.rows}: median distance {number(half)}, mean of truth "
        f"minus prediction {number(bias)}, its quantiles 5, 25, 50, 75 and 95 %: "
        f"{binary.spread(apart)}."
    )
    return Drawn("residuals", title, alt, made)


@styled
def values(scored: Scored) -> Drawn:
    """Regression: how predictions are spread, beside the truth."""
    truth, name = scored.y.astype(float), short(scored.target, 24)
    ratio = float(scored.scores.std() / truth.std()) if truth.std() > 0 else float("nan")
    title = (
        f"Predictions spread {percent(ratio)} as wide as the truth"
        if np.isfinite(ratio)
        else "The truth is one value only"
    )
    made = figure(title, f"{scored.rows}. Spread: the standard deviation.", 3.9)
    axes = made.subplots()
    edges: Any = np.histogram_bin_edges(np.concatenate([truth, scored.scores]), bins=30)
    for it, label, colour, hatch in (
        (truth, "truth", ORANGE, "//"),
        (scored.scores, "predicted", BLUE, ""),
    ):
        axes.hist(it, bins=edges, histtype="stepfilled", alpha=0.45, color=colour, hatch=hatch,
                  ec=colour, lw=1.4, label=label)  # fmt: skip
    axes.set(xlabel=name, ylabel="rows")
    axes.legend()
    alt = (
        f"Values on {scored.rows}, quantiles 5, 25, 50, 75 and 95 %: truth {binary.spread(truth)}; "
        f"predicted {binary.spread(scored.scores)}."
    )
    return Drawn("scores", title, alt, made)
