"""The line's parts for commands that look, or act at once: ledger, target, gateway, driver."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from andon.adapters import database
from andon.adapters.driver import Driver
from andon.adapters.files import load_settings, model_names
from andon.adapters.ledger import Ledger, Release, open_ledger
from andon.adapters.local import local_driver
from andon.adapters.targets import local_target
from andon.adapters.traefik import TraefikGateway
from andon.adapters.world import spec_in
from andon.errors import GatewayError, LineError
from andon.ports import Gateway, Route, Target, server_name, version_in
from andon.settings import Settings

SETTLED = 0.5  # seconds in which a gateway has taken a change
Slot = Literal["active", "rollout", "warm"]


@dataclass(frozen=True)
class Place:
    """One version of a model in one environment, as it is. `warm`: it can return at once."""

    environment: str
    model: str
    slot: Slot
    version: str
    traffic: str
    health: str
    release: Release


@dataclass(frozen=True)
class Parts:
    settings: Settings
    ledger: Ledger
    target: Target
    gateway: Gateway
    driver: Driver

    def places(self) -> list[Place]:
        """Every slot of every model in every environment."""
        return [
            place
            for environment, model in self.ledger.places()
            for place in self.slots(environment, model)
        ]

    def slots(self, environment: str, model: str) -> list[Place]:
        """What a model has in one environment: its champion, and what is tried or kept warm."""
        champion = self.ledger.champion(environment, model)
        rollout = self.ledger.unfinished(environment, model)
        found: list[tuple[Slot, str, Release]] = []
        if champion is not None:
            found.append(("active", champion.version, champion))
        if rollout is not None:
            found.append(("rollout", rollout.version, rollout))
        elif champion is not None and (warm := kept_warm(champion)):
            found.append(("warm", warm, champion))
        return [
            Place(
                environment=environment,
                model=model,
                slot=slot,
                version=version,
                traffic=self._traffic(environment, model, version),
                health=self._health(environment, model, version),
                release=release,
            )
            for slot, version, release in found
        ]

    def edited(self, environment: str, model: str) -> list[str]:
        """Where the gateway is not as it was told: somebody's hand; or that it does not answer.

        A change that is just being made differs, too, but not for long: so it is asked twice.
        """
        try:
            found = self.gateway.differences(environment, model)
            if found:
                time.sleep(SETTLED)
                again = self.gateway.differences(environment, model)
                found = [it for it in found if it in again]
        except GatewayError as error:
            return [str(error)]
        if not found:
            return []
        told = "; ".join(found)
        return [f"edited by hand: {told}; `andon up`, or the next reconcile, mends it"]

    def demand(self, model: str, environment: str) -> None:
        """Raises LineError unless both are known; a `model.yaml` that is broken is no matter."""
        if environment not in self.settings.environments:
            known = ", ".join(self.settings.environments)
            raise LineError(f"andon.yaml has no environment {environment!r}; there are: {known}")
        names = model_names(self.settings.project)
        if model not in names and not self.ledger.candidates(model):
            known = ", ".join(names)
            raise LineError(f"no model project {model!r} under models/; there are: {known}")

    def _traffic(self, environment: str, model: str, version: str) -> str:
        name = server_name(environment, model, version)
        try:
            return shares(self.gateway.route(environment, model), name)
        except GatewayError:
            return "?"

    def _health(self, environment: str, model: str, version: str) -> str:
        candidate = self.ledger.candidate(model, version)
        if candidate is None:
            return "unknown"
        try:
            return self.target.look(spec_in(self.settings, environment, candidate)).state
        except LineError as error:
            return str(error)


def shares(route: Route | None, name: str) -> str:
    """What a server gets of the traffic, for people."""
    if route is None:
        return "no route"
    weight, mirror = route.weights.get(name, 0), route.mirrors.get(name, 0)
    return f"mirror {mirror} %" if mirror and not weight else f"{weight} %"


def kept_warm(champion: Release) -> str:
    """The version that a champion's release keeps warm, if it does."""
    rollout = champion.rollout
    return version_in(rollout.champion) if rollout.warm and rollout.champion else ""


def parts() -> Parts:
    """Read the settings and open the ledger; raises LineError where that cannot be."""
    settings = load_settings()
    reason = database.problem(settings)
    if reason is not None:
        raise LineError(reason)
    ledger = open_ledger(database.url(settings, "ledger"))
    return Parts(
        settings=settings,
        ledger=ledger,
        target=local_target(settings),
        gateway=TraefikGateway(settings),
        driver=local_driver(settings, ledger),
    )
