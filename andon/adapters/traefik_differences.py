"""In what Traefik, and the files that it watches, differ from a route that was applied."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from andon.adapters.traefik_metrics import PROVIDER

COOKIE = ("name", "path", "sameSite", "maxAge")
TOLD = 3  # differences of one file, or of one service: the rest is counted
KINDS = {"services": "service", "routers": "router", "middlewares": "middleware"}


def of_traefik(name: str, wanted: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """What Traefik still has to learn, or to forget, about the route of that name.

    `wanted`: the `http` section of its file. `found`: what Traefik's API says of all.
    """
    problems = []
    for kind, word in KINDS.items():
        expected = wanted.get(kind, {})
        actual = {n.removesuffix(PROVIDER): it for n, it in found.get(kind, {}).items()}
        for item, config in expected.items():
            problems += [f"Traefik, {word} {item}: {it}" for it in _of(config, actual.get(item))]
        for item in sorted(set(actual) - set(expected)):
            if item == name or item.startswith(f"{name}--"):
                problems.append(f"Traefik, {word} {item}: expected nothing, found it still there")
    return problems


def of_others(name: str, path: str, found: dict[str, Any]) -> list[str]:
    """Routers of others that answer for a route's path: what they take, it does not see."""
    paths = (f"`{path}`", f"`{path}/")
    return [
        f"Traefik, router {item}: answers for {path}, and is of somebody else"
        for item, router in found.get("routers", {}).items()
        if item.removesuffix(PROVIDER) != name
        and not item.startswith(f"{name}--")
        and any(it in router.get("rule", "") for it in paths)
    ]


def of_the_file(path: Path, wanted: dict[str, Any] | None) -> list[str]:
    """Somebody's hand in a watched file, also before Traefik has read it; None: must be absent."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return [f"{path}: expected a file, found nothing"] if wanted else []
    except (OSError, ValueError, yaml.YAMLError) as error:
        return [f"{path}: is broken ({_line(error)})"]
    if wanted is None:
        return [f"{path}: expected nothing, found a file"]
    return [f"{path}: {it}" for it in _told(wanted, found)]


def broken_files(folder: Path, besides: Path | None = None) -> list[str]:
    """Files that are no YAML: Traefik is deaf while one is in the watched folder."""
    broken = []
    for path in sorted({*folder.glob("*.yml"), *folder.glob("*.yaml")} - {besides}):
        try:
            yaml.safe_load(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue  # somebody has removed it just now
        except (OSError, ValueError, yaml.YAMLError):
            broken.append(f"{path} is broken, mend or remove it: no change is taken meanwhile")
    return broken


def _of(config: dict[str, Any], actual: dict[str, Any] | None) -> list[str]:
    if actual is None:
        return ["expected it, found nothing"]
    problems = _told(_essence(config), _essence(actual))
    if not problems and actual.get("status") != "enabled":
        why = actual.get("error") or actual.get("status")
        problems.append(f"expected it to be enabled, found {why}")
    return problems


def _told(expected: Any, found: Any) -> list[str]:
    problems = list(_unlike(expected, found, ""))
    told = problems[:TOLD]
    return [*told, f"and {len(problems) - TOLD} more"] if problems[TOLD:] else told


def _unlike(expected: Any, found: Any, where: str) -> Iterator[str]:
    """Each place where two trees differ."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in sorted({*expected, *found}, key=str):
            at = f"{where}.{name}".lstrip(".")
            yield from _unlike(expected.get(name), found.get(name), at)
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for number, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from _unlike(one, other, f"{where}[{number}]")
    elif expected != found:
        yield f"{where or 'content'}: expected {_short(expected)}, found {_short(found)}"


def _short(value: Any) -> str:
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}" if mark else str(error)


def _essence(config: dict[str, Any]) -> dict[str, Any]:
    """What decides who answers a request, free of Traefik's defaults and of its provider's name."""
    balancer, weighted = config.get("loadBalancer", {}), config.get("weighted", {})
    mirroring, failover = config.get("mirroring", {}), config.get("failover", {})
    limits = failover.get("errors", {})
    essence = {
        **{it: config.get(it) for it in ("rule", "priority", "service", "middlewares")},
        "entry points": config.get("entryPoints"),
        "servers": [server["url"] for server in balancer.get("servers", [])],
        "transport": balancer.get("serversTransport"),
        "health check": balancer.get("healthCheck", {}).get("path"),
        "weights": {it["name"]: it.get("weight") for it in weighted.get("services", [])},
        "sticky": _only(weighted.get("sticky", {}).get("cookie", {}), *COOKIE),
        "mirroring": _only(mirroring, "service", "maxBodySize"),
        "mirrors": {it["name"]: it.get("percent") for it in mirroring.get("mirrors", [])},
        "failover": _only(failover, "service", "fallback"),
        "failover on": _only(limits, "status", "maxRequestBodyBytes"),
        "strip": config.get("stripPrefix", {}).get("prefixes"),
        "retry": _only(config.get("retry", {}), "attempts", "initialInterval"),
        "in flight": config.get("inFlightReq"),
        "plugin": config.get("plugin"),
    }
    bare = json.dumps({field: value for field, value in essence.items() if value})
    return dict(json.loads(bare.replace(PROVIDER, "")))


def _only(config: dict[str, Any], *fields: str) -> dict[str, Any]:
    return {it: config[it] for it in fields if it in config}
