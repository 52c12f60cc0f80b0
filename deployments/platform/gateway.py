"""Traefik's files: the entry points, and its own API on the admin one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from andon.adapters.traefik_headersplit import PLUGIN, PROBE
from andon.settings import Settings
from deployments.platform.layout import gateway_folder

ADMIN_ROUTES = "andon-admin.yml"
# Seconds: the preferred numbers R10 of ISO 3 from 0.5 ms to 10 s. A quantile is known to its
# bucket, here within 28 %. With two models split this is 44 kB to read instead of 22 kB, and 0.6 ms
# more; the CPU time of a request does not tell 44 buckets from 11.
_R10 = (1, 1.25, 1.6, 2, 2.5, 3.15, 4, 5, 6.3, 8)
LATENCY_BUCKETS = [
    *(0.0005, 0.00063, 0.0008),
    *(float(f"{it}e{decade}") for decade in (-3, -2, -1, 0) for it in _R10),
    10.0,
]


PLUGIN_SOURCE = Path(__file__).parent / PLUGIN


def static_file(settings: Settings) -> Path:
    return gateway_folder(settings) / "traefik.yml"


def write(settings: Settings) -> bool:
    """Write all files; returns whether what is read at the start only has changed."""
    folder = gateway_folder(settings)
    _write(folder / "dyn" / ADMIN_ROUTES, _admin_routes(), folder)
    plugin = [_copy(it, plugin_folder(settings)) for it in sorted(PLUGIN_SOURCE.iterdir())]
    return any([_write(static_file(settings), _static(settings), folder), *plugin])


def plugin_folder(settings: Settings) -> Path:
    """Where Traefik looks: beneath the folder that it is started in."""
    return settings.state / "plugins-local" / "src" / "andon" / PLUGIN


def _static(settings: Settings) -> dict[str, Any]:
    return {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "entryPoints": {
            "web": {
                "address": f"127.0.0.1:{settings.gateway_port}",
                "asDefault": True,
                "transport": {"lifeCycle": {"graceTimeOut": "10s"}},
            },
            "admin": {"address": f"127.0.0.1:{settings.gateway_admin_port}"},
        },
        "api": {"dashboard": True, "insecure": False},
        "ping": {"entryPoint": "admin"},
        "metrics": {
            "prometheus": {
                "entryPoint": "admin",
                "addServicesLabels": True,
                "addEntryPointsLabels": True,
                "buckets": LATENCY_BUCKETS,
            }
        },
        # The default of 2 s is how long a change of weights would take.
        "providers": {
            "providersThrottleDuration": "100ms",
            "file": {"directory": str(gateway_folder(settings) / "dyn"), "watch": True},
        },
        "experimental": {"localPlugins": {PLUGIN: {"moduleName": f"andon/{PLUGIN}"}}},
        "log": {"level": "INFO", "noColor": True},
    }


def _admin_routes() -> dict[str, Any]:
    router = {
        "rule": "PathPrefix(`/api`) || PathPrefix(`/dashboard`)",
        "entryPoints": ["admin"],
        "service": "api@internal",
    }
    # Tells whether the plugin was loaded: without it a router that uses it answers 404.
    probe = {
        "rule": f"Path(`/{PROBE}`)",
        "entryPoints": ["admin"],
        "service": "ping@internal",
        "middlewares": [PROBE],
    }
    plugin = {"plugin": {PLUGIN: {"header": "X", "cookie": "x"}}}
    return {
        "http": {
            "routers": {"andon-admin": router, PROBE: probe},
            "middlewares": {PROBE: plugin},
        }
    }


def _copy(source: Path, folder: Path) -> bool:
    """Whether it was not there, or was another."""
    target = folder / source.name
    if target.is_file() and target.read_bytes() == source.read_bytes():
        return False
    folder.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    return True


def _write(path: Path, content: dict[str, Any], scratch: Path) -> bool:
    """JSON is YAML. Through a folder that is not watched: Traefik must not see half a file."""
    text = json.dumps(content, indent=2) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    temporary = scratch / f".{path.name}"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return True
