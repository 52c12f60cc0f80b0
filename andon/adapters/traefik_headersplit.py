"""Splitting by a header's hash: what Traefik's plugin `headersplit` is told, and will do. Pure."""

from __future__ import annotations

import hashlib
from typing import Any

from andon.ports import Route

PLUGIN = "headersplit"
PROBE = "andon-headersplit"  # a router of the platform's own: enabled if the plugin was loaded
COOKIE = "andon-split"  # between the plugin and Traefik's split, where a route has no cookie


def middleware(route: Route, salt: str) -> dict[str, Any]:
    """The plugin's configuration; Traefik tells numbers of plugins as text."""
    shares = [{"cookie": _cookie(name), "weight": str(it)} for name, it in _shares(route)]
    return {
        "plugin": {
            PLUGIN: {
                "header": route.sticky_header,
                "cookie": route.sticky or COOKIE,
                "salt": salt,
                "shares": shares,
            }
        }
    }


def version_of(route: Route, salt: str, value: str) -> str:
    """The server that a value of the header belongs to: FNV-1a of salt and value, modulo 100.

    Those before the stable one take the values from 0 up, so who is with the candidate stays with
    it while its weight grows.
    """
    point = _fnv1a((salt + value).encode()) % 100
    for name, weight in _shares(route):
        if point < weight:
            return name
        point -= weight
    raise ValueError(f"weights: found {route.weights}, expected a sum of 100")


def _shares(route: Route) -> list[tuple[str, int]]:
    with_traffic = [(name, it) for name, it in route.weights.items() if it > 0]
    return sorted(with_traffic, key=lambda it: (it[0] == route.stable, it[0]))


def _cookie(name: str) -> str:
    """As Traefik names a service in a cookie."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _fnv1a(data: bytes) -> int:
    """http://www.isthe.com/chongo/tech/comp/fnv/, 32 bits."""
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 % 2**32
    return value
