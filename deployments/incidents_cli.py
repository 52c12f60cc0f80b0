"""`andon incidents`: what is open, the story of one, and a person's word on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from andon.errors import LineError
from deployments.release_cli import By, Note, user

if TYPE_CHECKING:
    from andon.adapters.ledger import Incident, Ledger


class OrList(TyperGroup):
    """Without a command of its own it lists."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """`andon incidents churn` is `andon incidents list churn`."""
        known = {*self.commands, *ctx.help_option_names}
        given = args if args and args[0] in known else ["list", *args]
        left: list[str] = super().parse_args(ctx, given)
        return left


incidents = typer.Typer(
    help="Incidents: which are open, the story of one, and your word on it.", cls=OrList
)
out = Console(highlight=False)
Id = Annotated[str, typer.Argument(help="An incident's id, as `andon incidents list` shows it.")]


@incidents.command(name="list")
def list_(
    model: Annotated[str, typer.Argument(help="Of this model only.")] = "",
    closed: Annotated[bool, typer.Option("--all", help="Those that are closed, too.")] = False,
) -> None:
    """Show the incidents that are open, the oldest first; `list` may be left out."""
    from deployments.incidents_show import table

    ledger = _ledger()
    known = list(ledger.models())
    if model and model not in known:
        raise LineError(f"no run of a model {model!r} yet; there are: {', '.join(known) or 'none'}")
    found = [it for name in ([model] if model else known) for it in ledger.incidents(name)]
    shown = [it for it in found if closed or it.state != "closed"]
    if not shown:
        more = f"; {len(found)} closed: --all" if found and not closed else ""
        out.print(f"no incident {'at all' if closed else 'is open'}{more}")
        return
    out.print(table(sorted(shown, key=lambda it: it.opened_at)))


@incidents.command()
def show(incident: Id) -> None:
    """Tell the whole story: signal, decision, run, release and all-clear, with times."""
    from deployments.incidents_show import tell

    ledger = _ledger()
    tell(out, ledger, _known(ledger, incident))


@incidents.command()
def look(incident: Id, by: By = "", note: Note = "") -> None:
    """Say that you have looked: what waited for a person may go on, and be retrained again."""
    ledger = _ledger()
    before = _known(ledger, incident)
    found = ledger.look(before.id, _who(by), note)
    changed = f"{before.state} → {found.state}" if before.state != found.state else found.state
    out.print(f"{found.id}: {changed}; {escape(found.story[-1][1])}")


@incidents.command()
def close(
    incident: Id,
    by: By = "",
    note: Annotated[str, typer.Option("--note", help="Why it is over, for the ledger.")] = "",
) -> None:
    """Say that it is over; a monitor that still fails opens another one."""
    if not note.strip():
        raise LineError("--note: say why it is over: the story is read by others")
    ledger = _ledger()
    found = ledger.close(_known(ledger, incident).id, _who(by), note)
    out.print(f"{found.id}: closed; {escape(found.story[-1][1])}")


def _ledger() -> Ledger:
    from andon.adapters import database
    from andon.adapters.files import load_settings
    from andon.adapters.ledger import open_ledger

    return open_ledger(database.url(load_settings(), "ledger"))


def _known(ledger: Ledger, incident: str) -> Incident:
    """By its id, or by how it begins if that is enough; raises LineError."""
    ids = [it.id for name in ledger.models() for it in ledger.incidents(name)]
    found = [it for it in ids if it == incident] or [it for it in ids if it.startswith(incident)]
    if len(found) == 1:
        return ledger.incident(found[0])
    if found:
        raise LineError(f"{incident!r} begins {len(found)} ids: {', '.join(found[:5])}")
    hint = f"the latest: {', '.join(ids[-5:])}" if ids else "there is none yet"
    raise LineError(f"the ledger knows no incident {incident!r}; {hint}")


def _who(by: str) -> str:
    who = by or user()
    if not who:
        raise LineError("--by: who says so? $USER is not set")
    return who
