"""The real parts that contract suites run against, each started once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import docker_kit
import gateway_worlds
import psycopg
import pytest
import registry_world
import support
import target_worlds
import trainer_kit
from driver_world import serving_v1
from gateway_worlds import Traefik, TraefikWorld
from steering_desk import Desk

from andon.adapters import database
from andon.adapters.supervisor import Supervisor
from andon.settings import Settings
from deployments.platform import postgres


@pytest.fixture
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A person at the line's commands, where v1 serves."""
    with closing(serving_v1(tmp_path_factory)) as world:
        made = Desk(world)
        made.bundle("1")
        yield made


@pytest.fixture(scope="session")
def traefik() -> Iterator[Traefik]:
    with support.scratch_folder() as folder:
        running = Traefik(folder)
        yield running
        running.kill()


@pytest.fixture
def traefik_world(traefik, tmp_path) -> Iterator[TraefikWorld]:
    world = TraefikWorld(traefik, tmp_path)
    yield world
    world.close()


@pytest.fixture(params=["fake", "traefik"])
def world(request) -> gateway_worlds.World:
    if request.param == "fake":
        return gateway_worlds.FakeWorld()
    return request.getfixturevalue("traefik_world")


@pytest.fixture(scope="session")
def supervised() -> Iterator[Settings]:
    """A state folder with nothing but a supervisord."""
    with support.scratch_folder() as folder:
        settings = Settings(project=folder, port_base=support.free_port_block())
        with support.supervised(settings):
            yield settings


@pytest.fixture(scope="session")
def dockered() -> Iterator[docker_kit.Line]:
    """A line of its own on a real engine; nothing of it is left there."""
    with docker_kit.line() as found:
        yield found


@pytest.fixture
def docker_world(dockered, tmp_path) -> Iterator[target_worlds.DockerWorld]:
    world = target_worlds.DockerWorld(dockered.settings, tmp_path, dockered.client)
    yield world
    world.close()


@pytest.fixture(params=["fake", "process", pytest.param("docker", marks=pytest.mark.docker)])
def target_world(request, tmp_path) -> Iterator[target_worlds.World]:
    if request.param == "docker":
        yield request.getfixturevalue("docker_world")
        return
    if request.param == "fake":
        world = target_worlds.FakeWorld(tmp_path)
    else:
        world = target_worlds.ProcessWorld(request.getfixturevalue("supervised"), tmp_path)
    yield world
    world.close()


@pytest.fixture(scope="session")
def postgresql(supervised) -> Settings:
    """The embedded PostgreSQL, as the platform runs it."""
    postgres.prepare(supervised)
    program, supervisor = postgres.program(supervised), Supervisor(supervised)
    supervisor.add(program)
    supervisor.start(program.name)
    support.wait_until(lambda: database.problem(supervised) is None, 60, "PostgreSQL answers")
    return supervised


@pytest.fixture
def postgresql_url(postgresql) -> str:
    """SQLAlchemy URL of an empty database."""
    name = f"test_{uuid4().hex}"
    maintenance = database.url(postgresql, "postgres", driver="")
    with psycopg.connect(maintenance, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return database.url(postgresql, name)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trainer_kit.Make:
    """Requests for the trainer, whose search path is put back."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    return trainer_kit.Make(tmp_path)


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory) -> Iterator[str]:
    """URL of a real MLflow."""
    with registry_world.server(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


@pytest.fixture(scope="session")
def locked_mlflow(tmp_path_factory) -> Iterator[str]:
    """URL of one that wants to know who asks."""
    with registry_world.server(tmp_path_factory.mktemp("mlflow"), login=True) as url:
        yield url


@pytest.fixture
def wire(mlflow_server) -> Iterator[registry_world.Wire]:
    """Between us and a real MLflow."""
    made = registry_world.Wire(mlflow_server)
    yield made
    made.close()


@pytest.fixture
def impatient(monkeypatch) -> None:
    """A silent server is found silent at once."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
