"""The line's parts for commands that only look: the ledger, the target, the gateway."""

from __future__ import annotations

from dataclasses import dataclass

from andon.adapters import database
from andon.adapters.files import load_settings
from andon.adapters.ledger import Ledger, open_ledger
from andon.adapters.process_target import ProcessTarget
from andon.adapters.traefik import TraefikGateway
from andon.errors import LineError
from andon.ports import ServerSpec
from andon.settings import Settings


@dataclass(frozen=True)
class Place:
    """One model in one environment, as it is."""

    environment: str
    model: str
    slot: str
    version: str
    weight: int | None
    health: str
    release: str


@dataclass(frozen=True)
class Parts:
    settings: Settings
    ledger: Ledger

    def places(self) -> list[Place]:
        """Every slot of every model in every environment."""
        target, gateway = ProcessTarget(self.settings), TraefikGateway(self.settings)
        found = []
        for environment, model in self.ledger.places():
            route = gateway.route(environment, model)
            champion = self.ledger.champion(environment, model)
            rollout = self.ledger.unfinished(environment, model)
            for slot, release in (("active", champion), ("rollout", rollout)):
                if release is None:
                    continue
                name = f"{environment}-{model}-v{release.version}"
                weight = route.weights.get(name, 0) if route else None
                found.append(
                    Place(
                        environment,
                        model,
                        slot,
                        release.version,
                        weight,
                        self._health(target, environment, model, release.version),
                        f"{release.rollout}",
                    ),
                )
        return found

    def _health(self, target: ProcessTarget, environment: str, model: str, version: str) -> str:
        candidate = self.ledger.candidate(model, version)
        if candidate is None:
            return "unknown"
        spec = ServerSpec(
            environment, model, version, self.settings.state / candidate.bundle, candidate.digest
        )
        try:
            return target.look(spec).state
        except LineError as error:
            return str(error)


def parts() -> Parts:
    """Read the settings and open the ledger; raises LineError where that cannot be."""
    settings = load_settings()
    reason = database.problem(settings)
    if reason is not None:
        raise LineError(reason)
    return Parts(settings, open_ledger(database.url(settings, "ledger")))
