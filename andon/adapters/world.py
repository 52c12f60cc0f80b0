"""Makes an environment as a rollout's state wants it: what runs, what is routed, what stops."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from andon.adapters.ledger import Candidate, Ledger
from andon.errors import LineError, TargetError
from andon.ports import Gateway, Route, Server, ServerSpec, Target, server_name, version_in
from andon.rollout import Rollout, World, wanted
from andon.settings import Settings

READY_SECONDS = 60.0


def spec_in(settings: Settings, environment: str, candidate: Candidate) -> ServerSpec:
    """The server of a version in an environment."""
    return ServerSpec(
        environment=environment,
        model=candidate.model,
        version=candidate.version,
        bundle=settings.state / candidate.bundle,
        digest=candidate.digest,
    )


class WorldMaker:
    """Every call is idempotent: whoever comes after a crash does it again."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        target: Target,
        gateway: Gateway,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings, self._ledger = settings, ledger
        self._target, self._gateway = target, gateway
        self._clock, self._sleep = clock, sleep

    def make(self, environment: str, model: str, rollout: Rollout) -> list[str]:
        """Start what must run, wait until what gets traffic is ready, route, stop the rest.

        Returns what was not as it should be and is mended: a server that was down, an edited route.
        """
        world = wanted(rollout)
        specs = {name: self.spec_of(environment, model, name) for name in sorted(world.servers)}
        found = [
            f"{name} was {server.state}"
            for name in world.weights
            if (server := self._target.look(specs[name])).state in ("absent", "failed")
        ]
        for name in world.weights:
            self._start(specs[name], world)
        if world.stable is None:
            self._gateway.remove(environment, model)
        else:
            found += self._gateway.differences(environment, model)
            self._gateway.apply(self._route(environment, model, rollout, specs))
        # What serves comes first: a candidate that cannot be started must not keep it waiting.
        for name in sorted(world.servers - set(world.weights)):
            self._target.start(specs[name])
        self._stop_the_rest(environment, model, world)
        return found

    def _start(self, spec: ServerSpec, world: World) -> None:
        try:
            self._target.start(spec)
        except TargetError:
            if world.weights[spec.name] or spec.name == world.stable:
                raise

    def _route(
        self, environment: str, model: str, rollout: Rollout, specs: dict[str, ServerSpec]
    ) -> Route:
        """With whatever has an address; only a server without traffic may have none."""
        world = wanted(rollout)
        assert world.stable is not None  # noqa: S101 - else there is no route
        urls = {}
        for name, weight in world.weights.items():
            try:
                urls[name] = self._ready(specs[name]).url
            except TargetError:
                if weight or name == world.stable:
                    raise
        return Route(
            environment=environment,
            model=model,
            backends=urls,
            weights={name: world.weights[name] for name in urls},
            stable=world.stable,
            versions={name: specs[name].version for name in urls},
            mirrors={name: it for name, it in world.mirrors.items() if name in urls},
            sticky=rollout.sticky,
            sticky_header=rollout.sticky_header,
        )

    def _stop_the_rest(self, environment: str, model: str, world: World) -> None:
        mine = re.compile(re.escape(server_name(environment, model, "")) + r"\d+")
        extra = {n for n in self._target.names() if mine.fullmatch(n)} - world.servers
        if extra and world.stable is not None:
            self._sleep(self._settings.environments[environment].drain_seconds)
        for name in sorted(extra):
            self._target.stop(name)

    def _ready(self, spec: ServerSpec) -> Server:
        """Wait for a server that is to get traffic; it needs an address, not health.

        The supervisor is at a dead one already, and the gateway fails over meanwhile.
        """
        end = self._clock() + READY_SECONDS
        server = self._target.look(spec)
        while server.state == "starting" and self._clock() < end:
            self._sleep(0.1)
            server = self._target.look(spec)
        if not server.url:
            raise TargetError(f"{spec.name} is {server.state} and has no address: {server.detail}")
        return server

    def spec_of(self, environment: str, model: str, name: str) -> ServerSpec:
        """A server by its name; raises LineError if the ledger does not know its version."""
        version = version_in(name)
        candidate = self._ledger.candidate(model, version)
        if candidate is None:
            raise LineError(f"the ledger knows no version {version} of {model}")
        return self.spec(environment, candidate)

    def spec(self, environment: str, candidate: Candidate) -> ServerSpec:
        """The server of a version in an environment."""
        return spec_in(self._settings, environment, candidate)
