"""`andon expectations`: suites of Great Expectations."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from andon.adapters.files import load_settings, load_spec
from andon.findings import words

app = typer.Typer(no_args_is_help=True, help="Suites of Great Expectations.")
out = Console(highlight=False)


@app.callback()
def _expectations() -> None:
    """Suites of Great Expectations."""


@app.command()
def infer(
    model: Annotated[str, typer.Argument(help="A model project: a folder under models/.")],
    write: Annotated[bool, typer.Option("--write", help="Write the model's suite.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a suite that is there.")] = False,
    from_snapshot: Annotated[
        str, typer.Option(help="The hash of a snapshot; default: the tracked data.")
    ] = "",
) -> None:
    """Propose a suite from the data, and write it if that is asked for."""
    settings = load_settings()
    spec = load_spec(settings.project, model)
    # Polars, and later Great Expectations, take seconds to import: a wrong name is told before.
    from andon.adapters import proposing

    if from_snapshot:
        data, source = proposing.snapshot(settings, spec, from_snapshot)
    else:
        data, source = proposing.tracked_data(settings, spec)
    found = proposing.propose(data, spec, source)
    out.print(_table(found.expectations))
    out.print(
        f"\n{len(found.expectations)} expectations; they hold on the {found.rows:,} rows of "
        f"{escape(found.source)}, and one scan answers {found.scanned} of them."
    )
    path = proposing.suite_path(settings, model)
    shown = path.relative_to(settings.project)
    if not write:
        out.print(f"`andon expectations infer {model} --write` writes {shown}.")
        return
    if path.is_file():
        _print_difference(proposing.difference(path, found.text))
    proposing.write(path, found.text, force=force)
    out.print(f"[green]✓[/green] {shown} is as proposed; read it, change it, commit it")


def _table(expectations: list[dict[str, Any]]) -> Table:
    table = Table("column", "expected", "if not", "why", box=None, pad_edge=False)
    before = ""
    for it in expectations:
        meta, column = it["meta"], str(it["kwargs"].get("column", "the table"))
        severity = "[red]stop[/red]" if meta["severity"] == "stop" else "[yellow]warn[/yellow]"
        shown = "" if column == before else column
        table.add_row(escape(shown), escape(words(it)), severity, escape(meta["notes"]))
        before = column
    return table


def _print_difference(text: str) -> None:
    colours = {"+": "green", "-": "red"}
    for line in text.splitlines():
        colour = colours.get(line[:1], "dim")
        out.print(f"[{colour}]{escape(line)}[/{colour}]", soft_wrap=True)
