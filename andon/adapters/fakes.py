"""Targets and gateways in memory: they pass the same contract suites as the real ones.

Public attributes are for tests: the knobs of what goes wrong, and the record of what was asked.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import inf
from threading import Lock

from andon.adapters.routes import check, key
from andon.adapters.traefik_headersplit import version_of
from andon.errors import GatewayError, TargetError
from andon.ports import Route, Server, ServerSpec, ServerState, Traffic, Usage

USAGE = Usage(cpu_seconds=0.5, memory_bytes=50_000_000)
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, inf)


class FakeTarget:
    """Servers that are ready at the second look.

    Each knob holds what it applies to: names of servers, versions or bundle paths.
    """

    def __init__(self) -> None:
        self.refused: set[str] = set()  # `start` raises TargetError
        self.crashing: set[str] = set()  # exits right after its start
        self.stuck: set[str] = set()  # runs, and is never ready
        self.impostors: set[str] = set()  # answers with another digest than it should
        self.dead: set[str] = set()  # was ready once, and does not answer any more
        self.usages: dict[str, Usage | None] = {}  # what `usage` says; of others, little
        self.looks_until_ready = 1
        self.calls: list[tuple[str, str]] = []  # ("start" or "stop", name of the server)
        self._running: dict[str, ServerSpec] = {}
        self._looks: Counter[str] = Counter()

    def start(self, spec: ServerSpec) -> Server:
        self.calls.append(("start", spec.name))
        if _applies(self.refused, spec):
            raise TargetError(f"{spec.name}: cannot be started: the fake refuses it")
        running = self._running.get(spec.name)
        if running is None or running.digest != spec.digest:
            self._running[spec.name] = spec
            self._looks[spec.name] = 0
        return self._server(spec)

    def look(self, spec: ServerSpec) -> Server:
        self._looks[spec.name] += 1
        return self._server(spec)

    def stop(self, name: str) -> None:
        self.calls.append(("stop", name))
        self._running.pop(name, None)

    def names(self) -> set[str]:
        return set(self._running)

    def usage(self, name: str) -> Usage | None:
        return self.usages.get(name, USAGE) if name in self._running else None

    def kill(self, name: str) -> None:
        """It dies, and is brought back by whoever supervises it."""
        self._looks[name] = 0
        if found := self.usages.get(name):
            self.usages[name] = Usage(0.0, 0, found.started + 1)

    def use(self, name: str, cpu_seconds: float = 0.0, memory_bytes: int = 0) -> None:
        """It takes so much more."""
        now = self.usages.get(name) or Usage(0.0, 0)
        self.usages[name] = Usage(
            now.cpu_seconds + cpu_seconds, now.memory_bytes + memory_bytes, now.started
        )

    def _server(self, spec: ServerSpec) -> Server:
        running = self._running.get(spec.name)
        if running is None:
            return Server(name=spec.name, state="absent")
        state: ServerState = "starting"
        detail = "not ready yet"
        if _applies(self.crashing, spec):
            state, detail = "failed", "exited with status 1 while it started: boom"
        elif _applies(self.dead, spec):
            state, detail = "failed", "killed by signal 9"
        elif _applies(self.impostors, spec) or running.digest != spec.digest:
            found = "another" if running.digest == spec.digest else running.digest
            state, detail = "failed", f"digest: expected {spec.digest}, found {found}"
        elif not _applies(self.stuck, spec) and self._looks[spec.name] > self.looks_until_ready:
            state, detail = "ready", ""
        return Server(name=spec.name, state=state, url=f"http://{spec.name}:8000", detail=detail)


def _applies(knob: set[str], spec: ServerSpec) -> bool:
    return not knob.isdisjoint({spec.name, spec.version, str(spec.bundle)})


@dataclass(frozen=True)
class Reply:
    """What a client of the gateway gets, and from which server."""

    status: int
    server: str = ""
    cookie: str = ""  # what the client is asked to send from now on


class FakeGateway:
    """Splits, and copies, what is given to `send`, exactly by the weights and per cents."""

    def __init__(self) -> None:
        self.down = False  # it neither confirms nor answers
        self.dead: set[str] = set()  # servers that answer nothing, or only errors
        self.refusing: set[str] = set()  # servers that answer every request with 422
        self.seconds: dict[str, float] = {}  # how long a server takes; others take 4 ms
        self.counters: dict[str, Traffic] = {}  # what `traffic` says; `send` counts here too
        self.edited: dict[str, list[str]] = {}  # what `differences` says, until it is applied
        self.applied: list[Route] = []
        self.removed: list[tuple[str, str]] = []
        self._routes: dict[str, Route] = {}
        self._credit: dict[str, Counter[str]] = {}
        self._lock = Lock()

    def apply(self, route: Route) -> None:
        check(route, self._routes.values())
        name = key(route.environment, route.model)
        if self._routes.get(name) != route:
            self._routes[name] = route
            self._credit[name] = Counter()
        self.applied.append(route)
        self.edited.pop(name, None)
        self._up(f"route of {name}: not confirmed")

    def route(self, environment: str, model: str) -> Route | None:
        return self._routes.get(key(environment, model))

    def traffic(self) -> dict[str, Traffic]:
        self._up("no counters")
        return dict(self.counters)

    def differences(self, environment: str, model: str) -> list[str]:
        self._up("no configuration")
        return list(self.edited.get(key(environment, model), []))

    def remove(self, environment: str, model: str) -> None:
        self.removed.append((environment, model))
        self._routes.pop(key(environment, model), None)
        self._up(f"removal of {key(environment, model)}: not confirmed")

    def restart(self) -> None:
        """Up again: the routes are still there, the counters begin at 0."""
        self.down = False
        self.counters.clear()

    def send(
        self,
        environment: str,
        model: str,
        version: str | None = None,
        cookie: str = "",
        header: str = "",
    ) -> Reply:
        """One request of a client, pinned to a version or not; from any thread.

        `cookie`: what an earlier reply asked the client to send; `header`: the value of the
        route's header.
        """
        with self._lock:
            route = self.route(environment, model)
            if route and route.sticky_header and header:
                cookie = version_of(route, key(environment, model), header)
            return self._send(environment, model, version, cookie)

    def _send(self, environment: str, model: str, version: str | None, cookie: str) -> Reply:
        self._up("connection refused")
        route = self.route(environment, model)
        if route is None:
            return Reply(404)
        if version is not None:
            pinned = [name for name, it in route.versions.items() if it == version]
            return self._ask(pinned[0]) if pinned else Reply(404)
        if {name for name, weight in route.weights.items() if weight} == {route.stable}:
            reply = self._ask(route.stable)
            for name, percent in route.mirrors.items():
                if self._is_due(route, name, percent):
                    self._ask(name)
            return reply
        return self._split(route, cookie if route.sticky or route.sticky_header else "")

    def _split(self, route: Route, cookie: str) -> Reply:
        known = route.weights.get(cookie, 0) > 0
        chosen = cookie if known else self._next(route)
        reply = self._ask(chosen)
        if reply.status in (500, 502):
            return self._ask(route.stable, counted=False)
        return replace(reply, cookie=chosen) if route.sticky and not known else reply

    def _is_due(self, route: Route, mirror: str, percent: int) -> bool:
        """Whether a copy of this request keeps the share of copies at the per cent wanted."""
        credit = self._credit[key(route.environment, route.model)]
        credit[mirror] += percent
        if credit[mirror] < 100:
            return False
        credit[mirror] -= 100
        return True

    def _next(self, route: Route) -> str:
        """Smooth weighted round robin: after 100 requests everybody had its weight in requests."""
        credit = self._credit[key(route.environment, route.model)]
        credit.update(route.weights)
        chosen = max(route.weights, key=lambda name: credit[name])
        credit[chosen] -= 100
        return chosen

    def _ask(self, server: str, *, counted: bool = True) -> Reply:
        status = 502 if server in self.dead else 422 if server in self.refusing else 200
        seconds = self.seconds.get(server, 0.004)
        one = Traffic(
            requests=1,
            errors=status == 502,
            invalid=status == 422,
            buckets={bound: float(seconds <= bound) for bound in BOUNDS},
        )
        if counted:
            self.counters[server] = self.counters.get(server, Traffic()) + one
        return Reply(status, server if status == 200 else "")

    def _up(self, otherwise: str) -> None:
        if self.down:
            raise GatewayError(f"{otherwise}: the gateway does not answer; is the platform up?")
