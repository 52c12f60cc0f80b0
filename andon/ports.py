"""Ports: what the line asks of the outside world. Adapters and their fakes implement them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol


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
        """Unique name in the target, in the gateway and in metrics."""
        return f"{self.environment}-{self.model}-v{self.version}"


ServerState = Literal["absent", "starting", "ready", "failed"]


@dataclass(frozen=True)
class Server:
    """A prediction server as it is now. `ready` means: its own identity was verified."""

    name: str
    state: ServerState
    url: str = ""
    detail: str = ""


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


@dataclass(frozen=True)
class Route:
    """Who answers for a model in an environment.

    `weights` sum to 100 over the names in `backends` (name → URL); `stable` answers for a backend
    that is dead, slow or failing. A backend with weight 0 is reachable by `X-Andon-Version`.
    """

    environment: str
    model: str
    backends: dict[str, str]
    weights: dict[str, int]
    stable: str
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Traffic:
    """Counters since the gateway started: requests, server errors, seconds by histogram bucket.

    `buckets` maps an upper bound in seconds to the cumulative count.
    """

    requests: float = 0.0
    errors: float = 0.0
    buckets: dict[float, float] = field(default_factory=dict)


class Gateway(Protocol):
    """Splits the traffic of each model between its servers."""

    def apply(self, route: Route) -> None:
        """Atomically, and confirmed by the gateway itself; raises GatewayError if it is not."""

    def route(self, environment: str, model: str) -> Route | None:
        """The route last applied."""

    def traffic(self) -> dict[str, Traffic]:
        """Counters per server name; raises GatewayError if they cannot be read."""

    def remove(self, environment: str, model: str) -> None:
        """Forget the model: requests for it get 404."""
