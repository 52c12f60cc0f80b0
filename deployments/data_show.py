"""Snapshots for people."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from andon.adapters.snapshots import Added
from andon.spec import ModelSpec


def added(project: Path, spec: ModelSpec, found: Added, out: Console) -> None:
    """What was added, what changed by it, and what to commit."""
    out.print(
        f"[bold]{found.path}[/bold]: {found.rows:,} rows, {len(found.columns)} columns from "
        f"{escape(found.source)}",
        soft_wrap=True,
    )
    out.print(f"snapshot [bold]{found.hash}[/bold]")
