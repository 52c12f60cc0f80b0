"""The real parts that contract suites run against, each started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from gateway_worlds import FakeWorld, Traefik, TraefikWorld, World


@pytest.fixture(scope="session")
def traefik(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traefik]:
    running = Traefik(tmp_path_factory.mktemp("traefik"))
    yield running
    running.kill()


@pytest.fixture
def traefik_world(traefik, tmp_path) -> Iterator[TraefikWorld]:
    world = TraefikWorld(traefik, tmp_path)
    yield world
    world.close()


@pytest.fixture(params=["fake", "traefik"])
def world(request) -> World:
    return FakeWorld() if request.param == "fake" else request.getfixturevalue("traefik_world")
