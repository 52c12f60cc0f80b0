"""From nothing to a platform that can deliver."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape

from andon.adapters import database
from andon.adapters.driver import MENDED
from andon.adapters.ledger import open_ledger
from andon.adapters.local import local_driver
from andon.errors import LineError
from andon.settings import Settings
from deployments.apply import apply
from deployments.platform.up import up


def start(settings: Settings, out: Console) -> None:
    """Start the platform, apply `prefect.yaml`, migrate the ledger, restore what served."""
    with out.status("starting the platform") as spinner:

        def report(what: str, _: float | None) -> None:
            spinner.update(what)
            out.print(f"[dim]  {what}[/dim]")

        up(settings, report)
        spinner.update("applying prefect.yaml")
        if apply(settings):
            out.print("[dim]  applied prefect.yaml[/dim]")
        _restore(settings, out)
    out.print(f"Prefect  http://127.0.0.1:{settings.prefect_port}")
    out.print(f"MLflow   {settings.registry_url}")
    out.print(f"gateway  {settings.gateway_url}/<environment>/<model>/predict")


def _restore(settings: Settings, out: Console) -> None:
    """What served before serves again, on the ports and with the weights of the ledger."""
    ledger = open_ledger(database.url(settings, "ledger"))
    driver = local_driver(settings, ledger)
    for environment, model in ledger.places():
        if environment not in settings.environments:
            continue
        try:
            told = driver.restore(environment, model)
            if MENDED in told:
                out.print(f"[yellow]  {environment}/{model}: {escape(told)}[/yellow]")
        except LineError as error:
            out.print(f"[red]  {environment}/{model} could not be restored: {error}[/red]")
    ledger.engine.dispose()
