"""The gateway: Traefik, told by files in a folder that it watches, and asked whether it listened.

routes/<environment>--<model>.json   the route last applied
dyn/<environment>--<model>.yml       the same in Traefik's words; Traefik watches this folder
tmp/                                 files while they are being written
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml

from andon.adapters.loopback import ask
from andon.adapters.traefik_config import check, dynamic_config, key
from andon.errors import GatewayError
from andon.ports import Route, Traffic
from andon.settings import Settings

POLL = 0.02
PROVIDER = "@file"
_SAMPLE = re.compile(
    r"traefik_service_(requests_total|request_duration_seconds_bucket)\{(.*)\} (.*)"
)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class TraefikGateway:
    """Keeps what was applied in files, so it survives restarts, of Traefik and of the line."""

    def __init__(self, settings: Settings, deadline: float = 10.0) -> None:
        """`deadline`: seconds until Traefik must have confirmed a change."""
        folder = settings.state / "run" / "gateway"
        self._routes, self._dyn, self._tmp = folder / "routes", folder / "dyn", folder / "tmp"
        self._admin = settings.gateway_admin_url
        self._deadline = deadline

    def apply(self, route: Route) -> None:
        """Write the route, and wait until Traefik confirms it; an unchanged one is only confirmed.

        Raises GatewayError if it does not. The route stays written: a gateway that is down takes
        it when it comes back.
        """
        check(route, self._known())
        name = key(route.environment, route.model)
        text = json.dumps(asdict(route), indent=1, sort_keys=True)
        try:
            self._write(self._routes / f"{name}.json", text)
            self.restore(last=name)
        except OSError as error:
            raise GatewayError(f"route of {name}: cannot write it: {error}") from None
        wanted = dynamic_config(route)["http"]
        self._confirm(name, lambda found: list(_differences(name, wanted, found)))

    def route(self, environment: str, model: str) -> Route | None:
        """The route last applied. Raises GatewayError if its file was damaged."""
        path = self._routes / f"{key(environment, model)}.json"
        try:
            return Route(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise GatewayError(
                f"{path}: not a route ({error}); delete the file and apply the route again"
            ) from None

    def traffic(self) -> dict[str, Traffic]:
        """Counters by server since Traefik started; they begin at 0 when it is restarted."""
        return _traffic(self._get("/metrics"))

    def differences(self, environment: str, model: str) -> list[str]:
        """In what Traefik, or its watched file, differs from the route last applied."""
        route = self.route(environment, model)
        wanted = dynamic_config(route)["http"] if route else {}
        name = key(environment, model)
        return list(_differences(name, wanted, self._get("/api/rawdata")))

    def remove(self, environment: str, model: str) -> None:
        """Forget the model, and wait until Traefik has."""
        name = key(environment, model)
        try:
            (self._routes / f"{name}.json").unlink(missing_ok=True)
            (self._dyn / f"{name}.yml").unlink(missing_ok=True)
        except OSError as error:
            raise GatewayError(
                f"route of {name}: cannot remove {error.filename}: {error}"
            ) from None
        self._confirm(name, lambda found: list(_differences(name, {}, found)))

    def restore(self, last: str = "") -> None:
        """Write again what was damaged or deleted in the watched folder; `last` is written last.

        Of all models: while one file there is broken, Traefik takes no change to any of them, and
        once it shows the last one it has read the others.
        """
        names = {key(it.environment, it.model): it for it in self._known()}
        for name in sorted(names, key=lambda it: (it == last, it)):
            self._write(
                self._dyn / f"{name}.yml", json.dumps(dynamic_config(names[name]), indent=1)
            )

    def _known(self) -> Iterator[Route]:
        for path in self._routes.glob("*.json"):
            # One that is damaged, or was removed just now: `route` says so, `apply` overwrites it.
            with suppress(OSError, ValueError, TypeError):
                yield Route(**json.loads(path.read_text(encoding="utf-8")))

    def _write(self, path: Path, text: str) -> None:
        """Atomically and durably, if it is not there already: Traefik never sees half a file."""
        content = text.encode()
        try:
            if path.read_bytes() == content:
                return
        except FileNotFoundError:
            pass
        for folder in (path.parent, self._tmp):
            folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._tmp, prefix=path.name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _confirm(self, name: str, differences: Callable[[dict[str, Any]], list[str]]) -> None:
        end = time.monotonic() + self._deadline
        while True:
            try:
                problems = differences(self._get("/api/rawdata"))
            except GatewayError as error:
                problems = [str(error)]
            if not problems:
                return
            if time.monotonic() > end:
                raise GatewayError(
                    f"route of {name}: not confirmed within {self._deadline:g} s: "
                    + "; ".join(problems + self._strangers())
                )
            time.sleep(POLL)

    def _get(self, path: str) -> Any:
        try:
            status, content = ask("GET", self._admin + path, seconds=5.0)
        except OSError as error:
            raise GatewayError(
                f"the gateway does not answer at {self._admin}{path} ({error}); "
                "is the platform up? `andon status` shows it, `andon up` starts it"
            ) from None
        if status != HTTPStatus.OK:
            raise GatewayError(f"the gateway answers {status} at {self._admin}{path}: {content}")
        return content

    def _strangers(self) -> list[str]:
        """Files of others that are no YAML: Traefik is deaf while one is in the watched folder."""
        broken = []
        for path in sorted({*self._dyn.glob("*.yml"), *self._dyn.glob("*.yaml")}):
            try:
                yaml.safe_load(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, yaml.YAMLError):
                broken.append(f"{path} is broken, mend or remove it: no change is taken meanwhile")
        return broken


def _differences(name: str, wanted: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    """What Traefik still has to learn, or to forget, about a route."""
    for kind in ("services", "routers"):
        expected = wanted.get(kind, {})
        actual = {n.removesuffix(PROVIDER): it for n, it in found.get(kind, {}).items()}
        for item, config in expected.items():
            seen = _essence(actual.get(item, {}))
            if seen != _essence(config):
                state = json.dumps(seen) if item in actual else "nothing"
                yield f"{kind} {item}: expected {json.dumps(_essence(config))}, found {state}"
            elif actual[item].get("status") != "enabled":
                why = actual[item].get("error") or actual[item].get("status")
                yield f"{kind} {item}: expected it to be enabled, found {why}"
        for item in sorted(set(actual) - set(expected)):
            if item == name or item.startswith(f"{name}--"):
                yield f"{kind} {item}: expected nothing, found it still there"


def _essence(config: dict[str, Any]) -> dict[str, Any]:
    """What decides who answers a request, free of Traefik's defaults and of its provider's name."""
    balancer = config.get("loadBalancer", {})
    weights = config.get("weighted", {}).get("services", [])
    failover = config.get("failover", {})
    essence = {
        "rule": config.get("rule"),
        "priority": config.get("priority"),
        "service": config.get("service"),
        "middlewares": config.get("middlewares"),
        "servers": [server["url"] for server in balancer.get("servers", [])],
        "weights": {it["name"]: it["weight"] for it in weights},
        "failover": [failover.get("service"), failover.get("fallback")] if failover else None,
    }
    bare = json.dumps({field: value for field, value in essence.items() if value})
    return dict(json.loads(bare.replace(PROVIDER, "")))


def _traffic(metrics: str) -> dict[str, Traffic]:
    """Prometheus' text to counters by server, summed over status codes, methods and protocols."""
    requests: dict[str, float] = {}
    errors: dict[str, float] = {}
    buckets: dict[str, dict[float, float]] = {}
    for line in metrics.splitlines():
        sample = _SAMPLE.fullmatch(line)
        if not sample:
            continue
        labels, value = dict(_LABEL.findall(sample[2])), float(sample[3])
        name = labels["service"].removesuffix(PROVIDER)
        if name == labels["service"]:
            continue  # Traefik's own: its API, its metrics
        if sample[1] == "requests_total":
            requests[name] = requests.get(name, 0.0) + value
            if labels["code"].startswith("5"):
                errors[name] = errors.get(name, 0.0) + value
        else:
            bounds = buckets.setdefault(name, {})
            bound = float(labels["le"])
            bounds[bound] = bounds.get(bound, 0.0) + value
    return {
        name: Traffic(n, errors.get(name, 0.0), 0.0, dict(sorted(buckets.get(name, {}).items())))
        for name, n in requests.items()
    }
