"""What is right about a route, whatever gateway it is for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from andon.errors import GatewayError
from andon.ports import Route

FALLBACK = "--fallback"  # ends the second name of a server that stands in for another
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_COOKIE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")


def key(environment: str, model: str) -> str:
    """The name of a route's file, and the first part of the names in it.

    Raises GatewayError for a name that cannot be part of a path or of a rule.
    """
    for what, name in (("environment", environment), ("model", model)):
        if not _NAME.fullmatch(name) or "--" in name:
            raise GatewayError(
                f"{what}: found {name!r}, allowed are letters, digits, '.', '_' and single '-'"
            )
    return f"{environment}--{model}"


def path_of(environment: str, model: str) -> str:
    """Where clients find the model."""
    return f"/{environment}/{model}"


def check(route: Route, others: Iterable[Route] = ()) -> None:
    """Raises GatewayError with everything that is wrong with the route, alone and among others."""
    name = key(route.environment, route.model)
    problems = [*_problems(route)]
    for other in others:
        owner = key(other.environment, other.model)
        for shared in sorted(set(route.backends) & set(other.backends)):
            if owner != name:
                problems.append(f"backend {shared!r} belongs to {owner} already")
    if problems:
        raise GatewayError(f"route of {name}: {'; '.join(problems)}")


def _problems(route: Route) -> Iterator[str]:
    known = ", ".join(sorted(route.backends)) or "none"
    if route.stable not in route.backends:
        yield f"stable: found {route.stable!r}, the backends are {known}"
    for field, names in (("weights", route.weights), ("versions", route.versions)):
        for name in sorted(set(names) - set(route.backends)):
            yield f"{field}: {name!r} is no backend, the backends are {known}"
    if sum(route.weights.values()) != 100 or min(route.weights.values(), default=0) < 0:
        yield f"weights: found {route.weights}, they must be 0 or more and sum to 100"
    if len(set(route.versions.values())) != len(route.versions):
        yield f"versions: found {route.versions}, each may be named once"
    yield from _problems_of_names(route)
    yield from _problems_of_mirrors(route)


def _problems_of_names(route: Route) -> Iterator[str]:
    for name in (*route.backends, *route.versions.values()):
        if not _NAME.fullmatch(name):
            yield f"name {name!r}: allowed are letters, digits, '.', '_' and '-'"
        elif name.endswith(FALLBACK):
            yield f"name {name!r}: must not end in {FALLBACK}"
    for name, url in route.backends.items():
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or re.search(r"[\s{}`]", url):
            yield f"backend {name!r}: found {url!r}, expected http://HOST:PORT"
    if route.sticky and not _COOKIE.fullmatch(route.sticky):
        yield f"sticky: found {route.sticky!r}, allowed are 64 letters, digits, '_' and '-'"
    if route.sticky_header and not _HEADER.fullmatch(route.sticky_header):
        found = route.sticky_header
        yield f"sticky_header: found {found!r}, allowed are 64 letters, digits and '-'"


def _problems_of_mirrors(route: Route) -> Iterator[str]:
    for name, percent in sorted(route.mirrors.items()):
        if name not in route.backends or name == route.stable:
            others = ", ".join(sorted(set(route.backends) - {route.stable})) or "none"
            yield f"mirrors: found {name!r}, the backends besides the stable one are {others}"
        if not 1 <= percent <= 100:
            yield f"mirrors: found {percent} % for {name!r}, expected 1 to 100"
    if route.mirrors and is_split(route):
        yield "mirrors: only while all requests go to the stable backend, found weights too"


def is_split(route: Route) -> bool:
    """Whether another backend than the stable one gets requests."""
    return any(weight > 0 for name, weight in route.weights.items() if name != route.stable)
