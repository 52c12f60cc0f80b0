"""The summary's pages of the ledger: releases, the incident, and every verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from andon.adapters.ledger import Incident, Release, Transition, VerdictRow
from andon.rollout import Phase
from deployments.demo.markup import NB, Html, breakable, clock, number, plural, seconds, tag
from deployments.demo.plots import Colours, version_label
from deployments.demo.story import Story
from deployments.demo.traffic_plot import elapsed

SIGNS = {"pass": "✓", "fail": "✗", "inconclusive": "?"}


def chip(outcome: str, text: str = "") -> Html:
    """An outcome as sign, word and colour: no one of them is needed to tell it."""
    css = outcome if outcome in SIGNS else "inconclusive"
    words = (text or outcome).replace(" ", NB)
    return tag("span", f"{SIGNS[css]}{NB}{words}", class_=f"chip {css}")


def releases(story: Story, colours: Colours) -> Html:
    """Each release with every transition, its time and its split of the traffic."""
    if not story.releases:
        return tag("p", "No release is on the ledger.", class_="none")
    order = sorted(story.releases, key=lambda it: (it[0].started_at, it[0].seq))
    return tag("div", *(_release(*it, colours) for it in order), class_="releases")


def _release(release: Release, transitions: Sequence[Transition], colours: Colours) -> Html:
    phase = release.rollout.phase
    outcome = {Phase.PROMOTED: "pass", Phase.ROLLED_BACK: "fail"}.get(phase, "inconclusive")
    took = "not ended"
    if release.ended_at is not None:
        took = f"took {seconds(release.ended_at - release.started_at)}"
    rows = [_transition(it, release.started_at, colours) for it in transitions]
    return tag(
        "article",
        tag(
            "h3",
            tag("i", class_=f"swatch {colours.of(version_label(release.version))}"),
            f"{version_label(release.version)} → {release.environment} ",
            chip(outcome, phase.value.replace("_", " ")),
        ),
        tag(
            "p",
            f"{release.kind}, asked for by {release.trigger} at {clock(release.started_at)}; "
            f"{took}",
            class_="soft",
        ),
        tag("ol", *rows, class_="transitions") if rows else tag("p", "No transition is kept."),
    )


def _transition(it: Transition, began: float, colours: Colours) -> Html:
    weights = {name.rsplit("-", 1)[-1]: weight for name, weight in it.weights.items()}
    parts = [
        tag("i", class_=colours.of(name), style=f"width:{weight}%")
        for name, weight in weights.items()
    ]
    said = " · ".join(f"{name} {weight}{NB}%" for name, weight in weights.items())
    return tag(
        "li",
        tag("time", clock(it.at), tag("small", f"+{max(0.0, it.at - began):.1f}{NB}s")),
        tag("span", it.what, class_="what"),
        tag("span", tag("span", *parts, class_="split"), said or "no traffic", class_="share"),
    )


def incident(it: Incident | None, began: float) -> Html:
    """The incident from alert to all-clear."""
    if it is None:
        return tag("p", "No incident was opened.", class_="none")
    outcome = {"closed": "pass", "escalated": "fail"}.get(it.state, "inconclusive")
    span = f"opened {clock(it.opened_at)}"
    if it.closed_at is not None:
        span += f", closed {clock(it.closed_at)}, {seconds(it.closed_at - it.opened_at)} in all"
    lines = [
        tag("li", tag("time", clock(at), tag("small", elapsed(at - began))), tag("span", what))
        for at, what in it.story
    ]
    return tag(
        "div",
        tag("h3", tag("code", it.id), " ", chip(outcome, it.state)),
        tag("p", f"cause: {it.cause} in {it.environment}; {span}", class_="soft"),
        tag("ol", *lines, class_="log") if lines else tag("p", "Its story is empty."),
    )


def verdicts(story: Story) -> Html:
    """Every verdict, by station; a station where not all passed is open."""
    if not story.verdicts:
        return tag("p", "No verdict is on the ledger.", class_="none")
    stations: dict[str, list[VerdictRow]] = {}
    for it in story.verdicts:
        stations.setdefault(it.station, []).append(it)
    return tag("div", *(_station(name, rows) for name, rows in stations.items()))


def counts(rows: Sequence[VerdictRow]) -> list[Html]:
    """How many of each outcome."""
    found = Counter(it.outcome if it.outcome in SIGNS else "inconclusive" for it in rows)
    return [chip(it, f"{found[it]:,} {it}") for it in SIGNS if found[it]]


def _station(name: str, rows: Sequence[VerdictRow]) -> Html:
    heads = ("check", "verdict", "value", "limit", "n", "detail")
    head = tag("thead", tag("tr", *(tag("th", it, scope="col") for it in heads)))
    bodies = [_group(list(it)) for _, it in groupby(rows, key=lambda it: (it.run_id, it.subject))]
    bad = any(it.outcome != "pass" for it in rows)
    station = tag("strong", name or "no station")
    return tag(
        "details",
        tag("summary", station, " ", *counts(rows)),
        tag("table", head, *bodies, class_="verdicts"),
        class_="station",
        open="" if bad else None,
    )


def _group(rows: Sequence[VerdictRow]) -> Html:
    first = rows[0]
    about = f"{first.subject} · {clock(first.at)} · {plural(len(rows), 'verdict')}"
    title = tag("tr", tag("th", about, colspan=6, scope="rowgroup"), class_="about")
    return tag("tbody", title, *(_verdict(it) for it in rows))


def _verdict(it: VerdictRow) -> Html:
    return tag(
        "tr",
        tag("td", breakable(it.check), class_="check"),
        tag("td", chip(it.outcome), class_="outcome"),
        tag("td", number(it.value), class_="number", data_name="value"),
        tag("td", number(it.limit), class_="number", data_name="limit"),
        tag("td", number(it.n), class_="number", data_name="n"),
        tag("td", it.detail, class_="detail"),
    )
