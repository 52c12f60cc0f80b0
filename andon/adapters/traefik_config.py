"""What Traefik is told about a route. Pure: `TraefikGateway` writes it, and checks that it arrived.

one backend takes everything     router ─▶ strip, retry ─▶ stable
the traffic is split             router ─▶ strip ─▶ failover to stable ─▶ weighted ─▶ backends
`X-Andon-Version` names one      router ─▶ strip ─▶ that backend, and no other
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from andon.errors import GatewayError
from andon.ports import Route

ENTRY_POINT = "web"
PIN_HEADER = "X-Andon-Version"

# Failover allocates a buffer of its limit for every request and answers 413 above it. So bodies
# are sorted by the digits of their length: many small buffers, few large ones, and what is larger,
# or does not say how large it is, skips the experiment and goes to the stable backend.
BODY_DIGITS = {"small": (0, 5), "large": (6, 6)}

# The stable backend is the last resort: better a late answer than none. Another backend has
# somebody to stand in for it, so a client need not wait for one that hangs.
PATIENT = {"dialTimeout": "1s", "responseHeaderTimeout": "60s"}
IMPATIENT = {"dialTimeout": "300ms", "responseHeaderTimeout": "2s"}
# Far shorter than a prediction server's own keep-alive (120 s): whoever closes an idle connection
# must be the gateway, else a request can be lost on one that was just closed.
IDLE = "30s"

# A stable backend that is being restarted refuses connections: requests wait for it, about 4 s in
# all. Traefik repeats only what never reached the server, so nothing is predicted twice.
RETRY = {"attempts": 12, "initialInterval": "250ms"}
HEALTH_CHECK = {
    "path": "/healthz", "interval": "1s", "unhealthyInterval": "500ms", "timeout": "2s",
}  # fmt: skip

_PINNED, _MEASURED, _REST = 300, 200, 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


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
    for name in (*route.backends, *route.versions.values()):
        if not _NAME.fullmatch(name):
            yield f"name {name!r}: allowed are letters, digits, '.', '_' and '-'"
    for name, url in route.backends.items():
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or re.search(r"[\s{}`]", url):
            yield f"backend {name!r}: found {url!r}, expected http://HOST:PORT"


def dynamic_config(route: Route) -> dict[str, Any]:
    """The content of the route's file."""
    return {
        "http": {
            "routers": _routers(route),
            "services": _services(route),
            "middlewares": {
                _strip(route): {"stripPrefix": {"prefixes": [_prefix(route)]}},
                _retry(route): {"retry": RETRY},
            },
            "serversTransports": {
                f"{_key(route)}--{name}": {
                    "maxIdleConnsPerHost": 256,
                    "forwardingTimeouts": {**timeouts, "idleConnTimeout": IDLE},
                }
                for name, timeouts in (("patient", PATIENT), ("impatient", IMPATIENT))
            },
        }
    }


def _routers(route: Route) -> dict[str, Any]:
    path = f"(Path(`{_prefix(route)}`) || PathPrefix(`{_prefix(route)}/`))"
    # A version that is not here must not be answered by another: no router, so 404.
    unpinned = f"{path} && !HeaderRegexp(`{PIN_HEADER}`, `.+`)"
    routers = {
        f"{_key(route)}--pin-{version}": _router(
            route, f"{path} && Header(`{PIN_HEADER}`, `{version}`)", name, _PINNED
        )
        for name, version in route.versions.items()
    }
    # Only here: behind a failover a second attempt would find the request's body read already.
    routers[_key(route)] = _router(route, unpinned, route.stable, _REST, _retry(route))
    if _is_split(route):
        for size, (low, high) in BODY_DIGITS.items():
            sized = f"HeaderRegexp(`Content-Length`, `^[0-9]{{{max(low, 1)},{high}}}$`)"
            if low == 0:
                sized = f"({sized} || Method(`GET`) || Method(`HEAD`))"
            routers[f"{_key(route)}--{size}"] = _router(
                route, f"{unpinned} && {sized}", f"{_key(route)}--{size}", _MEASURED
            )
    return routers


def _router(
    route: Route, rule: str, service: str, priority: int, *middlewares: str
) -> dict[str, Any]:
    return {
        "rule": rule, "service": service, "priority": priority, "entryPoints": [ENTRY_POINT],
        "middlewares": [_strip(route), *middlewares],
    }  # fmt: skip


def _services(route: Route) -> dict[str, Any]:
    services = {name: _load_balancer(route, name) for name in route.backends}
    if _is_split(route):
        # A backend with weight 0 must not be listed, nor the list have a health check of its own:
        # Traefik 3.7 would look for ever for a server that is up among those with a weight.
        weights = [{"name": n, "weight": w} for n, w in route.weights.items() if w > 0]
        services[f"{_key(route)}--split"] = {"weighted": {"services": weights}}
        for size, (_, digits) in BODY_DIGITS.items():
            services[f"{_key(route)}--{size}"] = {
                "failover": {
                    "service": f"{_key(route)}--split",
                    "fallback": route.stable,
                    "errors": {"status": ["500-504"], "maxRequestBodyBytes": 10**digits},
                }
            }
    return services


def _load_balancer(route: Route, name: str) -> dict[str, Any]:
    """The service is named after the server, so that Traefik's metrics are.

    Only a backend that has a stand-in is taken out when its health check fails; for the stable one
    that would turn "maybe" into "no".
    """
    is_stable = name == route.stable
    balancer = {
        "servers": [{"url": route.backends[name]}],
        "serversTransport": f"{_key(route)}--{'patient' if is_stable else 'impatient'}",
        "passHostHeader": True,
    }
    return {"loadBalancer": balancer | ({} if is_stable else {"healthCheck": HEALTH_CHECK})}


def _is_split(route: Route) -> bool:
    return any(weight > 0 for name, weight in route.weights.items() if name != route.stable)


def _key(route: Route) -> str:
    return key(route.environment, route.model)


def _prefix(route: Route) -> str:
    return f"/{route.environment}/{route.model}"


def _strip(route: Route) -> str:
    return f"{_key(route)}--strip"


def _retry(route: Route) -> str:
    return f"{_key(route)}--retry"
