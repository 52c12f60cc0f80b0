"""A flow run on the terminal: which station is at work, and how long each took."""

from __future__ import annotations

import re

from rich.console import Console
from rich.markup import escape

from deployments.runs import ENDED, Runs

# What Prefect puts before an exception's own words.
PREFIX = re.compile(r"^Flow run encountered an exception: \w+: ")
SIGNS = {"COMPLETED": "[green]✓[/green]", "FAILED": "[red]✗[/red]", "CRASHED": "[red]✗[/red]"}


def follow(runs: Runs, run_id: str, out: Console, indent: str = "  ") -> bool:
    """Print every station as it ends; returns whether the run completed."""
    with out.status("waiting for the worker") as spinner:
        for event in runs.follow(run_id):
            if event.station and event.kind in ENDED:
                note = " (reused)" if event.state == "Cached" else ""
                why = "" if event.kind == "COMPLETED" else f": {escape(event.message[:300])}"
                sign = SIGNS.get(event.kind, "·")
                out.print(f"{indent}{sign} {event.station:<22} {event.seconds:6.1f} s{note}{why}")
            elif event.station:
                spinner.update(f"{event.station}: {event.state.lower()}")
            elif event.kind in ENDED:
                sign, why = SIGNS.get(event.kind, "·"), ""
                if event.kind != "COMPLETED":
                    why = f"\n{indent}  {escape(PREFIX.sub('', event.message))}"
                out.print(
                    f"{indent}{sign} {event.state.lower():<22} {event.seconds:6.1f} s{why}",
                    soft_wrap=True,
                )
                return event.kind == "COMPLETED"
            else:
                spinner.update(event.state.lower())
    return False
