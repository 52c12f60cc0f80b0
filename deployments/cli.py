"""The `andon` command: what one does all day. Each run starts the same flow run as the UI's."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from andon.adapters.files import load_settings, model_names
from andon.errors import LineError
from deployments import release_cli
from deployments.data_cli import data
from deployments.expectations_cli import app as expectations_app
from deployments.incidents_cli import incidents as incidents_app
from deployments.notify_cli import notify

app = typer.Typer(
    help="A delivery line for machine-learning models: a commit goes in, live traffic comes out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(expectations_app, name="expectations")
app.add_typer(data, name="data")
app.add_typer(incidents_app, name="incidents")
app.add_typer(notify, name="notify")
out = Console(highlight=False)
Model = Annotated[str, typer.Argument(help="A model project: a folder under models/.")]
Detach = Annotated[bool, typer.Option("--detach", help="Start the run and do not wait for it.")]
In = Annotated[str, typer.Option("--environment", "-e", help="An environment of andon.yaml.")]


@app.command()
def up() -> None:
    """Start the local platform, or mend what is down, and apply prefect.yaml."""
    from deployments.start import start

    start(load_settings(), out)


@app.command()
def down() -> None:
    """Stop everything, prediction servers too. The state stays; `andon up` brings it back."""
    from deployments.platform.up import down as stop

    stop(load_settings(), lambda what, _: out.print(f"[dim]{what}[/dim]"))


@app.command()
def deliver(model: Model, detach: Detach = False) -> None:
    """Bring a model from its data to live traffic."""
    _run("deliver", {"model": model}, detach)


@app.command()
def release(
    model: Model,
    version: Annotated[str, typer.Argument(help="A registered version.")],
    environment: In = "production",
    detach: Detach = False,
) -> None:
    """Bring a registered version through an environment's release plan."""
    _run("release", {"model": model, "version": version, "environment": environment}, detach)


@app.command()
def monitor(model: Model, environment: In = "production", detach: Detach = False) -> None:
    """Judge the latest live traffic; raises alerts, or closes incidents."""
    _run("monitor", {"model": model, "environment": environment}, detach)


@app.command()
def probe(model: Model, environment: In = "production", detach: Detach = False) -> None:
    """Ask what serves for known answers, read what it uses; raises alerts, or closes incidents."""
    _run("probe", {"model": model, "environment": environment}, detach)


@app.command()
def retrain(model: Model, detach: Detach = False) -> None:
    """Build a challenger on labelled live rows and deliver it."""
    _run("retrain", {"model": model}, detach)


for command in release_cli.COMMANDS:
    app.command(help=release_cli.told(command))(command)


@app.command()
def status(
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on showing it, every second, until Ctrl-C.")
    ] = False,
) -> None:
    """Show what serves where: slots, versions, traffic, health, verdicts; each release at work."""
    from deployments.parts import parts

    if watch:
        from deployments.watch import watch as go_on

        go_on(parts(), out)
        return
    from deployments.show import incidents, places, platform, undelivered

    settings = load_settings()
    platform(settings, out)
    found = parts()
    places(out, found)
    incidents(out, found)
    undelivered(out, found)


@app.command()
def history(
    model: Model,
    environment: In = "production",
    at: Annotated[str, typer.Option(help="A time (ISO 8601; UTC if it has no zone).")] = "",
    release: Annotated[
        int, typer.Option("--release", help="A release's number: all of its states.")
    ] = 0,
) -> None:
    """Show what served when, and why: every release, its lineage, verdicts, and who said what."""
    from deployments.parts import parts
    from deployments.show import one_release, releases, served_at

    if model not in model_names(load_settings().project):
        known = ", ".join(model_names(load_settings().project))
        raise LineError(f"no model project {model!r} under models/; there are: {known}")
    if at:
        served_at(out, parts(), model, environment, _time(at))
    elif release:
        one_release(out, parts(), model, release)
    else:
        releases(out, parts(), model)


@app.command()
def demo() -> None:
    """Run the whole line once, on real input, and check that all of it happened."""
    from deployments.demo import run

    raise typer.Exit(run(load_settings(), out))


def _time(text: str) -> float:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise LineError(f"--at: found {text!r}, expected a time like 2026-11-23T10:00") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _run(flow: str, parameters: dict[str, Any], detach: bool) -> None:
    from deployments.progress import follow
    from deployments.runs import Runs

    settings = load_settings()
    known = model_names(settings.project)
    if parameters["model"] not in known:
        raise LineError(
            f"no model project {parameters['model']!r} under models/; there are: {', '.join(known)}"
        )
    runs = Runs(settings)
    trigger = f"{os.environ.get('USER') or 'somebody'}, andon {flow}"
    run_id = runs.start(flow, {**parameters, "trigger": trigger})
    out.print(f"{flow} {parameters['model']}: {runs.link(run_id)}")
    if not detach and not follow(runs, run_id, out):
        raise typer.Exit(1)


def main() -> None:
    """Errors for people are one message and exit status 1, never a traceback."""
    try:
        app()
    except LineError as error:
        text = f"[bold red]error[/bold red] {escape(str(error))}"
        Console(stderr=True, highlight=False).print(text, soft_wrap=True)
        sys.exit(1)
