"""What is particular about servers as containers: what they may do, and the engine's own ways."""

from __future__ import annotations

import json

import pytest
from docker_kit import MODEL, make_bundle
from server_kit import logged
from support import wait_until
from target_worlds import ready

from andon.adapters import docker_target
from andon.adapters.docker_container import owner
from andon.adapters.docker_target import LOCK, DockerTarget
from andon.adapters.loopback import ask
from andon.errors import PlatformError, TargetError
from andon.ports import ServerSpec
from andon.settings import DockerTarget as Options
from andon.settings import Environment, Settings
from deployments.platform import layout
from deployments.platform.up import down
from serving.bundle import verify


def container_of(world, spec: ServerSpec):
    return world.container(spec.name)


def options(line) -> Options:
    return line.settings.environments["production"].target


def within(world, spec: ServerSpec, code: str) -> tuple[int, str]:
    """Exit status and output of Python code in the container."""
    done = container_of(world, spec).exec_run(["python3", "-c", code])
    return done.exit_code, done.output.decode()


@pytest.mark.docker
def test_a_server_may_do_nothing_but_serve(dockered, docker_world):
    target, spec = docker_world.target, docker_world.bundle("1")
    target.start(spec)
    ready(target, spec)
    status = within(docker_world, spec, "print(open('/proc/self/status').read())")[1]
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    user = owner(dockered.settings)[0]
    assert user != 0
    assert f"Uid:\t{user}\t" in status
    assert "Read-only file system" in within(docker_world, spec, "open('/bundle/x', 'w')")[1]
    assert "Error" in within(docker_world, spec, "open('/logs/inference/production/x', 'w')")[1]
    own = f"open('/logs/inference/production/churn/{spec.version}/x', 'w')"
    assert within(docker_world, spec, own) == (0, "")
    (network,) = dockered.client.networks.list(names=[options(dockered).network])
    assert network.attrs["Internal"], "there is a way out"


@pytest.mark.docker
def test_the_limits_are_those_of_the_environment(dockered, docker_world):
    limited = options(dockered).model_copy(update={"memory_mb": 96, "cpus": 0.5})
    environments = {"production": Environment(target=limited)}
    settings = dockered.settings.model_copy(update={"environments": environments})
    spec = docker_world.bundle("1")
    target = DockerTarget(settings, image=docker_world._image)
    target.start(spec)
    ready(target, spec)
    found = container_of(docker_world, spec).attrs["HostConfig"]
    assert (found["Memory"], found["MemorySwap"], found["NanoCpus"]) == (
        96 * 2**20,
        96 * 2**20,
        5e8,
    )


@pytest.mark.docker
def test_the_real_server_serves_a_real_bundle_and_writes_its_logs(dockered, docker_world, tmp_path):
    settings, folder = dockered.settings, make_bundle(tmp_path / "bundle", "3", model=MODEL)
    spec = ServerSpec("production", MODEL, "3", folder, verify(folder))
    target = DockerTarget(settings)
    target.start(spec)
    server = ready(target, spec)
    records = {"records": json.loads((folder / "samples.json").read_bytes())["records"][:2]}
    status, said = ask("POST", f"{server.url}/predict", records, seconds=10)
    assert (status, said["version"], len(said["predictions"])) == (200, "3", 2)
    labels = {"labels": [{"id": it["id"], "label": True} for it in said["predictions"]]}
    status, said = ask("POST", f"{server.url}/feedback", labels, seconds=10)
    assert status in (200, 202), said
    logs = settings.inference_log / "production" / MODEL / "3"
    wait_until(lambda: logs.is_dir() and len(logged(logs)) == 2, 30, "both are logged")
    feedback = settings.feedback_log / "production" / MODEL
    wait_until(lambda: [*feedback.glob("*.jsonl")], 30, "labels are written")
    image = container_of(docker_world, spec).image
    assert image.tags == [f"andon/{MODEL}:v3-{spec.digest[:12]}"]
    target.stop(spec.name)
    assert target.names() == set()


@pytest.mark.docker
def test_a_server_that_was_well_in_between_is_in_no_crash_loop(docker_world, monkeypatch):
    monkeypatch.setattr(docker_target, "SETTLED_SECONDS", 0.2)
    target, spec = docker_world.target, docker_world.bundle("1")
    target.start(spec)
    for restarts in range(docker_target.RETRIES + 2):
        server = ready(target, spec)
        wait_until(lambda n=restarts: forgiven(target, spec) == n, 20, "they are forgiven")
        docker_world.kill(server)
        assert target.look(spec).state in ("starting", "ready")
    before = container_of(docker_world, spec).id
    target.start(spec)
    assert container_of(docker_world, spec).id == before


def forgiven(target: DockerTarget, spec: ServerSpec) -> int:
    target.look(spec)
    return sum(int(it.read_text()) for it in (target._settings.state / "run").glob("restarts-*"))


@pytest.mark.docker
def test_what_somebody_stopped_by_hand_failed_and_can_be_started(docker_world):
    target, spec = docker_world.target, docker_world.bundle("1")
    target.start(spec)
    ready(target, spec)
    container_of(docker_world, spec).stop(timeout=5)
    assert target.look(spec).state == "failed"
    assert target.look(spec).detail.startswith("exited")
    target.start(spec)
    ready(target, spec)


@pytest.mark.docker
def test_a_foreign_container_of_that_name_is_left_alone(dockered, docker_world):
    spec = docker_world.bundle("1")
    name = f"{options(dockered).prefix}-{spec.name}"
    foreign = dockered.client.containers.create(dockered.settings.base_image, name=name)
    try:
        with pytest.raises(TargetError, match=f"there is a container {name} that is not of this"):
            docker_world.target.start(spec)
        docker_world.target.stop(spec.name)
        assert docker_world.target.look(spec).state == "absent"
        foreign.reload()
    finally:
        foreign.remove(force=True)


@pytest.mark.docker
def test_a_network_that_cannot_serve_is_named(dockered, docker_world):
    on_host = options(dockered).model_copy(update={"network": "host"})
    environments = {"production": Environment(target=on_host)}
    settings = dockered.settings.model_copy(update={"environments": environments})
    target = DockerTarget(settings, image=docker_world._image)
    with pytest.raises(TargetError, match="network host: expected a bridge network"):
        target.start(docker_world.bundle("1"))
    assert target.names() == set()


@pytest.mark.docker
def test_without_an_image_the_error_says_what_to_do(dockered, tmp_path):
    settings = dockered.settings.model_copy(update={"base_image": "localhost:9/andon/absent:1"})
    folder = make_bundle(tmp_path / "bundle", "9", model=MODEL)
    spec = ServerSpec("production", MODEL, "9", folder, verify(folder))
    with pytest.raises(TargetError, match=r"(?s)no image of it.*absent:1.*target.kind: process"):
        DockerTarget(settings).start(spec)
    (folder / "profile.json").write_text("{}  ")
    with pytest.raises(TargetError, match=r"no image of it.*profile.json: SHA-256 is"):
        DockerTarget(dockered.settings).start(spec)


def test_without_an_engine_the_error_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/absent.sock")
    target = DockerTarget(Settings(project=tmp_path))
    spec = ServerSpec("production", "tiny", "1", tmp_path, "d")
    for act in (target.start, target.look):
        with pytest.raises(TargetError, match=r"production-tiny-v1: no Docker engine answers"):
            act(spec)
    for act in (target.stop, lambda _: target.names()):
        with pytest.raises(TargetError, match="no Docker engine answers"):
            act(spec.name)
    assert target.usage(spec.name) is None


@pytest.mark.docker
def test_down_stops_containers_too(dockered, docker_world):
    spec = docker_world.bundle("1")
    docker_world.target.start(spec)
    ready(docker_world.target, spec)
    said = []
    down(dockered.settings, lambda message, fraction: said.append(message))
    assert f"stopping container {spec.name}" in said
    assert docker_world.target.names() == set()


def test_down_tells_of_containers_that_it_could_not_stop(tmp_path, monkeypatch):
    settings = Settings(project=tmp_path)
    layout.make(settings)
    (settings.state / "run" / LOCK).touch()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/absent.sock")
    with pytest.raises(PlatformError, match=r"containers is stopped.*no Docker engine"):
        down(settings, lambda message, fraction: None)
