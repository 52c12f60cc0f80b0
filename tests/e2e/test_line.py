"""The three examples through the whole line, and what one does with it all day."""

from __future__ import annotations

from contextlib import closing

import httpx
import pytest
from line_under_test import LineUnderTest
from support import wait_until

from andon.adapters import docker_images

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("model", ["tumor", "diabetes", "churn"])
def test_an_example_is_delivered_and_answers(line: LineUnderTest, model: str):
    line.andon("deliver", model)
    assert line.champion(model) == "1"
    assert line.champion(model, "staging") == "1"
    answer = line.ask(model, line.sample(model))
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Andon-Version"] == "1"


def test_an_unchanged_delivery_reuses_what_is_there(line: LineUnderTest):
    line.andon("deliver", "tumor")
    said = line.andon("deliver", "tumor").stdout
    for station in ("take snapshot", "validate", "train", "make bundle"):
        (row,) = [it for it in said.splitlines() if station in it]
        assert "reused" in row
    assert len([it for it in line.ledger.releases("tumor") if it.environment == "production"]) == 1


def test_status_and_history_say_what_serves_and_why(line: LineUnderTest):
    line.andon("deliver", "tumor")
    status = line.andon("status").stdout
    assert "production" in status and "100 %" in status and "ready" in status
    history = line.andon("history", "tumor", "--at", "2099-01-01T00:00").stdout
    candidate = line.ledger.candidate("tumor", "1")
    assert candidate.snapshot in history and candidate.git_sha in history


def test_nothing_served_before_the_first_release(line: LineUnderTest):
    done = line.andon("history", "tumor", "--at", "2001-01-01T00:00", check=False)
    assert done.returncode == 1
    assert "served nothing" in done.stderr


def test_a_rollback_without_an_earlier_version_says_so(line: LineUnderTest):
    line.andon("deliver", "tumor")
    done = line.andon("rollback", "tumor", check=False)
    assert done.returncode == 1
    assert "no earlier version" in done.stderr
    assert line.champion("tumor") == "1"


def test_an_unknown_model_is_named_with_the_known_ones(line: LineUnderTest):
    done = line.andon("deliver", "nobody", check=False)
    assert done.returncode == 1
    assert "nobody" in done.stderr and "churn, diabetes, tumor" in done.stderr


def test_a_run_by_cron_is_scheduled(line: LineUnderTest):
    """The scheduler dies silently on SQLAlchemy 2.1: this guards the pin."""
    body = {"deployments": {"name": {"any_": ["reconcile"]}}}

    def scheduled() -> bool:
        url = f"{line.settings.prefect_api_url}/flow_runs/filter"
        runs = httpx.post(url, json=body, timeout=30).raise_for_status().json()
        return any(it["auto_scheduled"] for it in runs)

    wait_until(scheduled, 120, "a run of reconcile by its schedule")


@pytest.mark.docker
def test_a_version_gets_its_image_where_an_engine_answers(line: LineUnderTest):
    client, reason = docker_images.engine()
    if client is None:
        pytest.skip(reason)
    with closing(client):
        tags = {tag for image in client.images.list() for tag in image.tags}
        bases = [it for it in ("python:3.11-slim", "andon/base:python3") if it in tags]
        if not bases:
            pytest.skip("no base image here: infra/docker/mkbase.sh makes one")
        settings, code = line.project / "andon.yaml", line.project / "models/tumor/pipeline.py"
        before = settings.read_text(), code.read_text()
        settings.write_text(f"image: required\nbase_image: {bases[0]}\nallow_dirty: true\n")
        code.write_text(before[1].replace("C=0.5", "C=0.4"))  # another build
        try:
            line.andon("deliver", "tumor")
        finally:
            settings.write_text(before[0])
            code.write_text(before[1])
        image = line.ledger.candidate("tumor", line.champion("tumor")).image
        name, _, digest = image.partition("@")
        assert client.images.get(name).id == digest
        client.images.remove(digest, force=True)
