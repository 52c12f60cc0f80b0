"""Images of prediction servers, on a real engine: small layers, hardened, and themselves."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import docker
import httpx
import pytest
from docker_kit import base_image, connected, make_bundle
from server_kit import author
from support import wait_until

from andon.adapters import docker_images
from andon.adapters.docker_images import ImageRef, NoImage, build, engine
from andon.errors import LineError
from andon.settings import Settings
from serving.bundle import verify

HARDENED: dict[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "mem_limit": "512m",
    "pids_limit": 64,
    "tmpfs": {"/tmp": "size=16m,mode=1777,noexec,nosuid,nodev"},
}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    found = connected()
    yield found
    for image in found.images.list("andon/tiny"):
        found.images.remove(image.id, force=True)
    found.close()


@pytest.fixture(scope="module")
def settings(client, tmp_path_factory) -> Settings:
    folder = tmp_path_factory.mktemp("project")
    return Settings(project=folder, image="required", base_image=base_image(client))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "v1", "1")


@pytest.fixture(scope="module")
def image(settings, bundle) -> ImageRef:
    built = build(settings, bundle)
    assert isinstance(built, ImageRef)
    return built


@pytest.fixture
def server(client, image) -> Iterator[SimpleNamespace]:
    with answering(client, image) as found:
        yield found


@contextmanager
def answering(client: Any, image: ImageRef) -> Iterator[SimpleNamespace]:
    """A hardened container, once it answers."""
    container = client.containers.run(image.id, detach=True, **HARDENED)

    def health() -> Any:
        container.reload()
        assert container.status != "exited", container.logs().decode()
        address = container.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        found.url = f"http://{address}:8080"
        try:
            reply = httpx.get(f"{found.url}/healthz", timeout=5)
        except httpx.HTTPError:
            return None
        found.health = reply.json()
        return reply.status_code == 200

    found = SimpleNamespace(container=container, url="", health={})
    try:
        wait_until(health, 60, "the container answers /healthz")
        yield found
    finally:
        container.remove(force=True)


def layers(client: Any, ref: str) -> list[str]:
    found: list[str] = client.images.get(ref).attrs["RootFS"]["Layers"]
    return found


@pytest.mark.docker
def test_the_container_is_the_bundle_and_answers_as_its_author_did(server, bundle):
    digest = verify(bundle)
    identity = {key: server.health[key] for key in ("model", "version", "digest")}
    assert identity == {"model": "tiny", "version": "1", "digest": digest}
    samples = json.loads((bundle / "samples.json").read_bytes())
    reply = httpx.post(f"{server.url}/predict", json={"records": samples["records"]}, timeout=10)
    assert reply.headers["X-Andon-Version"] == "1"
    for found, expected in zip(reply.json()["predictions"], samples["answers"], strict=True):
        assert found["label"] == expected["label"]
        assert found["probabilities"] == pytest.approx(expected["probabilities"])


@pytest.mark.docker
@pytest.mark.parametrize(("kind", "engine"), [("trees", "trees"), ("trees", "sklearn")])
def test_an_image_has_the_packages_of_its_bundles_engine(client, settings, kind, engine, tmp_path):
    it = author(kind)
    it.write(tmp_path, engines=[engine])
    built = build(settings, tmp_path)
    assert isinstance(built, ImageRef)
    with answering(client, built) as found:
        ready = httpx.get(f"{found.url}/readyz", timeout=30).json()
        assert (ready["status"], ready["engine"]) == ("ready", engine)
        reply = httpx.post(f"{found.url}/predict", json={"records": it.records}, timeout=30)
        scores = [one["probabilities"]["yes"] for one in reply.json()["predictions"]]
        assert scores == pytest.approx([row[1] for row in it.expected])
    client.images.remove(built.id, force=True)


@pytest.mark.docker
def test_it_runs_without_privileges_and_stops_when_asked(server):
    probe = "import os, pathlib; print(os.getuid(), pathlib.Path('/proc/1/status').read_text())"
    uid, _, status = (
        server.container.exec_run(["python3", "-c", probe]).output.decode().partition(" ")
    )
    assert uid == "10001"
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    written = server.container.exec_run(["python3", "-c", "open('/opt/andon/x', 'w')"])
    assert written.exit_code != 0
    assert b"Read-only file system" in written.output

    server.container.stop(timeout=30)  # SIGKILL after that, which is 137
    server.container.reload()
    assert server.container.attrs["State"]["ExitCode"] in (0, 143)


@pytest.mark.docker
def test_the_image_holds_what_serving_needs_and_none_of_the_line(client, image):
    code = """
import importlib.util, sys
wanted = ["numpy", "nanoarrow", "msgspec", "uvicorn", "uvloop", "httptools", "serving"]
unwanted = ["pandas", "prefect", "mlflow", "dvc", "great_expectations", "andon", "tasks", "flows"]
unwanted += ["sklearn", "scipy", "skops", "onnxruntime"]  # a linear model needs none of them
missing = [name for name in wanted if importlib.util.find_spec(name) is None]
surplus = [name for name in unwanted if importlib.util.find_spec(name) is not None]
print(missing, surplus)
"""
    output = client.containers.run(image.id, ["-c", code], entrypoint="python3", remove=True)
    assert output.decode().strip() == "[] []"


@pytest.mark.docker
def test_the_engine_can_tell_whether_the_server_is_well(client, image, server):
    kind, *command = client.images.get(image.id).attrs["Config"]["Healthcheck"]["Test"]
    assert kind == "CMD"
    well = server.container.exec_run(command)
    assert well.exit_code == 0, well.output
    with pytest.raises(docker.errors.ContainerError, match="Connection refused"):
        client.containers.run(image.id, command[1:], entrypoint=command[0], remove=True)


@pytest.mark.docker
def test_a_digest_that_has_its_image_is_not_built_again(settings, bundle, image):
    again = build(settings, bundle)
    assert isinstance(again, ImageRef)
    assert again.reused
    assert again.id == image.id
    assert again.tag == f"andon/tiny:v1-{verify(bundle)[:12]}"


@pytest.mark.docker
def test_a_changed_model_is_one_small_layer_on_the_same_packages(settings, client, image, tmp_path):
    changed = build(settings, make_bundle(tmp_path / "v2", "2", weight=-1.0))
    assert isinstance(changed, ImageRef)
    assert not changed.reused
    assert changed.id != image.id
    assert changed.dependencies == image.dependencies
    below = layers(client, image.dependencies)
    assert layers(client, changed.id)[:-1] == layers(client, image.id)[:-1] == below
    size = client.images.get(changed.id).attrs["Size"]
    assert size - client.images.get(image.dependencies).attrs["Size"] < 1_000_000


@pytest.mark.docker
def test_the_same_bundle_makes_the_same_layer_anywhere(
    settings, client, bundle, image, tmp_path, monkeypatch
):
    """Other times, other owners, other build: nothing but names and contents counts."""
    before = layers(client, image.id)
    copy = Path(shutil.copytree(bundle, tmp_path / "copy", copy_function=shutil.copyfile))
    for path in copy.iterdir():
        os.utime(path, (0, 0))
    client.images.remove(image.tag, force=True)
    rebuilt = build(settings, copy)
    assert isinstance(rebuilt, ImageRef)
    assert not rebuilt.reused
    assert layers(client, rebuilt.id) == before


@pytest.mark.docker
def test_a_failed_build_stops_the_line_and_shows_what_the_engine_said(
    settings, bundle, tmp_path, monkeypatch
):
    broken = tmp_path / "Dockerfile"
    broken.write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY nowhere /\n")
    monkeypatch.setattr(docker_images, "DOCKERFILE", broken)
    with pytest.raises(LineError, match=r"(?s)image andon/.* failed: .*nowhere"):
        build(settings, bundle)


@pytest.mark.docker
def test_a_base_image_that_cannot_be_had_is_named(settings, bundle):
    absent = settings.model_copy(update={"base_image": "localhost:9/andon/absent:1"})
    with pytest.raises(LineError, match="base_image 'localhost:9/andon/absent:1'"):
        build(absent, bundle)
    skipped = build(absent.model_copy(update={"image": "auto"}), bundle)
    assert isinstance(skipped, NoImage)
    assert "localhost:9/andon/absent:1" in skipped.reason


@pytest.fixture
def no_engine(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/absent.sock")


def test_without_an_engine_there_is_a_reason(no_engine):
    client, reason = engine()
    assert client is None
    assert "no Docker engine answers" in reason


def test_without_an_engine_the_line_goes_on_unless_the_image_is_required(
    no_engine, bundle, tmp_path
):
    auto = Settings(project=tmp_path)
    assert isinstance(build(auto, bundle), NoImage)
    with pytest.raises(LineError, match="image: found 'required', but no Docker engine answers"):
        build(auto.model_copy(update={"image": "required"}), bundle)


def test_image_off_asks_no_engine(no_engine, bundle, tmp_path):
    off = build(Settings(project=tmp_path, image="off"), bundle)
    assert isinstance(off, NoImage)
    assert "image: off" in off.reason
