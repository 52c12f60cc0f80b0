"""Messages on incidents: whom they go to, when, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from andon.spec import Severity
from andon.spec.notify import Quiet, Route

Kind = Literal["opened", "update", "clear"]
RETRY_SECONDS, LONGEST_RETRY = 60.0, 3_600.0
LONGEST = 1_500  # letters of a message: some services take no more
_ORDER: tuple[Severity, ...] = get_args(Severity)
_TITLES = {"opened": "Incident", "update": "Update", "clear": "All clear"}


@dataclass(frozen=True)
class About:
    """The incident that a message is about; `opened_at` in epoch seconds."""

    incident: str
    model: str
    environment: str
    severity: str
    opened_at: float


def wants(route: Route, about: About) -> bool:
    """Whether a route is told of an incident."""
    return (
        _ORDER.index(_severity(about)) >= _ORDER.index(route.severity)
        and (not route.models or about.model in route.models)
        and (not route.environments or about.environment in route.environments)
    )


def _severity(about: About) -> Severity:
    return next((it for it in _ORDER if it == about.severity), "warning")


def due(route: Route, about: About, now: float) -> float:
    """When a message may be sent (epoch seconds): now, or at the end of the quiet hours."""
    quiet = route.quiet
    if quiet is None or (quiet.critical and _severity(about) == "critical"):
        return now
    return quiet_until(quiet, now)


def quiet_until(quiet: Quiet, now: float) -> float:
    """The end of the quiet hours that hold now; now, if none do.

    Hours are those of the wall clock, also on days on which that is put forward or back.
    """
    here = datetime.fromtimestamp(now, ZoneInfo(quiet.zone))
    clock, over_midnight = here.time(), quiet.begin > quiet.end
    inside = (
        clock >= quiet.begin or clock < quiet.end
        if over_midnight
        else quiet.begin <= clock < quiet.end
    )
    if not inside:
        return now
    day = here.date() + timedelta(days=over_midnight and clock >= quiet.begin)
    end = datetime.combine(day, quiet.end, ZoneInfo(quiet.zone))
    return max(now, end.astimezone(UTC).timestamp())


def retry_in(attempts: int) -> float:
    """Seconds until the next attempt: twice as long each time, an hour at most."""
    return float(min(RETRY_SECONDS * 2 ** min(attempts, 16), LONGEST_RETRY))


def title(about: About, kind: str) -> str:
    """One line."""
    place = f"{about.model} in {about.environment}"
    return f"{_TITLES.get(kind, 'Update')}: {place} ({_severity(about)})"


def body(about: About, messages: Sequence[tuple[float, str]], address: str) -> str:
    """What happened, by time; several messages that waited are one."""
    lines = [f"{moment(at)}: {_short(what)}" for at, what in messages]
    lines += [
        "",
        f"Incident {about.incident}, open since {moment(about.opened_at)}.",
        f"All of it: andon incidents show {about.incident}",
        f"What is live: {address}",
    ]
    return "\n".join(lines)


def moment(epoch: float) -> str:
    """A time for people."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _short(what: str) -> str:
    return what if len(what) <= LONGEST else f"{what[: LONGEST - 1]}…"
