"""What a monitor run saw, as one page: what changed, since when, how sure, how it was before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from andon.drawn import bars, strip
from andon.monitoring import PREDICTIONS
from andon.page import Block, Image, Page, Paragraph, Section, Table, Tile
from andon.profile import Feature, Profile, counts, labels
from andon.summary import Summary
from andon.verdict import Outcome, Verdict, gate

RUNS = 30
LOOKS = {Outcome.PASS: "good", Outcome.FAIL: "bad", Outcome.INCONCLUSIVE: "open"}
WORDS = {Outcome.PASS: "pass", Outcome.FAIL: "fail", Outcome.INCONCLUSIVE: "could not tell"}
LEADS = {
    Outcome.PASS: "All is as it was at training.",
    Outcome.FAIL: "Something has changed: see below.",
    Outcome.INCONCLUSIVE: "It could not all be told.",
}
PICTURES = 8  # features that are drawn


@dataclass(frozen=True)
class Earlier:
    """A run before: when (epoch seconds), of which monitor, and each check's outcome."""

    at: float
    kind: str
    outcomes: Mapping[str, Outcome]


@dataclass(frozen=True)
class Watch:
    """What a page tells of. `earlier`: this run too, oldest first; `rows`: some of the newest.

    `story`: of the open incident `incident`, (epoch seconds, what happened).
    """

    model: str
    environment: str
    version: str
    at: float
    verdicts: Mapping[str, Sequence[Verdict]]
    earlier: Sequence[Earlier] = ()
    windows: Mapping[str, tuple[Summary, Profile]] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()
    masked: Sequence[str] = ()
    incident: str = ""
    story: Sequence[tuple[float, str]] = ()


def page(watch: Watch) -> Page:
    """Blocks of text and pictures, for HTML."""
    every = [it for given in watch.verdicts.values() for it in given]
    outcome = gate(every)
    sections = [
        *_changed(watch),
        *_timeline(watch),
        *_incident(watch),
        *_rows(watch),
        Section("All checks", [_checks(sorted(every, key=_badness))]),
    ]
    tiles = [
        Tile(kind, WORDS[gate(given)], _counted(given), LOOKS[gate(given)])
        for kind, given in watch.verdicts.items()
    ]
    return Page(
        title=f"{watch.model} v{watch.version} in {watch.environment}",
        lead=f"{LEADS[outcome]} Seen at {moment(watch.at)}.",
        tiles=tiles,
        sections=sections,
        foot="Effects, p values and windows: docs/monitoring.md.",
    )


def moment(epoch: float) -> str:
    """A time for people."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _counted(given: Sequence[Verdict]) -> str:
    bad = sum(it.outcome is Outcome.FAIL for it in given)
    checks = "1 check" if len(given) == 1 else f"{len(given)} checks"
    return f"{bad} of {checks} fail" if bad else checks


def _changed(watch: Watch) -> list[Section]:
    failed = sorted(
        (it for given in watch.verdicts.values() for it in given if it.outcome is Outcome.FAIL),
        key=_badness,
    )
    if not failed:
        return []
    rows = [[it.check, _since(watch, it.check), _sure(it), it.detail] for it in failed]
    blocks: list[Block] = [Table(["check", "since", "how sure", "what was found"], rows)]
    pictures = [picture for it in failed if (picture := _picture(watch, it.check)) is not None]
    return [Section("What changed", [*blocks, *pictures[:PICTURES]])]


def _since(watch: Watch, check: str) -> str:
    """When it began to fail without a pass since; that run is the first of those kept at least."""
    began = watch.at
    for it in reversed(watch.earlier):
        said = it.outcomes.get(check)
        if said is Outcome.PASS:
            break
        if said is Outcome.FAIL:
            began = it.at
    return moment(began)


def _sure(verdict: Verdict) -> str:
    p = verdict.evidence.get("adjusted_p", verdict.evidence.get("p"))
    if isinstance(p, int | float):
        return f"p {p:.2g}, {verdict.n:,} rows"
    return f"{verdict.n:,} rows" if verdict.n else ""


def _picture(watch: Watch, check: str) -> Image | None:
    """Of a feature's bins, training and now; None for a check that is not of a distribution."""
    for summary, reference in watch.windows.values():
        if check == PREDICTIONS and summary.said is not None:
            return _drawn("scores", reference.score, summary.said.counts)
        kind, _, name = check.partition(": ")
        if kind not in ("drift", "data") or name in watch.masked:
            continue
        feature = next((it for it in reference.features if it.name == name), None)
        tally = summary.features.get(name)
        if feature is not None and tally is not None and feature.n and tally.n:
            return _drawn(name, feature, tally.counts)
    return None


def _drawn(name: str, feature: Feature, now: Any) -> Image:
    then = counts(feature)
    first, second = then / max(then.sum(), 1), now / max(now.sum(), 1)
    names = labels(feature)
    # A hundred categories are no picture: those that moved most are.
    keep = np.arange(len(names))
    if len(names) > 24:
        keep = np.sort(np.argsort(-np.abs(second - first), kind="stable")[:24])
    shown = [_short(names[it]) for it in keep]
    moved = int(np.argmax(np.abs(second - first)))
    alt = (
        f"Shares of {len(names)} bins of {name}: {names[moved]} moved most, from "
        f"{100 * first[moved]:.1f} % at training to {100 * second[moved]:.1f} % now."
    )
    uri = bars(name, shown, first[keep].tolist(), second[keep].tolist())
    return Image(uri, name, alt)


def _short(name: str) -> str:
    """Of a bin of numbers only where it begins: there are twenty."""
    begin, between, end = name.partition(" to ")
    try:
        float(begin), float(end)
    except ValueError:
        return name
    return f"{float(begin):.3g}…" if between else name


def _timeline(watch: Watch) -> list[Section]:
    kinds = list(dict.fromkeys(it.kind for it in watch.earlier))
    rows = [
        (kind, [gate_of(it.outcomes.values()) for it in watch.earlier if it.kind == kind])
        for kind in kinds
    ]
    rows = [(kind, said[-RUNS:]) for kind, said in rows if said]
    if not rows:
        return []
    return [Section(f"The last {RUNS} runs", [Image(strip(rows, RUNS), "runs", told(rows))])]


def told(rows: Sequence[tuple[str, Sequence[Outcome]]]) -> str:
    """A timeline in words."""
    parts = []
    for kind, said in rows:
        bad = sum(it is Outcome.FAIL for it in said)
        unsure = sum(it is Outcome.INCONCLUSIVE for it in said)
        parts.append(f"{kind}: {len(said)} runs, {bad} failed, {unsure} could not tell")
    return "; ".join(parts) + "."


def gate_of(outcomes: Any) -> Outcome:
    """One outcome for several, as a gate has it."""
    return gate(Verdict(check="", outcome=it) for it in outcomes)


def _incident(watch: Watch) -> list[Section]:
    if not watch.incident:
        return []
    rows = [[moment(at), what] for at, what in watch.story]
    words = Paragraph(f"andon incidents show {watch.incident} tells the rest.")
    return [Section(f"Incident {watch.incident}", [Table(["when", "what"], rows), words])]


def _rows(watch: Watch) -> list[Section]:
    if not watch.rows:
        return []
    names = [it for it in watch.rows[0] if it not in watch.masked]
    cells = [["" if row[it] is None else str(row[it]) for it in names] for row in watch.rows]
    hidden = f"Left out by choice: {', '.join(watch.masked)}." if watch.masked else ""
    return [Section("Some of the newest rows", [Table(names, cells, note=hidden)])]


def _checks(given: Sequence[Verdict]) -> Table:
    rows = [
        [
            it.check,
            WORDS[it.outcome],
            "" if it.value is None else f"{it.value:.3g}",
            "" if it.limit is None else f"{it.limit:.3g}",
            f"{it.n:,}",
            it.detail,
        ]
        for it in given
    ]
    return Table(["check", "verdict", "value", "limit", "n", ""], rows, frozenset({2, 3, 4}))


def _badness(it: Verdict) -> tuple[int, float]:
    order = (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS)
    return order.index(it.outcome), -(it.value or 0.0)
