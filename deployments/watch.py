"""`andon status --watch`: what serves and every release at work, again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from andon.adapters.ledger import Release
from andon.errors import PlatformError, first_line
from deployments.parts import Parts, Place
from deployments.show import live, warnings
from deployments.views import View, block, clock, look

SECONDS = 1.0
Show = Callable[[RenderableType, object], None]


class Frames:
    """One picture after the other; a release that ends while we watch stays in it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._since = parts.ledger.clock()
        self._last: RenderableType = Text("")
        self._silent: float | None = None

    def next(self) -> tuple[RenderableType, object]:
        """The picture of this moment, and what it depends on besides the time."""
        try:
            self._last, key = self._picture()
        except (sa.exc.DBAPIError, PlatformError) as error:
            self._silent = self._silent or time.time()
            why = first_line(getattr(error, "orig", None) or error)
            said = f"! the ledger's database does not answer since {clock(self._silent)} UTC"
            return Group(
                self._last, Text(f"{said} ({why}); trying again", "bold red")
            ), self._silent
        self._silent = None
        return self._last, key

    def _picture(self) -> tuple[RenderableType, object]:
        now, shown = self._parts.ledger.clock(), self._parts.places()
        if not shown:
            return Text("nothing is delivered yet: `andon deliver MODEL`"), None
        views = [look(self._parts, it) for it in self._releases(shown)]
        said = warnings(self._parts, shown)
        blocks = [it for view in views for it in (Text(), block(view))]
        none = [] if any(not it.release.rollout.ended for it in views) else [_nothing(now)]
        key = ([_essence(it) for it in shown], [_of(it) for it in views], said.plain)
        return Group(live(shown, now), said, *blocks, *none), key

    def _releases(self, shown: list[Place]) -> Iterator[Release]:
        """What is at work, or has ended since we watch."""
        for environment, model in dict.fromkeys((it.environment, it.model) for it in shown):
            for it in self._parts.ledger.releases(model, environment, limit=1):
                if it.ended_at is None or it.ended_at > self._since:
                    yield it


def _nothing(now: float) -> Text:
    return Text(f"no release is in progress ({clock(now)} UTC)", "dim")


def _essence(place: Place) -> tuple[str, ...]:
    return place.slot, place.version, place.traffic, place.health


def _of(view: View) -> tuple[object, ...]:
    """What changes in a release besides its time."""
    checks = tuple((it.check, it.outcome, it.at) for it in view.verdicts)
    return view.release.seq, view.release.revision, f"{view.route}", checks


def watch(parts: Parts, out: Console, sleep: Callable[[float], None] = time.sleep) -> None:
    """Show it until Ctrl-C; on what is no terminal, a picture each time something has changed.

    A database that goes away is told, and waited for.
    """
    frames = Frames(parts)
    with suppress(KeyboardInterrupt), _shower(out) as show:
        while True:
            show(*frames.next())
            sleep(SECONDS)


@contextmanager
def _shower(out: Console) -> Iterator[Show]:
    if out.is_terminal:
        with Live(console=out, auto_refresh=False) as screen:
            yield lambda picture, _: screen.update(picture, refresh=True)
        return
    seen: list[object] = []

    def show(picture: RenderableType, key: object) -> None:
        if [key] != seen[-1:]:
            seen[:] = [key]
            out.print(f"--- {clock(time.time())} UTC", picture, sep="\n")
            out.file.flush()

    yield show
