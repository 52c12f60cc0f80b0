"""Traefik's files: the entry points, and its own API on the admin one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from andon.settings import Settings
from deployments.platform.layout import gateway_folder

ADMIN_ROUTES = "andon-admin.yml"
LATENCY_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]


def static_file(settings: Settings) -> Path:
    return gateway_folder(settings) / "traefik.yml"


def write(settings: Settings) -> bool:
    """Write both files; returns whether the one that needs a restart has changed."""
    folder = gateway_folder(settings)
    _write(folder / "dyn" / ADMIN_ROUTES, _admin_routes(), folder)
    return _write(static_file(settings), _static(settings), folder)


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
        "log": {"level": "INFO", "noColor": True},
    }


def _admin_routes() -> dict[str, Any]:
    router = {
        "rule": "PathPrefix(`/api`) || PathPrefix(`/dashboard`)",
        "entryPoints": ["admin"],
        "service": "api@internal",
    }
    return {"http": {"routers": {"andon-admin": router}}}


def _write(path: Path, content: dict[str, Any], scratch: Path) -> bool:
    """JSON is YAML. Through a folder that is not watched: Traefik must not see half a file."""
    text = json.dumps(content, indent=2) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    temporary = scratch / f".{path.name}"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return True
