"""Tables for people: status and history."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from andon.adapters.ledger import Release
from andon.errors import LineError
from andon.settings import Settings
from deployments.parts import Parts, parts
from deployments.platform.up import processes


def when(epoch: float | None) -> str:
    """A time of the ledger for people."""
    return "" if epoch is None else datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S")


def platform(settings: Settings, out: Console) -> None:
    """Every program of the platform and every prediction server."""
    table = Table("program", "state", "pid", box=None, title="platform", title_justify="left")
    for info in processes(settings):
        colour = "green" if info.up else "red"
        table.add_row(info.name, f"[{colour}]{info.state.lower()}[/{colour}]", f"{info.pid or ''}")
    out.print(table)


def places(out: Console) -> None:
    """Every slot with its version, weight, health and last verdict."""
    found = parts()
    columns = (
        "environment",
        "model",
        "slot",
        "version",
        "weight",
        "health",
        "release",
        "last verdict",
    )
    table = Table(*columns, box=None, title="\nlive", title_justify="left")
    for it in found.places():
        weight = "?" if it.weight is None else f"{it.weight} %"
        table.add_row(
            it.environment,
            it.model,
            it.slot,
            f"v{it.version}",
            weight,
            it.health,
            it.release,
            _last_verdict(found, it.model, f"v{it.version} in {it.environment}"),
        )
    out.print(table if table.row_count else "\nnothing is delivered yet: `andon deliver MODEL`")


def _last_verdict(found: Parts, model: str, subject: str) -> str:
    mine = [it for it in found.ledger.verdicts(model) if it.subject == subject]
    if not mine:
        return ""
    last = [it for it in mine if it.station == mine[-1].station and it.run_id == mine[-1].run_id]
    bad = [it for it in last if it.outcome != "pass"]
    word = "pass" if not bad else ", ".join(f"{it.check} {it.outcome}" for it in bad[:3])
    return f"{last[-1].station}: {word}"


def incidents(out: Console) -> None:
    """The incidents that are not closed."""
    found = parts()
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


def releases(out: Console, model: str) -> None:
    """Every release of a model, newest first, then its latest runs."""
    found = parts()
    table = Table("started (UTC)", "ended", "where", "version", "kind", "how it went", "asked by")
    table.box = None
    for it in found.ledger.releases(model):
        end = f"{it.rollout}" + (f": {it.rollout.reason}" if it.rollout.reason else "")
        table.add_row(
            when(it.started_at),
            when(it.ended_at)[11:],
            it.environment,
            f"v{it.version}",
            it.kind,
            escape(end),
            escape(it.trigger),
        )
    out.print(table if table.row_count else f"{model} was never released")
    runs = Table("run (UTC)", "flow", "outcome", "message", box=None)
    runs.title, runs.title_justify = "\nruns", "left"
    for run in found.ledger.runs(model, limit=10):
        outcome = run.outcome or "at work"
        runs.add_row(when(run.started_at), run.flow, outcome, escape((run.message or "")[:160]))
    out.print(runs)


def served_at(out: Console, model: str, environment: str, at: float) -> None:
    """What served at a time, and why: the release, its lineage, its verdicts."""
    found = parts()
    release = found.ledger.champion(environment, model, at)
    if release is None:
        raise LineError(f"{model} served nothing in {environment} at {when(at)} UTC")
    _lineage(out, found, release)


def _lineage(out: Console, found: Parts, release: Release) -> None:
    candidate = found.ledger.candidate_of(release)
    facts = {
        "version": f"v{release.version} ({release.kind}) in {release.environment}",
        "served from": f"{when(release.ended_at)} UTC, release {release.seq}",
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
    runs = {release.run_id, candidate.run_id}
    table = Table("station", "check", "verdict", "n", "detail", box=None)
    table.title, table.title_justify = "\nverdicts", "left"
    for it in found.ledger.verdicts(release.model):
        if it.run_id in runs:
            table.add_row(it.station, it.check, it.outcome, f"{it.n}", escape(it.detail[:120]))
    out.print(table)
