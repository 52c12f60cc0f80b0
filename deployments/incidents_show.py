"""Incidents for people: a table of several, and the story of one."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from andon.adapters.incident_story import story
from andon.adapters.ledger import Incident, Ledger
from andon.incidents import PEOPLE
from deployments.show import when
from deployments.views import span

COLOURS = {"closed": "green", "open": "yellow", "retraining": "cyan", "returning": "cyan"}
LONGEST = 100


def table(found: list[Incident]) -> Table:
    """One line each."""
    made = Table(box=None, padding=(0, 2, 0, 0))
    longest = max((len(it.id) for it in found), default=0)
    made.add_column("incident", no_wrap=True, min_width=longest)  # to be copied
    for name in ("place", "cause", "state", "since (UTC)"):
        made.add_column(name, no_wrap=True)
    made.add_column("latest")
    for it in found:
        latest = it.story[-1][1] if it.story else ""
        made.add_row(
            it.id, f"{it.environment}/{it.model}", it.cause, _state(it), when(it.opened_at),
            escape(latest[:LONGEST]),
        )  # fmt: skip
    return made


def tell(out: Console, ledger: Ledger, it: Incident) -> None:
    """What it is, and everything that happened, in order of time."""
    end = it.closed_at or ledger.clock()
    facts = {
        "incident": it.id,
        "place": f"{it.environment}/{it.model}",
        "cause": it.cause.replace("+", ", "),
        "severity": it.severity or "",
        "state": _state(it),
        "opened": f"{when(it.opened_at)} UTC",
        "took" if it.closed_at else "open for": span(end - it.opened_at),
        "looked at": f"by {it.looked_by}, {when(it.looked_at)} UTC" if it.looked_by else "",
    }
    for key, value in facts.items():
        if value:
            out.print(f"[bold]{key:<10}[/bold] {value if key == 'state' else escape(value)}")
    made = Table(box=None, padding=(0, 2, 0, 0))
    made.add_column("\nwhen (UTC)", no_wrap=True)
    made.add_column("\n")
    made.add_column("\nwhat")
    for event in story(ledger, it):
        made.add_row(when(event.at), f"[dim]{event.by}[/dim]", escape(event.what))
    out.print(made)
    if it.state in PEOPLE:
        out.print(
            f"\n[yellow]nothing more happens by itself[/yellow]: "
            f"`andon incidents look {it.id}` lets it go on, `andon incidents close {it.id} "
            "--note WHY` ends it",
            soft_wrap=True,
        )


def _state(it: Incident) -> str:
    return f"[{COLOURS.get(it.state, 'red')}]{it.state}[/]"
