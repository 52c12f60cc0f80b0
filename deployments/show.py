"""Tables for people: status and history."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from andon.adapters.ledger import Release
from andon.errors import LineError
from andon.rollout import Phase, Rollout
from andon.settings import Settings
from deployments.parts import Parts, Place
from deployments.platform.up import processes
from deployments.views import block, clock, look, span

SAID = re.compile(r"(paused|resumed|approved|rejected) by ")
HEALTH = {"ready": "green", "starting": "yellow"}


def when(epoch: float | None) -> str:
    """A time of the ledger for people."""
    return "" if epoch is None else datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S")


def platform(settings: Settings, out: Console) -> None:
    """Every program of the platform and every prediction server."""
    table = Table(
        "program", "state", "pid", box=None, title="platform", title_justify="left",
        padding=(0, 2, 0, 0),
    )  # fmt: skip
    for info in processes(settings):
        colour = "green" if info.up else "red"
        table.add_row(info.name, f"[{colour}]{info.state.lower()}[/{colour}]", f"{info.pid or ''}")
    out.print(table)


def places(out: Console, found: Parts) -> None:
    """Every slot with its version, traffic, health and last verdict, and each release at work."""
    shown = found.places()
    if not shown:
        out.print("\nnothing is delivered yet: `andon deliver MODEL`")
        return
    out.print(live(shown, found.ledger.clock()))
    out.print(warnings(found, shown), _last_verdicts(found, shown), sep="")
    for it in shown:
        if it.slot == "rollout":
            out.print("", block(look(found, it.release)), sep="\n")


def live(shown: list[Place], now: float) -> Table:
    """What serves where."""
    table = Table(box=None, title="\nlive", title_justify="left", padding=(0, 2, 0, 0))
    for column in ("place", "slot", "version", "traffic", "health", "release (UTC)"):
        table.add_column(column, no_wrap=column != "health")
    for it in shown:
        health = f"[{HEALTH.get(it.health, 'red')}]{escape(it.health)}[/]"
        cells = [f"{it.environment}/{it.model}", it.slot, f"v{it.version}", it.traffic, health]
        table.add_row(*cells, _state(it, now))
    return table


def _state(place: Place, now: float) -> str:
    rollout = place.release.rollout
    if place.slot == "rollout":
        return _in_short(rollout)
    if place.slot == "warm":
        return f"kept until {clock(rollout.since + rollout.warm_seconds, now)}"
    return f"{rollout} {clock(rollout.since, now)}"


def _in_short(rollout: Rollout) -> str:
    if rollout.current is None:
        return f"{rollout}"
    waits = ", waits" if rollout.approval else ""
    paused = ", paused" if rollout.phase is Phase.PAUSED else ""
    return f"step {rollout.step + 1}/{len(rollout.steps)}{paused or waits}"


def warnings(found: Parts, shown: list[Place]) -> Text:
    """Where the gateway is not as it was told; what holds for several places is said once."""
    said: dict[str, list[str]] = {}
    for environment, model in dict.fromkeys((it.environment, it.model) for it in shown):
        for problem in found.edited(environment, model):
            said.setdefault(problem, []).append(f"{environment}/{model}")
    return Text("".join(f"! {', '.join(it)}: {what}\n" for what, it in said.items()), "yellow")


def _last_verdicts(found: Parts, shown: list[Place]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("place", no_wrap=True)
    table.add_column("version", no_wrap=True)
    table.add_column("last verdict")
    for it in shown:
        if it.slot != "warm":
            where = f"{it.environment}/{it.model}"
            table.add_row(where, f"v{it.version}", escape(_last_verdict(found, it)))
    return table


def _last_verdict(found: Parts, place: Place) -> str:
    subject = f"v{place.version} in {place.environment}"
    last = found.ledger.latest_verdicts(place.model, subject)
    if not last:
        return ""
    bad = [it for it in last if it.outcome != "pass"]
    word = f"{bad[0].check} {bad[0].outcome}" if bad else "pass"
    word += f", and {len(bad) - 1} more" if len(bad) > 1 else ""
    return f"{last[-1].station}: {word}"


def undelivered(out: Console, found: Parts) -> None:
    """That people were not told, if they were not."""
    failed = [it for it in found.ledger.waiting() if it.error]
    if failed:
        out.print(
            f"\n[yellow]! {len(failed)} messages on incidents could not be sent yet: "
            "`andon notify list` says why[/yellow]"
        )


def incidents(out: Console, found: Parts) -> None:
    """The incidents that are not closed."""
    rows = [
        it
        for model in found.ledger.models()
        for it in found.ledger.incidents(model)
        if it.state != "closed"
    ]
    if not rows:
        return
    table = Table("incident", "cause", "state", "since (UTC)", "latest", box=None)
    table.title, table.title_justify = "\nincidents", "left"
    for it in rows:
        latest = it.story[-1][1] if it.story else ""
        table.add_row(it.id, it.cause, it.state, when(it.opened_at), escape(latest[:100]))
    out.print(table)


def releases(out: Console, found: Parts, model: str) -> None:
    """Every release of a model, newest first, then its latest runs."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("release", "started (UTC)", "took", "version"):
        table.add_column(column, no_wrap=True)
    table.add_column("how it went")
    table.add_column("asked by")
    for it in found.ledger.releases(model):
        kind = "" if it.kind == "release" else f"{it.kind}: "
        table.add_row(
            f"{it.seq} {it.environment}",
            when(it.started_at),
            span(it.ended_at - it.started_at) if it.ended_at else "",
            f"v{it.version}",
            escape(f"{kind}{_how_it_went(found, it)}"),
            escape(it.trigger),
        )
    out.print(table if table.row_count else f"{model} was never released")
    runs = Table("run (UTC)", "flow", "outcome", "message", box=None)
    runs.title, runs.title_justify, runs.padding = "\nruns", "left", (0, 2, 0, 0)
    for run in found.ledger.runs(model, limit=10):
        outcome = run.outcome or "at work"
        runs.add_row(when(run.started_at), run.flow, outcome, escape((run.message or "")[:160]))
    out.print(runs)


def _how_it_went(found: Parts, release: Release) -> str:
    """What people said on the way, then the end, or the state it is in."""
    reason = release.rollout.reason
    reasons = [it.what.partition(": ")[2] for it in found.ledger.transitions(release.seq)]
    words = [it for it in reasons if SAID.match(it) and it != reason]
    why = f": {reason}" if reason and reason != "every gate passed" else ""
    return "; ".join([*words, f"{release.rollout}{why}"])


def one_release(out: Console, found: Parts, model: str, seq: int) -> None:
    """One release from start to end: every state, its traffic, who said what, and its lineage."""
    release = found.ledger.release(seq)
    if release.model != model:
        raise LineError(f"release {seq} is one of {release.model}, not of {model}")
    out.print(block(look(found, release), latest=None), "")
    _lineage(out, found, release)


def served_at(out: Console, found: Parts, model: str, environment: str, at: float) -> None:
    """What served at a time, and why: the release, its lineage, its verdicts."""
    release = found.ledger.champion(environment, model, at)
    if release is None:
        raise LineError(f"{model} served nothing in {environment} at {when(at)} UTC")
    _lineage(out, found, release)


def _lineage(out: Console, found: Parts, release: Release) -> None:
    candidate = found.ledger.candidate_of(release)
    facts = {
        "version": f"v{release.version} ({release.kind}) in {release.environment}",
        "served from": f"{when(release.ended_at)} UTC, release {release.seq}"
        if release.rollout.phase is Phase.PROMOTED
        else "it did not",
        "asked by": release.trigger,
        "commit": candidate.git_sha + (" with uncommitted changes" if candidate.git_dirty else ""),
        "data": f"snapshot {candidate.snapshot}",
        "build": candidate.build,
        "bundle": candidate.digest,
        "image": candidate.image or "none",
        "metrics": ", ".join(f"{k} {v:.4f}" for k, v in candidate.metrics.items()),
        "flow run": release.run_id,
    }
    for key, value in facts.items():
        out.print(f"[bold]{key:<12}[/bold] {escape(value)}")
    runs = dict.fromkeys((candidate.run_id, release.run_id))
    table = Table("station", "check", "verdict", "n", "detail", box=None)
    table.title, table.title_justify = "\nverdicts", "left"
    for it in (it for run in runs for it in found.ledger.verdicts(release.model, run_id=run)):
        table.add_row(it.station, it.check, it.outcome, f"{it.n}", escape(it.detail[:120]))
    out.print(table)
