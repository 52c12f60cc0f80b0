"""The parts of a release on this machine, put together in one place."""

from __future__ import annotations

from andon.adapters.driver import Driver
from andon.adapters.ledger import Ledger
from andon.adapters.probe import GatewayProbe
from andon.adapters.targets import local_target
from andon.adapters.traefik import TraefikGateway
from andon.settings import Settings


def local_driver(settings: Settings, ledger: Ledger) -> Driver:
    """A driver on Traefik, and on the target of each environment."""
    target, gateway = local_target(settings), TraefikGateway(settings)
    return Driver(settings, ledger, target, gateway, GatewayProbe(settings))
