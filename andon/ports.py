"""Ports: what the line asks of the outside world. Adapters and their fakes implement them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol


def server_name(environment: str, model: str, version: str) -> str:
    """Unique name of a server in the target, in the gateway and in metrics."""
    return f"{environment}-{model}-v{version}"


def version_in(server: str) -> str:
    """The version in a server's name."""
    return server.rsplit("-v", 1)[-1]


@dataclass(frozen=True)
class ServerSpec:
    """One prediction server: a bundle, for one environment."""

    environment: str
    model: str
    version: str
    bundle: Path
    digest: str

    @property
    def name(self) -> str:
        """See `server_name`."""
        return server_name(self.environment, self.model, self.version)


ServerState = Literal["absent", "starting", "ready", "failed"]


@dataclass(frozen=True)
class Server:
    """A prediction server as it is now. `ready` means: its own identity was verified."""

    name: str
    state: ServerState
    url: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Usage:
    """What a server uses: CPU seconds since it started, bytes of memory that are its own."""

    cpu_seconds: float
    memory_bytes: int
    started: float = 0.0  # epoch seconds: another one is another process, and counts from 0


class Target(Protocol):
    """Where prediction servers run. Every method is idempotent."""

    def start(self, spec: ServerSpec) -> Server:
        """Start it, or leave it alone if it runs. Returns at once, in any state.

        Raises TargetError if it cannot even be tried.
        """

    def look(self, spec: ServerSpec) -> Server:
        """How it is now. `ready` only if it answered with this model, version and digest."""

    def stop(self, name: str) -> None:
        """Stop it gracefully and forget it; nothing happens if it is absent."""

    def names(self) -> set[str]:
        """The servers this target keeps, running or not."""

    def usage(self, name: str) -> Usage | None:
        """What a server uses now, with all its processes; None if that cannot be told."""


@dataclass(frozen=True)
class Route:
    """Who answers for a model in an environment.

    `weights` sum to 100 over the names in `backends` (name → URL); `stable` answers for a backend
    that is dead, slow or failing. A backend with weight 0 is reachable by `X-Andon-Version`.
    `mirrors`: per cent of the requests of which a backend gets a copy; nobody waits for its answer.
    `sticky`: the name of a cookie that keeps a client at the version that answered it first.
    `sticky_header`: the name of a header: requests with one value of it go to one version.
    """

    environment: str
    model: str
    backends: dict[str, str]
    weights: dict[str, int]
    stable: str
    versions: dict[str, str] = field(default_factory=dict)
    mirrors: dict[str, int] = field(default_factory=dict)
    sticky: str = ""
    sticky_header: str = ""


@dataclass(frozen=True)
class Traffic:
    """Counters since the gateway started: requests, server errors, seconds by histogram bucket.

    First attempts alone: what the stable backend answers because another failed is no request of
    its own, else the failures of the one would hide in the requests of the other.
    `invalid`: requests that were refused (4xx). `buckets`: upper bound in seconds → cumulative
    count.
    """

    requests: float = 0.0
    errors: float = 0.0
    invalid: float = 0.0
    buckets: dict[float, float] = field(default_factory=dict)

    def since(self, before: Traffic) -> Traffic:
        """What came after an earlier reading; all of it if the gateway began anew in between."""
        if self.requests < before.requests:
            return self
        return Traffic(
            self.requests - before.requests,
            max(0.0, self.errors - before.errors),
            max(0.0, self.invalid - before.invalid),
            {it: n - before.buckets.get(it, 0.0) for it, n in self.buckets.items()},
        )

    def __add__(self, other: Traffic) -> Traffic:
        bounds = {*self.buckets, *other.buckets}
        return Traffic(
            self.requests + other.requests,
            self.errors + other.errors,
            self.invalid + other.invalid,
            {it: self.buckets.get(it, 0.0) + other.buckets.get(it, 0.0) for it in sorted(bounds)},
        )


class Gateway(Protocol):
    """Splits the traffic of each model between its servers."""

    def apply(self, route: Route) -> None:
        """Atomically, and confirmed by the gateway itself; raises GatewayError if it is not."""

    def route(self, environment: str, model: str) -> Route | None:
        """The route last applied."""

    def traffic(self) -> dict[str, Traffic]:
        """Counters per server name; raises GatewayError if they cannot be read."""

    def differences(self, environment: str, model: str) -> list[str]:
        """In what the gateway differs from the route last applied: somebody's hand; none: [].

        Changes nothing. Raises GatewayError if the gateway cannot be asked.
        """

    def remove(self, environment: str, model: str) -> None:
        """Forget the model: requests for it get 404."""
