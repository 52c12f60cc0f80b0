"""Bars, legends and colours: plain elements, so that text stays text at every width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deployments.demo.markup import Html, breakable, known, number, tag
from deployments.demo.story import Story

PALETTE = 6  # classes c0 … c5 of page.html


def version_label(version: str) -> str:
    """As people say it: v2."""
    return f"v{version}" if version.isdigit() else version or "no version"


class Colours:
    """One colour a version, the same wherever it appears."""

    def __init__(self, story: Story) -> None:
        found = {version_label(it.version) for it in story.sent}
        found |= {version_label(release.version) for release, _ in story.releases}
        found |= {version_label(label) for label, _, _ in story.metrics}
        found.discard(version_label(""))
        self.labels = sorted(found, key=lambda it: (len(it), it))

    def of(self, label: str) -> str:
        """The CSS class of a version's colour."""
        return f"c{self.labels.index(label) % PALETTE}" if label in self.labels else "other"


@dataclass(frozen=True)
class Bar:
    """One value, its colour's class, and the text beside it."""

    value: float | None
    colour: str
    text: str
    bad: bool = False


@dataclass(frozen=True)
class BarRow:
    """Bars that share a label, and the limit they are held against."""

    label: str
    bars: Sequence[Bar]
    limit: float | None = None


def bars(
    rows: Sequence[BarRow], *, reach: float = 0.0, limit_name: str = "", roomy: bool = False
) -> Html:
    """Horizontal bars from zero, on one scale (at least to `reach`); the limit is a dashed line.

    `roomy`: the labels are sentences, and get a line of their own on a phone.
    """
    values = [it.value for row in rows for it in row.bars if it.value is not None]
    limits = [row.limit for row in rows if known(row.limit)]
    drawn = [it for it in values if known(it)]
    low = min([0.0, *drawn])
    high = max([0.0, reach, *drawn, *(1.25 * it for it in limits)])
    width = (high - low) or 1.0

    def percent(value: float) -> float:
        return 100 * (value - low) / width

    lines = [_bar_row(row, percent) for row in rows]
    if limits and limit_name:
        at = percent(limits[0])
        side = "after" if at < 50 else "before"
        name = tag(
            "span",
            f"{limit_name} {number(limits[0])}",
            class_=f"limit-name {side}",
            style=f"left:{at:.2f}%",
        )
        lines.insert(0, tag("div", tag("span"), tag("span", name, class_="track"), class_="row"))
    return tag("div", *lines, class_="bars roomy" if roomy else "bars")


def _bar_row(row: BarRow, percent: Callable[[float], float]) -> Html:
    drawn, texts = [], []
    for it in row.bars:
        shape = Html("")
        if known(it.value):
            left, right = sorted((percent(0.0), percent(it.value)))
            style = f"left:{left:.2f}%;width:max({right - left:.2f}%,1px)"
            shape = tag("i", class_=f"bar {it.colour}", style=style)
        drawn.append(tag("span", shape, class_="lane"))
        texts.append(tag("span", it.text, class_="bad" if it.bad else None))
    limit = None
    if known(row.limit):
        limit = tag("b", class_="limit", style=f"left:{percent(row.limit):.2f}%")
    return tag(
        "div",
        tag("span", breakable(row.label), class_="label"),
        tag("span", *drawn, limit, class_="track"),
        tag("span", *texts, class_="values"),
        class_="row",
    )


def legend(entries: Sequence[tuple[str, str]]) -> Html:
    """Swatches by CSS class, each with its text."""
    items = [tag("li", tag("i", class_=f"swatch {css}"), text) for css, text in entries]
    return tag("ul", *items, class_="legend")
