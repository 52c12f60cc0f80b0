"""`andon notify`: who is told of incidents, and whether that works."""

from __future__ import annotations

import os
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from andon.errors import LineError

notify = typer.Typer(help="Who is told of incidents: `notify` in andon.yaml.", no_args_is_help=True)
out = Console(highlight=False)


@notify.command(name="list")
def list_() -> None:
    """Show the routes, and what each still has to send."""
    from andon.adapters import database
    from andon.adapters.files import load_settings
    from andon.adapters.ledger import open_ledger

    settings = load_settings()
    if not settings.notify:
        out.print("andon.yaml has no `notify`: nobody is told (docs/notifications.md)")
        return
    table = Table("route", "block", "at least", "waiting", "the latest error", box=None)
    waiting = open_ledger(database.url(settings, "ledger")).waiting()
    for it in settings.notify:
        mine = [notice for notice in waiting if notice.route == it.name]
        error = next((notice.error for notice in mine if notice.error), "")
        table.add_row(it.name, it.block, it.severity, f"{len(mine)}", escape(error or ""))
    out.print(table)


@notify.command()
def test(
    route: Annotated[str, typer.Argument(help="Of this route only.")] = "",
) -> None:
    """Send each route a message now, also in quiet hours."""
    from andon.adapters.files import load_settings
    from andon.notices import moment
    from deployments.platform.programs import line_environment

    settings = load_settings()
    routes = {it.name: it for it in settings.notify}
    if route and route not in routes:
        known = ", ".join(routes) or "none"
        raise LineError(f"andon.yaml has no route {route!r}; there are: {known}")
    if not routes:
        raise LineError("andon.yaml has no `notify`: see docs/notifications.md")
    os.environ.update(line_environment(settings))  # before Prefect is imported
    from tasks.notices import say

    failed = []
    for it in [routes[route]] if route else routes.values():
        try:
            say(it, "Andon: a test", f"Sent at {moment(time.time())} by `andon notify test`.")
            out.print(f"[green]✓[/green] {it.name}: sent by {it.block}")
        except Exception as error:  # whatever a service's client raises
            failed.append(f"{it.name}: {type(error).__name__}: {error}")
    if failed:
        raise LineError("; ".join(failed))
