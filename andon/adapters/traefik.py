"""The gateway: Traefik, told by files in a folder that it watches, and asked whether it listened.

routes/<environment>--<model>.json   the route last applied
dyn/<environment>--<model>.yml       the same in Traefik's words; Traefik watches this folder
tmp/                                 files while they are being written
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from andon.adapters.loopback import ask
from andon.adapters.routes import check, key, path_of
from andon.adapters.traefik_config import dynamic_config, splits_by_header
from andon.adapters.traefik_differences import broken_files, of_others, of_the_file, of_traefik
from andon.adapters.traefik_headersplit import PROBE
from andon.adapters.traefik_metrics import read_traffic
from andon.errors import GatewayError
from andon.ports import Route, Traffic
from andon.settings import Settings

POLL = 0.02
DIGEST = "digest"  # of the rest of a route's file: tells whether somebody changed it
_ROUTE = TypeAdapter(Route)


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
        if splits_by_header(route):
            self._check_plugin(name)
        try:
            self._write(self._routes / f"{name}.json", _sealed(route))
            self.restore(last=name)
        except OSError as error:
            raise GatewayError(f"route of {name}: cannot write it: {error}") from None
        wanted = dynamic_config(route)["http"]
        self._confirm(name, lambda found: of_traefik(name, wanted, found))

    def _check_plugin(self, name: str) -> None:
        """Before anything changes: a router whose plugin is missing answers everybody with 404."""
        probe = self._get("/api/rawdata").get("routers", {}).get(f"{PROBE}@file", {})
        if probe.get("status") != "enabled":
            raise GatewayError(
                f"route of {name}: sticky_header: Traefik runs without the plugin for it "
                f"({probe.get('error') or 'it was started before the plugin was there'}); "
                "`andon down` and `andon up` start it anew, and logs/gateway.log says more"
            )

    def route(self, environment: str, model: str) -> Route | None:
        """The route last applied. Raises GatewayError if its file was damaged."""
        name = key(environment, model)
        try:
            return self._read(name)[0]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, GatewayError) as error:
            why = " ".join(str(error).split())
            raise GatewayError(
                f"{self._routes / name}.json: not a route ({why}); "
                "delete the file and apply the route again"
            ) from None

    def traffic(self) -> dict[str, Traffic]:
        """Counters by server since Traefik started; they begin at 0 when it is restarted."""
        return read_traffic(self._get("/metrics"))

    def differences(self, environment: str, model: str) -> list[str]:
        """What is not as it was applied: in the files, or in what Traefik has taken from them.

        A damaged file of the route is a difference, and then there is nothing to compare with.
        """
        name = key(environment, model)
        found = self._get("/api/rawdata")
        try:
            route, sealed = self._read(name)
        except FileNotFoundError:
            return self._unlike(environment, model, {}, found)
        except (OSError, ValueError, TypeError, GatewayError) as error:
            why = " ".join(str(error).split())
            path = self._routes / f"{name}.json"
            return [f"{path}: not a route ({why})", *broken_files(self._dyn)]
        edited = f"{self._routes / name}.json: changed since it was applied"
        wanted = dynamic_config(route)["http"]
        return [*([] if sealed else [edited]), *self._unlike(environment, model, wanted, found)]

    def _unlike(
        self, environment: str, model: str, wanted: dict[str, Any], found: dict[str, Any]
    ) -> list[str]:
        name = key(environment, model)
        path = self._dyn / f"{name}.yml"
        return [
            *of_the_file(path, {"http": wanted} if wanted else None),
            *of_traefik(name, wanted, found),
            *of_others(name, path_of(environment, model), found),
            *broken_files(self._dyn, besides=path),
        ]

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
        self._confirm(name, lambda found: of_traefik(name, {}, found))

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
        """The routes that are as they were applied."""
        for path in self._routes.glob("*.json"):
            # One that was changed by hand, or was removed just now: `differences` says so, `apply`
            # overwrites it. Until then nothing is done after it.
            with suppress(OSError, ValueError, TypeError, GatewayError):
                route, sealed = self._read(path.stem)
                if sealed:
                    yield route

    def _read(self, name: str) -> tuple[Route, bool]:
        """A route, and whether its file is as `apply` wrote it.

        Raises OSError, ValueError, TypeError or GatewayError for what is no route, or of another.
        """
        content = json.loads((self._routes / f"{name}.json").read_text(encoding="utf-8"))
        given = content.pop(DIGEST, None) if isinstance(content, dict) else None
        route = _ROUTE.validate_python(content)
        check(route)
        if key(route.environment, route.model) != name:
            raise ValueError(f"it is of {key(route.environment, route.model)}")
        return route, given in (None, _digest(route))

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
                    + "; ".join(problems + broken_files(self._dyn))
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


def _sealed(route: Route) -> str:
    content = asdict(route) | {DIGEST: _digest(route)}
    return json.dumps(content, indent=1, sort_keys=True)


def _digest(route: Route) -> str:
    """Against hands, not against attackers: whoever may write here may do anything."""
    return hashlib.sha256(json.dumps(asdict(route), sort_keys=True).encode()).hexdigest()
