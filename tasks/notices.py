"""Messages on incidents go out: by Prefect's notification blocks, at least once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import groupby
from typing import Any

from prefect import get_run_logger

from andon.adapters.files import load_settings
from andon.adapters.ledger import Ledger, Notice
from andon.errors import LineError
from andon.notices import About, body, due, retry_in, title, wants
from andon.settings import Settings
from andon.spec.notify import Route
from tasks.line import ledger_of, station


@station()
def send_notices() -> dict[str, str]:
    """Address what is new, and send what is due; what fails is kept, told and tried again."""
    settings = load_settings()
    ledger, log = ledger_of(settings), get_run_logger()
    _address(settings, ledger)
    done = {}
    routes = {it.name: it for it in settings.notify}
    waiting = sorted(ledger.waiting(), key=lambda it: (it.route, it.incident, it.at))
    for (name, incident), group in groupby(waiting, key=lambda it: (it.route, it.incident)):
        notices = list(group)
        if notices[0].due > time.time():
            continue  # later ones of this incident wait with it: they come in order
        error = _send(settings, ledger, routes.get(name), notices)
        done[f"{incident} to {name}"] = error or "sent"
        if error:
            log.warning("incident %s was not told to %s: %s", incident, name, error)
    return done


def _address(settings: Settings, ledger: Ledger) -> None:
    for notice in ledger.unaddressed():
        about = _about(ledger, notice)
        ledger.address(
            notice,
            [(it.name, due(it, about, notice.at)) for it in settings.notify if wants(it, about)],
        )


def _about(ledger: Ledger, notice: Notice) -> About:
    found = ledger.incident(notice.incident)
    severity = found.severity or "warning"
    return About(found.id, found.model, found.environment, severity, found.opened_at)


def _send(
    settings: Settings, ledger: Ledger, route: Route | None, notices: Sequence[Notice]
) -> str:
    """Send messages of one incident as one; "" or what went wrong."""
    ids = [it.id for it in notices]
    about = _about(ledger, notices[0])
    said = [(it.at, it.message) for it in notices]
    # That it opened is what is news, even if more has happened since.
    kinds = [it.kind for it in notices]
    kind = "clear" if kinds[-1] == "clear" else kinds[0]
    try:
        if route is None:
            raise LineError(f"andon.yaml has no route {notices[0].route!r} any more")
        say(route, title(about, kind), body(about, said, settings.pages_url))
    except Exception as error:  # of whatever service it is: nothing else may fail by it
        told = f"{type(error).__name__}: {error}"[:500]
        ledger.not_sent(ids, told, time.time() + retry_in(notices[0].attempts))
        return told
    ledger.sent(ids)
    return ""


def say(route: Route, subject: str, words: str) -> None:
    """By the route's block; raises whatever it does, and LineError if there is no such block."""
    from prefect.blocks.core import Block

    load: Any = Block.load  # its types do not know that it can be asked to wait
    try:
        block = load(route.block, _sync=True)
    except ValueError as error:
        raise LineError(f"Prefect has no block {route.block}: {error}") from None
    if not hasattr(block, "notify"):
        raise LineError(f"{route.block} is no notification block")
    # Else some of them only log what went wrong.
    loud = block.raise_on_failure() if hasattr(block, "raise_on_failure") else nullcontext()
    with loud:
        block.notify(words, subject, _sync=True)
