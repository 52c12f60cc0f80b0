"""Pictures of what a model looks at: importance, attribution, dependence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from andon.adapters.plots.style import (
    BLUE,
    CYCLE,
    GREY,
    MARKS,
    SKY,
    Drawn,
    figure,
    number,
    percent,
    short,
    styled,
    tick,
)
from andon.explanation import Attribution, Dependence, Explanation, Feature, Importances

SHOWN = 15
PANELS = 12


def of(found: Explanation) -> list[Drawn]:
    """What there is of them."""
    drawn = [importance(found.importances)] if found.importances.features else []
    if found.attribution.values:
        drawn.append(attribution(found.attribution))
    return [*drawn, dependence(found.dependence)] if found.dependence else drawn


@styled
def importance(found: Importances) -> Drawn:
    """The most important columns, with their intervals."""
    shown: list[Feature] = list(found.features[:SHOWN])
    clear = [it for it in found.features if it.matters]
    looked = f"{len(found.features):,} columns{' looked at' if found.rest else ''}"
    title = _most(clear, looked)
    sampled = "" if found.rows == found.held_out else f" of {found.held_out:,}"
    note = f"{found.rows:,}{sampled} held-out rows; bars: 95 % intervals. Hollow: may be chance."
    made = figure(title, note, 1.75 + 0.34 * max(3, len(shown)))
    axes = made.subplots()
    places = np.arange(len(shown))[::-1]
    for place, it in zip(places, shown, strict=True):
        colour = BLUE if it.matters else GREY
        if it.low is not None and it.high is not None:
            axes.plot([it.low, it.high], [place, place], color=colour, lw=2.2, alpha=0.6)
        axes.plot([it.value], [place], "o", ms=8, color=colour, mew=2, mec=colour,
                  mfc=colour if it.matters else "white")  # fmt: skip
    axes.axvline(0, color=GREY, lw=1)
    axes.set_yticks(places, [short(it.name, 24) for it in shown])
    axes.set_ylim(-0.7, len(shown) - 0.3)
    way = "lost" if found.greater_is_better else "added"
    axes.set_xlabel(f"{found.metric} {way} when shuffled")
    axes.locator_params(axis="x", nbins=5)
    axes.grid(visible=False, axis="y")
    listed = "; ".join(f"{it.name} {_with_interval(it)}" for it in shown)
    more = len(found.features) - len(shown)
    alt = f"{found.metric} {way} when a column is shuffled, on {note.partition(';')[0]}: {listed}"
    alt += f"; and {more:,} more columns." if more > 0 else "."
    return Drawn("importance", title, alt, made)


def _most(clear: list[Feature], columns: str) -> str:
    if not clear:
        return "No single column matters beyond chance on these rows"
    names = [short(it.name, 24) for it in clear[:2]]
    which = f"{names[0]} matters most"
    if len(names) == 2 and clear[1].value > 0.5 * clear[0].value:
        which = f"{names[0]} and {names[1]} matter most"
    return f"{which}; {len(clear):,} of {columns} matter beyond chance"


def _with_interval(it: Feature) -> str:
    if it.low is None or it.high is None:
        return number(it.value)
    return f"{number(it.value)} ({number(it.low)} to {number(it.high)})"


@styled
def attribution(found: Attribution) -> Drawn:
    """Mean absolute SHAP values."""
    shown = found.values[:SHOWN]
    total = sum(value for _, value in found.values) or 1.0
    title = f"{short(shown[0][0], 24)} moves answers most: {percent(shown[0][1] / total)} of all"
    made = figure(title, f"{found.rows:,} held-out rows; mean size of the SHAP values.",
                  1.75 + 0.34 * max(3, len(shown)))  # fmt: skip
    axes = made.subplots()
    places = np.arange(len(shown))[::-1]
    axes.barh(places, [value for _, value in shown], color=SKY, ec=BLUE, height=0.65)
    axes.set_yticks(places, [short(name, 24) for name, _ in shown])
    axes.set_xlabel(f"mean |SHAP value|, {found.unit}")
    axes.locator_params(axis="x", nbins=5)
    axes.grid(visible=False, axis="y")
    listed = "; ".join(f"{name} {number(value)}" for name, value in shown)
    return Drawn("shap", title, f"Mean absolute SHAP values, {found.unit}: {listed}.", made)


@styled
def dependence(found: tuple[Dependence, ...]) -> Drawn:
    """Panels with one scale, so that columns can be compared."""
    shown = found[:PANELS]
    across = 1 if len(shown) == 1 else 2
    down = -(-len(shown) // across)
    several = len(shown[0].outputs) > 1
    title = _moves(shown[0])
    what = "Lines: classes." if several else "Line: mean; band: 8 of 10 rows; thin: single rows."
    height = 1.7 + 2.05 * down + 0.5 * several
    made = figure(title, f"{shown[0].rows:,} held-out rows. {what}", height)
    heights = [*([0.25] if several else []), *[1.0] * down]
    everything: Any = made.subplots(
        len(heights), across, sharey=True, squeeze=False, height_ratios=heights
    )
    grid = everything[len(heights) - down :]
    for axes, it in zip(grid.flat, shown, strict=False):
        _panel(axes, it)
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    if several:
        for axes in everything[0]:
            axes.axis("off")
        handles = grid.flat[0].get_legend_handles_labels()
        everything[0, 0].legend(*handles, loc="upper left", ncols=2, borderaxespad=0)
    what = "probability of a class" if several else f"{_score(shown[0])}: {shown[0].outputs[0]}"
    made.supylabel(short(f"mean {what}", 44), fontsize=11)
    return Drawn("dependence", title, " ".join(_said(it) for it in shown), made)


def _panel(axes: Any, it: Dependence) -> None:
    axes.set_title(short(it.name, 22), fontsize=11, fontweight="bold", loc="left")
    named = it.kind in ("category", "boolean")
    x = np.arange(len(it.grid)) if named else _places(it)
    for line in it.lines:
        axes.plot(x, line, color=GREY, lw=0.6, alpha=0.35, zorder=1)
    for at, output in enumerate(it.outputs):
        colour, mark = CYCLE[at % len(CYCLE)], MARKS[at % len(MARKS)]
        mean = np.array(it.mean[at])
        if len(it.outputs) == 1 and named:
            apart = [mean - np.array(it.low[at]), np.array(it.high[at]) - mean]
            axes.errorbar(x, mean, yerr=np.maximum(apart, 0), fmt="none", ecolor=SKY, elinewidth=6,
                          alpha=0.5)  # fmt: skip
        elif len(it.outputs) == 1:
            axes.fill_between(x, it.low[at], it.high[at], color=SKY, alpha=0.25, lw=0)
        axes.plot(x, mean, marker=mark, ms=6 if named else 3.5, color=colour,
                  ls="none" if named else "-", label=short(output, 18), zorder=3)  # fmt: skip
    if named:
        names = [_value(it, value) for value in it.grid]
        turned = {"rotation": 40, "ha": "right"} if max(map(len, names)) * len(names) > 18 else {}
        axes.set_xticks(x, [short(name, 12) for name in names], **turned)
        axes.set_xlim(-0.6, len(names) - 0.4)
    else:
        axes.plot(x, np.full(len(x), 0.02), "|", color=GREY, ms=7, transform=_bottom(axes))
        if len(it.grid) <= 3:
            axes.set_xticks(x, [_tick(it, value) for value in it.grid])
        elif it.kind != "date":
            axes.locator_params(axis="x", nbins=4)
        else:
            _few_dates(axes)


def _few_dates(axes: Any) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    places = AutoDateLocator(minticks=2, maxticks=4)
    axes.xaxis.set_major_locator(places)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(places))


def _bottom(axes: Any) -> Any:
    """x as the data has it, y in parts of the panel."""
    return axes.get_xaxis_transform()


def _places(it: Dependence) -> Any:
    if it.kind != "date":
        return np.array(it.grid, dtype=float)
    return np.array([_date(float(value or 0)) for value in it.grid])


def _date(days: float) -> datetime:
    """Days since 1970; without a zone, as Matplotlib has them."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=days)).replace(tzinfo=None)


def _value(it: Dependence, value: float | str | None) -> str:
    if value is None:
        return "null"
    if it.kind == "boolean":
        return {0.0: "false", 1.0: "true"}.get(float(value), str(value))
    if it.kind == "date":
        return _date(float(value)).date().isoformat()
    return value if isinstance(value, str) else number(value)


def _tick(it: Dependence, value: float | str | None) -> str:
    return tick(value) if isinstance(value, float) and it.kind != "date" else _value(it, value)


def _moves(it: Dependence) -> str:
    """What the first column does, in words."""
    at = int(np.argmax([max(mean) - min(mean) for mean in it.mean]))
    mean, name, what = np.array(it.mean[at]), short(it.name, 22), _score(it)
    if len(it.outputs) > 1:
        what = f"probability of {short(it.outputs[at], 14)}"
    low, high = _level(it, float(mean.min())), _level(it, float(mean.max()))
    span = float(mean.max() - mean.min())
    if span == 0:
        return f"The {what} does not move with {name} alone"
    if it.kind in ("category", "boolean"):
        top, bottom = (short(_value(it, it.grid[i]), 14) for i in (mean.argmax(), mean.argmin()))
        return f"The {what} is {high} for {name} {top}, {low} for {bottom}"
    steps = np.diff(mean)
    if (steps >= -0.05 * span).all():
        return f"The {what} rises with {name}, from {low} to {high}"
    if (steps <= 0.05 * span).all():
        return f"The {what} falls with {name}, from {high} to {low}"
    return f"The {what} moves between {low} and {high} with {name}"


def _level(it: Dependence, value: float) -> str:
    return number(value, 2) if it.task == "regression" else f"{value:.2f}"


def _score(it: Dependence) -> str:
    """What is on the vertical axis."""
    return "prediction" if it.task == "regression" else "score"


def _said(it: Dependence) -> str:
    at = int(np.argmax([max(mean) - min(mean) for mean in it.mean]))
    ends = (
        [0, len(it.grid) // 2, len(it.grid) - 1] if it.kind != "category" else range(len(it.grid))
    )
    pairs = ", ".join(
        f"{_value(it, it.grid[i])}: {number(it.mean[at][i])}" for i in dict.fromkeys(ends)
    )
    return f"{it.name} ({it.outputs[at]}): {pairs}."
