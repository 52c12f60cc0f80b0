"""What Traefik is told about a route. Pure: `TraefikGateway` writes it, and checks that it arrived.

one backend takes everything     router ─▶ strip, retry ─▶ stable
the traffic is split             router ─▶ strip ─▶ failover ─▶ weighted ─▶ backends
                                                      └─ on 5xx ─▶ retry ─▶ stable--fallback
requests are copied              router ─▶ strip ─▶ mirroring ─▶ retry ─▶ stable
                                                      └─ copies ─▶ in flight ≤ 100 ─▶ backend
too large, or of unknown length  router ─▶ strip ─▶ retry ─▶ stable--fallback
`X-Andon-Version` names one      router ─▶ strip ─▶ that backend, and no other

Traefik counts by the name of the last service. So `stable--fallback` is a second name for the
stable backend's address: what it answers in another's place is not counted as its own.
"""

from __future__ import annotations

from typing import Any

from andon.adapters import traefik_headersplit as headersplit
from andon.adapters.routes import FALLBACK, is_split, key, path_of
from andon.ports import Route

ENTRY_POINT = "web"
PIN_HEADER = "X-Andon-Version"

# Failover and mirroring allocate a buffer of their limit for every request, and failover answers
# 413 above it. So bodies are sorted by the digits of their length: many small buffers, few large
# ones, and what is larger, or does not say how large it is, skips the experiment and goes to the
# stable backend.
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

# Copies that wait for an answer at one time; more are dropped, uncounted. Without a limit a slow
# server would pile up 2 s of them. By this header, which no copied request has, all are of one
# source; by the default, the host, a client could invent sources.
COPIES = {"amount": 100, "sourceCriterion": {"requestHeaderName": PIN_HEADER}}

_PINNED, _MEASURED, _REST = 300, 200, 100


def dynamic_config(route: Route) -> dict[str, Any]:
    """The content of the route's file."""
    hashed = splits_by_header(route)
    return {
        "http": {
            "routers": _routers(route),
            "services": _services(route),
            "middlewares": {
                _strip(route): {"stripPrefix": {"prefixes": [_prefix(route)]}},
                _retry(route): {"retry": RETRY},
                **({_copies(route): {"inFlightReq": COPIES}} if route.mirrors else {}),
                **({_hash(route): headersplit.middleware(route, _key(route))} if hashed else {}),
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
    if _is_measured(route):
        rest = _router(route, unpinned, route.stable + FALLBACK, _REST)
    else:
        rest = _router(route, unpinned, route.stable, _REST, _retry(route))
    routers[_key(route)] = rest
    hashed = [_hash(route)] if splits_by_header(route) else []
    if _is_measured(route):
        for size, (low, high) in BODY_DIGITS.items():
            sized = f"HeaderRegexp(`Content-Length`, `^[0-9]{{{max(low, 1)},{high}}}$`)"
            if low == 0:
                sized = f"({sized} || Method(`GET`) || Method(`HEAD`))"
            if route.mirrors:  # labels are taken in once
                sized += f" && !Path(`{_prefix(route)}/feedback`)"
            routers[f"{_key(route)}--{size}"] = _router(
                route, f"{unpinned} && {sized}", f"{_key(route)}--{size}", _MEASURED, *hashed
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
    if _is_measured(route):
        # A retry in a router would come too late behind a failover or a mirroring: it would find
        # that the request's body was read already.
        again = {"middlewares": [_retry(route)]}
        services[route.stable + FALLBACK] = _load_balancer(route, route.stable) | again
    if is_split(route):
        services |= _split(route)
    elif route.mirrors:
        services |= _mirrored(route)
    return services


def _split(route: Route) -> dict[str, Any]:
    # A backend with weight 0 must not be listed, nor the list have a health check of its own:
    # Traefik 3.7 would look for ever for a server that is up among those with a weight.
    weights = [{"name": n, "weight": w} for n, w in route.weights.items() if w > 0]
    weighted: dict[str, Any] = {"services": weights}
    if route.sticky or route.sticky_header:
        # Of this path alone: models of one host must not overwrite each other's cookies.
        name = route.sticky or headersplit.COOKIE
        cookie = {"name": name, "httpOnly": True, "sameSite": "lax", "path": _prefix(route)}
        # Without a cookie of its own a client that does not send the header is not to keep one.
        weighted["sticky"] = {"cookie": cookie | ({} if route.sticky else {"maxAge": -1})}
    services: dict[str, Any] = {f"{_key(route)}--split": {"weighted": weighted}}
    for size, (_, digits) in BODY_DIGITS.items():
        services[f"{_key(route)}--{size}"] = {
            "failover": {
                "service": f"{_key(route)}--split",
                "fallback": route.stable + FALLBACK,
                "errors": {"status": ["500-504"], "maxRequestBodyBytes": 10**digits},
            }
        }
    return services


def _mirrored(route: Route) -> dict[str, Any]:
    """Copies are sent once the client has its answer; nobody reads theirs."""
    services = {
        f"{_key(route)}--main": _behind(route.stable, _retry(route)),
        **{f"{name}--copies": _behind(name, _copies(route)) for name in route.mirrors},
    }
    mirrors = [{"name": f"{name}--copies", "percent": it} for name, it in route.mirrors.items()]
    for size, (_, digits) in BODY_DIGITS.items():
        services[f"{_key(route)}--{size}"] = {
            "mirroring": {
                "service": f"{_key(route)}--main",
                "mirrors": mirrors,
                "maxBodySize": 10**digits,
            }
        }
    return services


def _behind(name: str, middleware: str) -> dict[str, Any]:
    """A backend behind a middleware that its other ways in do not have; counted under its name."""
    return {
        "weighted": {"services": [{"name": name, "weight": 1}]}, "middlewares": [middleware],
    }  # fmt: skip


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


def splits_by_header(route: Route) -> bool:
    """Whether the route needs Traefik's plugin."""
    return bool(route.sticky_header) and is_split(route)


def _is_measured(route: Route) -> bool:
    """Whether requests are sorted by size: those that take part, and the rest."""
    return is_split(route) or bool(route.mirrors)


def _key(route: Route) -> str:
    return key(route.environment, route.model)


def _prefix(route: Route) -> str:
    return path_of(route.environment, route.model)


def _strip(route: Route) -> str:
    return f"{_key(route)}--strip"


def _retry(route: Route) -> str:
    return f"{_key(route)}--retry"


def _hash(route: Route) -> str:
    return f"{_key(route)}--hash"


def _copies(route: Route) -> str:
    return f"{_key(route)}--copies"
