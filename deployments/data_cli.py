"""`andon data`: new data in, what there is, and what changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from andon.adapters.files import load_settings, load_spec
from andon.errors import DataError, LineError

if TYPE_CHECKING:
    from andon.adapters.ledger import Ledger
    from andon.adapters.sources import Tell
    from andon.settings import Settings

data = typer.Typer(
    help="Snapshots: add data to a model, list what there is, and see what changed.",
    no_args_is_help=True,
)
out = Console(highlight=False)
Model = Annotated[str, typer.Argument(help="A model project: a folder under models/.")]


@data.command()
def add(
    model: Model,
    source: Annotated[
        str, typer.Argument(help="A path, a glob or s3://…; default: model.yaml's source.")
    ] = "",
    push: Annotated[bool, typer.Option(help="Put it into DVC's default remote, too.")] = True,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a data file that DVC does not know.")
    ] = False,
) -> None:
    """Write rows from a source to the model's data as canonical Parquet, and track it with DVC."""
    from andon.adapters import snapshots, sources
    from deployments.data_show import added

    project = load_settings().project
    spec = load_spec(project, model)
    given = sources.parse(source, Path.cwd()) if source else spec.source
    if given is None:
        raise DataError(
            f"{model}: where from? Name a path, a glob or s3://…, or write `source` in model.yaml"
        )
    with _progress() as tell:
        found = snapshots.add(project, spec, given, tell, force=force)
    added(load_settings(), spec, found, out)
    if push:
        _push(project, found.path)


@data.command("list")
def list_(
    model: Model,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """List the snapshots: from the pointer's history in git, and from the ledger."""
    from deployments.data_show import known, listed

    settings = load_settings()
    spec = load_spec(settings.project, model)
    ledger, missing = _ledger(settings)
    rows = known(settings, spec, ledger)
    if as_json:
        out.print_json(json.dumps([asdict(it) for it in rows]))
        return
    listed(rows, out)
    if missing:
        text = f"[dim]without rows and versions from the ledger: {escape(missing)}[/dim]"
        out.print(text, soft_wrap=True)


@data.command()
def diff(
    model: Model,
    before: Annotated[
        str, typer.Argument(help="A snapshot's hash (or its beginning), or a git revision.")
    ] = "",
    after: Annotated[str, typer.Argument(help="Another; default: the pointer as it is.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show what differs between two snapshots; default: the version before, and the current."""
    from andon.adapters import comparing, dvc, snapshots
    from deployments.data_show import as_data, difference

    settings = load_settings()
    spec = load_spec(settings.project, model)
    if before:
        ledger, _ = _ledger(settings)
        others = [it.hash for it in ledger.snapshots(model)] if ledger else []
        now = dvc.tracked(settings.project, snapshots.data_path(spec))[0] if not after else ""
        old = comparing.known_hash(settings, spec, before, others)
        new = comparing.known_hash(settings, spec, after, others) if after else now
    else:
        old, new = (it.md5 for it in comparing.latest_two(settings, spec))
    with _progress() as tell:
        tell("comparing", 0, None)
        found = comparing.between(settings, spec, old, new)
    if as_json:
        out.print_json(json.dumps({"before": old, "after": new, **as_data(found)}))
    else:
        difference(old, new, found, out)


def _ledger(settings: Settings) -> tuple[Ledger | None, str]:
    """The ledger, or why it cannot be read: what git knows can be shown without it."""
    from andon.adapters import database
    from andon.adapters.ledger import open_ledger

    reason = database.problem(settings)
    if reason is None:
        return open_ledger(database.url(settings, "ledger")), ""
    return None, "its database does not answer; `andon up`"


def _push(project: Path, path: str) -> None:
    from andon.adapters import dvc

    try:
        with _progress() as tell:
            tell("pushing", 0, None)
            remote = dvc.push(project, Path(path))
    except LineError as error:
        raise DataError(f"{error}\nIt is tracked here, but not pushed: `dvc push {path}`") from None
    if remote is None:
        out.print(
            "[yellow]not pushed[/yellow]: DVC has no default remote, so this machine has the only "
            "copy; `dvc remote add --default NAME s3://BUCKET/FOLDER` (or a folder)",
            soft_wrap=True,
        )
    else:
        out.print(f"pushed to the remote {escape(remote)}")


@contextmanager
def _progress() -> Iterator[Tell]:
    """A bar on a terminal, for whatever is at work; nothing elsewhere."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bars:
        task = bars.add_task("reading", total=None, count="")

        def tell(what: str, done: float, total: float | None) -> None:
            count = f"{done:,.0f}" if done else ""
            bars.update(task, description=what, completed=done, total=total, count=count)

        yield tell
