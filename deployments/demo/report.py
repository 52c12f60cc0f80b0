"""The demo's summary: one page that needs nothing but itself, for a phone and for a desktop."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

from deployments.demo import comparisons, records, words
from deployments.demo.markup import DASH, Html, clock, plural, seconds, tag
from deployments.demo.plots import Bar, BarRow, Colours, bars, version_label
from deployments.demo.story import Story
from deployments.demo.traffic_plot import TrafficPlot, slowest

LINKED = ("http", "https", "file")


def write(story: Story, path: Path) -> None:
    """Write the summary; its folder is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(story), encoding="utf-8")


def render(story: Story) -> str:
    """The page. What the story lacks is said to be missing, and is no error."""
    colours = Colours(story)
    body = [
        _headline(story),
        _section(
            "What happened", tag("ol", *words.narrative(story), class_="narrative"), _figures(story)
        ),
        _section("What had to be seen", _checks(story)),
        _section(
            "Traffic by version",
            TrafficPlot(story, colours).draw(),
            _answers(story, colours),
            css="wide",
        ),
        _section("Drift, before and after", *comparisons.drift(story)),
        tag(
            "div",
            _section(
                f"Metric, before and after{': ' if story.metric else ''}{story.metric}",
                *comparisons.metric(story, colours),
            ),
            _section("Stages", _stages(story)),
            _section("Incident", records.incident(story.incident, story.started)),
            class_="column",
        ),
        _section("Releases", records.releases(story, colours), css="wide"),
        _section("Verdicts", _verdict_intro(story), records.verdicts(story), css="wide"),
        _section("Look for yourself", _links(story), css="wide"),
    ]
    title = tag("title", f"{story.model}: {_verdict_of(story)}")
    template = (files("deployments.demo") / "page.html").read_text(encoding="utf-8")
    return Template(template).substitute(title=title, body="\n".join(body))


def _section(title: str, *content: object, css: str | None = None) -> Html:
    return tag("section", tag("h2", title), *content, class_=css)


def _verdict_of(story: Story) -> str:
    missed = [it for it in story.checks if not it.seen]
    if not story.checks:
        return "nothing was checked"
    if missed:
        return f"{len(missed)} of {plural(len(story.checks), 'check')} not seen"
    return f"all {plural(len(story.checks), 'check')} seen"


def _headline(story: Story) -> Html:
    missed = [it.what for it in story.checks if not it.seen]
    good = bool(story.checks) and not missed
    said = _verdict_of(story)
    when = clock(story.started, "%Y-%m-%d %H:%M UTC")
    return tag(
        "header",
        tag("span", "✓" if good else "✗", class_=f"lamp {'pass' if good else 'fail'}"),
        tag(
            "div",
            tag("p", "andon demo · ", tag("strong", story.model), f" · {when}", class_="soft"),
            tag("h1", said[:1].upper() + said[1:]),
            tag("p", "Not seen: " + "; ".join(f"“{it}”" for it in missed), class_="missed")
            if missed
            else None,
        ),
    )


def _figures(story: Story) -> Html:
    champions = " → ".join(words.champions(story))
    incident = story.incident
    healed = DASH
    if incident is not None and incident.closed_at is not None:
        healed = seconds(incident.closed_at - incident.opened_at)
    failed = sum(1 for it in story.sent if it.failed)
    figures = [
        ("it all took", seconds(story.ended - story.started) if story.ended else "not ended", ""),
        ("champion", champions or "none", ""),
        ("requests", f"{len(story.sent):,}", ""),
        ("failed requests", f"{failed:,}", "bad" if failed else ""),
        ("alert to all clear", healed, ""),
    ]
    cells = [
        Html(tag("div", tag("dt", name), tag("dd", value, class_=css or None)))
        for name, value, css in figures
    ]
    return tag("dl", *cells, class_="figures")


def _checks(story: Story) -> Html:
    if not story.checks:
        return tag("p", "The demo ended before anything could be checked.", class_="none")
    items = [
        tag(
            "li",
            records.chip("pass" if it.seen else "fail", "seen" if it.seen else "not seen"),
            tag("span", tag("strong", it.what), tag("span", it.detail, class_="soft")),
        )
        for it in story.checks
    ]
    return tag("ul", *items, class_="checks")


def _answers(story: Story, colours: Colours) -> Html | None:
    """Who answered how much, how fast; and why requests failed."""
    if not story.sent:
        return None
    by_version: dict[str, list[int]] = {}
    for i, it in enumerate(story.sent):
        by_version.setdefault(version_label(it.version), []).append(i)
    heads = ("answered by", "requests", "rows", "failed", "median", "95 % within")
    lines = []
    for label in sorted(by_version, key=lambda it: (len(it), it)):
        mine = [story.sent[i] for i in by_version[label]]
        cells = (
            f"{len(mine):,}",
            f"{sum(it.rows for it in mine):,}",
            f"{sum(1 for it in mine if it.failed):,}",
            seconds(slowest(mine, 0.5)),
            seconds(slowest(mine, 0.95)),
        )
        name = tag("th", tag("i", class_=f"swatch {colours.of(label)}"), label, scope="row")
        told = zip(heads[1:], cells, strict=True)
        lines.append(tag("tr", name, *(tag("td", it, data_name=head) for head, it in told)))
    head = tag("thead", tag("tr", *(tag("th", it, scope="col") for it in heads)))
    table = tag("table", head, tag("tbody", *lines), class_="answers")
    reasons = Counter(it.failed for it in story.sent if it.failed).most_common(5)
    why = [tag("li", f"{n:,} × {reason}") for reason, n in reasons]  # noqa: RUF001
    failures = tag("div", tag("p", "Why requests failed:"), tag("ul", *why), class_="failures")
    return tag("div", table, failures if why else None)


def _stages(story: Story) -> Html:
    if not story.stages:
        return tag("p", "No stage was reached.", class_="none")
    lines = [
        BarRow(f"{i}. {what}", [Bar(took, "stage", seconds(took))])
        for i, (what, took) in enumerate(story.stages, start=1)
    ]
    return bars(lines, roomy=True)


def _verdict_intro(story: Story) -> Html:
    says = "A check measures one thing. A fail stops the line or raises an alert; inconclusive "
    says += "(too few rows, no traffic) never promotes, and never looks like a pass."
    return tag("p", says, " ", *records.counts(story.verdicts), class_="soft")


def _links(story: Story) -> Html:
    items = [tag("li", tag("span", name), _link(url)) for name, url in story.links]
    shown = tag("ul", *items, class_="links") if items else tag("p", "No links.", class_="none")
    curl = tag("p", "No prediction endpoint was reached.", class_="none")
    if story.curl:
        curl = Html(tag("p", "Ask the champion:") + tag("pre", tag("code", story.curl)))
    return tag("div", shown, curl, words.glossary())


def _link(url: str) -> Html:
    """A link, if it is one that only leads somewhere."""
    try:
        scheme = urlsplit(url).scheme
    except ValueError:
        scheme = ""
    return tag("a", url, href=url, rel="noreferrer") if scheme in LINKED else tag("span", url)
