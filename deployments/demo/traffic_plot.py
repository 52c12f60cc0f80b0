"""The plot of the traffic: it grows and shrinks with the page, and only its areas are SVG."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from deployments.demo.markup import DASH, Html, known, number, plural, tag
from deployments.demo.plots import Colours, legend, version_label
from deployments.demo.story import Sent, Story

BINS = 120
FAILED = ""  # the layer on top
BADGE = 7.0  # percent of a phone's plot that a numbered mark takes
TICKS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)


class TrafficPlot:
    """Requests a second by version, stacked; failures on top, in red; marks; drifted spans."""

    def __init__(self, story: Story, colours: Colours) -> None:
        self.story, self.colours = story, colours
        self.sent = sorted((it for it in story.sent if known(it.at)), key=lambda it: it.at)
        if not self.sent:
            return
        first, last = self.sent[0].at, self.sent[-1].at
        reach = max(last - first, 1.0)
        near = [at for at, _ in story.marks if first - reach <= at <= last + reach]
        self.start = min([first, *near])
        self.began = story.started if known(story.started) else self.start
        self.span = max([last, *near]) - self.start or 1.0
        self.bins = min(BINS, max(12, int(self.span)))
        self.answered = Counter(_layer(it) for it in self.sent)
        self.layers = self._count()
        totals = [sum(column) for column in zip(*self.layers.values(), strict=True)]
        self.step = _nice(1.1 * max(totals) / self.width / 5)
        self.top = self.step * math.ceil(1.1 * max(totals) / self.width / self.step)

    @property
    def width(self) -> float:
        """Seconds in a bin."""
        return self.span / self.bins

    def _bins(self, at: float) -> tuple[tuple[int, float], tuple[int, float]]:
        """The two bins whose middles are nearest, and the request's share in each.

        Whole requests would draw teeth: a bin of a steady rate holds one more than its neighbour.
        """
        place = (at - self.start) / self.width - 0.5
        left, last = math.floor(place), self.bins - 1
        share = place - left
        return (max(0, left), 1 - share), (min(last, left + 1), share)

    def _count(self) -> dict[str, list[float]]:
        order = [it for it in self.colours.labels if it in self.answered]
        order += sorted(set(self.answered) - {*order, FAILED})
        layers = {it: [0.0] * self.bins for it in [*order, FAILED]}
        for it in self.sent:
            for place, share in self._bins(it.at):
                layers[_layer(it)][min(place, self.bins - 1)] += share
        return layers

    def _percent(self, at: float) -> float:
        return 100 * (at - self.start) / self.span

    def drifted(self) -> list[tuple[float, float]]:
        """Spans of drifted requests, in percent of the plot."""
        spans: list[tuple[float, float]] = []
        drifting = False
        for it, following in zip(self.sent, [*self.sent[1:], None], strict=True):
            if it.drifted:
                begin = spans.pop()[0] if drifting else self._percent(it.at)
                spans.append((begin, self._percent(following.at if following else it.at)))
            drifting = it.drifted
        return spans

    def draw(self) -> Html:
        """The plot with its legend and the list of its marks; a sentence if nothing was sent."""
        if not self.sent:
            return tag("p", "No request was sent, so there is no traffic to show.", class_="none")
        marks, lanes = self._marks()
        plot = tag(
            "div",
            *self._grid(),
            *self._shades(),
            self._areas(),
            *self._failures(),
            *marks,
            class_="plot",
            style=f"margin-top:calc({lanes} * var(--lane) + .4rem)",
        )
        says = ", ".join(f"{self.answered[it]} {it or 'failed'}" for it in self.layers)
        return tag(
            "figure",
            tag("p", "requests per second", class_="axis-name"),
            tag("div", plot, role="img", aria_label=f"Requests over time: {says}", class_="frame"),
            self._legend(),
            self._mark_list(),
            class_="traffic",
        )

    def _grid(self) -> list[Html]:
        lines = []
        for i in range(round(self.top / self.step) + 1):
            value = i * self.step
            style = f"bottom:{100 * value / self.top:.2f}%"
            lines.append(tag("span", tag("em", number(value)), class_="y", style=style))
        since = self.start - self.began
        step = next((it for it in TICKS if self.span / it <= 7), 86_400)
        tick = math.ceil(since / step) * step
        while tick <= since + self.span:
            style = f"left:{100 * (tick - since) / self.span:.2f}%"
            lines.append(tag("span", tag("em", elapsed(tick)), class_="x", style=style))
            tick += step
        return lines

    def _shades(self) -> list[Html]:
        return [
            tag("span", class_="drifted", style=f"left:{begin:.2f}%;width:{end - begin:.2f}%")
            for begin, end in self.drifted()
        ]

    def _areas(self) -> Html:
        base = [0.0] * self.bins
        paths = []
        for label, counts in self.layers.items():
            top = [low + n / self.width / self.top for low, n in zip(base, counts, strict=True)]
            outline = [*_steps(top), *reversed(_steps(base))]
            points = " ".join(
                f"{1000 * x / self.bins:.1f},{1000 - 1000 * y:.1f}" for x, y in outline
            )
            paths.append(
                tag(
                    "polygon",
                    points=points,
                    class_="failed" if label == FAILED else self.colours.of(label),
                )
            )
            base = top
        return tag("svg", *paths, viewBox="0 0 1000 1000", preserveAspectRatio="none")

    def _failures(self) -> list[Html]:
        """One sign a bin under the axis: one failure in thousands has to be seen as well."""
        found = Counter(
            min(self.bins - 1, int((it.at - self.start) / self.width))
            for it in self.sent
            if it.failed
        )
        return [
            tag(
                "span",
                "▲",
                class_="failure",
                title=plural(n, "failed request"),
                style=f"left:{100 * (i + 0.5) / self.bins:.2f}%",
            )
            for i, n in sorted(found.items())
        ]

    def _marks(self) -> tuple[list[Html], int]:
        """Numbered marks, each in the first lane where it covers no other."""
        ends: list[float] = []
        drawn = []
        for i, (at, what) in enumerate(_in_order(self.story.marks), start=1):
            x = self._percent(at)
            if not 0 <= x <= 100:
                continue
            lane = next((k for k, end in enumerate(ends) if x - end >= BADGE), len(ends))
            ends[lane : lane + 1] = [x]
            style = f"left:{x:.2f}%;top:calc({lane} * var(--lane) - var(--lanes))"
            drawn.append(tag("span", tag("b", i), class_="mark", title=what, style=style))
        height = f"--lanes:calc({len(ends)} * var(--lane) + .2rem)"
        return [tag("div", *drawn, class_="marks", style=height)], len(ends)

    def _mark_list(self) -> Html | None:
        items = [
            tag(
                "li",
                tag("b", i, class_="badge"),
                tag("span", what),
                tag("time", elapsed(at - self.began)),
            )
            for i, (at, what) in enumerate(_in_order(self.story.marks), start=1)
        ]
        return tag("ol", *items, class_="mark-list") if items else None

    def _legend(self) -> Html:
        entries = [
            (self.colours.of(label), f"{label}: {plural(self.answered[label], 'request')}")
            for label in self.layers
            if label != FAILED
        ]
        entries.append(("failed", f"failed: {self.answered[FAILED]:,}"))
        if self.drifted():
            entries.append(("drifted", "drifted rows"))
        return legend(entries)


def _layer(it: Sent) -> str:
    return FAILED if it.failed else version_label(it.version)


def elapsed(since: float) -> str:
    """Time since the demo began: 1:05."""
    if not known(since):
        return DASH
    minutes, rest = divmod(round(abs(since)), 60)
    return f"{'-' if since < -0.5 else ''}{minutes}:{rest:02d}"


def slowest(sent: Sequence[Sent], share: float) -> float:
    """The time within which that share of the requests was answered (nearest rank)."""
    times = sorted(it.seconds for it in sent if known(it.seconds))
    return times[max(0, math.ceil(share * len(times)) - 1)] if times else math.nan


def _in_order(marks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    return sorted((it for it in marks if known(it[0])), key=lambda it: it[0])


def _steps(heights: Sequence[float]) -> list[tuple[float, float]]:
    return [point for i, y in enumerate(heights) for point in ((i, y), (i + 1, y))]


def _nice(value: float) -> float:
    """1, 2 or 5 times a power of ten, not under `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(it * power for it in (1, 2, 5, 10) if it * power >= value * 0.999)
