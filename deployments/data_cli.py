"""`andon data`: new data in, what there is, and what changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from andon.adapters.files import load_settings, load_spec
from andon.adapters.sources import Tell
from andon.errors import DataError, LineError

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
    added(project, spec, found, out)
    if push:
        _push(project, found.path)


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
            "copy; `dvc remote add --default NAME s3://BUCKET/FOLDER` (or a folder)"
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
