"""`andon rollback`, `abort`, `pause`, `resume`, `approve`: a person's word on a release.

They act at once and in this process; Prefect and its worker may be down. Imports stay light, since
who rolls back waits for them.
"""

from __future__ import annotations

import getpass
import inspect
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from andon.adapters.ledger import Release
    from deployments.parts import Parts
    from deployments.steering import Asked

out = Console(highlight=False)
Model = Annotated[str, typer.Argument(help="A model project: a folder under models/.")]
In = Annotated[str, typer.Option("--environment", "-e", help="An environment of andon.yaml.")]
By = Annotated[str, typer.Option("--by", help="Who says so, for the ledger; default: $USER.")]
Note = Annotated[str, typer.Option("--note", help="Why, for the ledger.")]
PRODUCTION = "production"


def rollback(
    model: Model,
    to: Annotated[str, typer.Option(help="A version; default: see above.")] = "",
    environment: In = PRODUCTION,
    by: By = "",
) -> None:
    """Return to an earlier version at once: without steps, without gates, without a question.

    Without --to: while a release is in progress it ends, and the champion has all the traffic
    again; else the version that served before the champion comes back. Called again, it goes
    further back. A version that the release plan keeps warm is back in about a second; another one
    has to be started first. The version that is left finishes its requests, and is stopped.

    It works while Prefect, its worker and MLflow are down: it needs the ledger, the supervisor and
    the gateway. A version can come back if it served there before and its bundle is kept. To go
    forward again: `andon release`, without steps within the plan's rollback_window.
    """
    import psutil

    from deployments import steering

    found, asked = _asked(model, environment, by)
    steering.roll_back(found, out, asked, to, psutil.Process().create_time())


def abort(model: Model, environment: In = PRODUCTION, by: By = "", note: Note = "") -> None:
    """End the release in progress: the champion has all the traffic again, at once."""
    from deployments import steering

    _say(steering.abort, model, environment, by, note)


def pause(model: Model, environment: In = PRODUCTION, by: By = "", note: Note = "") -> None:
    """Hold the release in progress at its step; it is watched, and rolled back if a check fails.

    It goes on with `andon resume`, and is rolled back after the plan's pause_within.
    """
    from deployments import steering

    _say(steering.pause, model, environment, by, note)


def resume(model: Model, environment: In = PRODUCTION, by: By = "", note: Note = "") -> None:
    """Go on with a paused release: its step begins again."""
    from deployments import steering

    _say(steering.resume, model, environment, by, note)


def approve(
    model: Model,
    environment: In = PRODUCTION,
    by: By = "",
    reject: Annotated[bool, typer.Option("--reject", help="Say no: it is rolled back.")] = False,
    note: Note = "",
) -> None:
    """Say yes, or no, to the approval that a release waits for; who and when go to the ledger."""
    from deployments import steering

    def answer(found: Parts, to: Console, asked: Asked) -> Release:
        return steering.answer(found, to, asked, approved=not reject)

    _say(answer, model, environment, by, note)


COMMANDS = (rollback, abort, pause, resume, approve)


def told(command: Callable[..., None]) -> str:
    """A command's help: its docstring, with paragraphs that the terminal may break anew."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(it.split()) for it in paragraphs)


def _say(
    word: Callable[[Parts, Console, Asked], Release],
    model: str,
    environment: str,
    by: str,
    note: str,
) -> None:
    from deployments.views import block, look

    found, asked = _asked(model, environment, by, note)
    out.print(block(look(found, word(found, out, asked))))


def _asked(model: str, environment: str, by: str, note: str = "") -> tuple[Parts, Asked]:
    from deployments.parts import parts
    from deployments.steering import Asked

    asked = Asked(model, environment, by or user(), note)
    found = parts()
    found.demand(model, environment)
    return found, asked


def user() -> str:
    """Who is at the terminal; empty if that has no name."""
    try:
        return os.environ.get("USER") or getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return ""
