"""The whole line with production in containers: delivered, down, up again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from line_under_test import LineUnderTest, commit, copy_project
from support import free_port_block, scratch_folder, wait_until

from andon.adapters import docker_images
from andon.adapters.docker_container import STATE
from andon.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.docker]

BASES = ("python:3.11-slim", "andon/base:python3")
NAME = f"andon-test-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    found, reason = docker_images.engine()
    if found is None:
        pytest.skip(reason)
    with closing(found):
        yield found
        for it in found.networks.list(names=[NAME]):
            it.remove()


@pytest.fixture(scope="module")
def line(client) -> Iterator[LineUnderTest]:
    tags = {tag for image in client.images.list() for tag in image.tags}
    bases = [it for it in BASES if it in tags]
    if not bases:
        pytest.skip("no base image here: infra/docker/mkbase.sh makes one")
    with scratch_folder() as folder:
        copy_project(folder, ("tumor",))
        (folder / "andon.yaml").write_text(
            f"image: required\nbase_image: {bases[0]}\nenvironments:\n"
            f"  production: {{target: {{kind: docker, network: {NAME}, prefix: {NAME}}}}}\n"
        )
        commit(folder, "production in containers")
        found = LineUnderTest(Settings(project=folder, port_base=free_port_block()))
        try:
            found.andon("up")
            yield found
            made = found.ledger.candidate("tumor", "1")
        finally:
            found.close()
        if made and made.image:
            client.images.remove(made.image.partition("@")[2], force=True)


def containers(client: Any, line: LineUnderTest) -> list[str]:
    filters = {"label": f"{STATE}={line.settings.state}"}
    return [it.name for it in client.containers.list(all=True, filters=filters)]


def test_a_version_is_delivered_into_a_container_and_comes_back_with_the_platform(line, client):
    line.andon("deliver", "tumor")
    assert containers(client, line) == [f"{NAME}-production-tumor-v1"]
    record = line.sample("tumor")
    answer = line.ask("tumor", record)
    assert (answer.status_code, answer.headers["X-Andon-Version"]) == (200, "1")
    assert line.ask("tumor", record, "staging").status_code == 200
    assert line.andon("status").stdout.count("ready") == 2
    log = line.settings.inference_log / "production" / "tumor" / "1"
    wait_until(lambda: [*log.glob("*.arrows")], 30, "what it answered is logged")
    line.andon("down")
    assert containers(client, line) == []
    line.andon("up")
    again = line.ask("tumor", record).json()["predictions"][0]
    before = answer.json()["predictions"][0]
    assert {**again, "id": before["id"]} == before
