"""MLflow that is cut off, killed, silent or locked: what is told, and that a retry ends well."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
import registry_world
from registry_world import ADMIN, all_is_whole, build, log_in, some_extras

from andon.adapters.mlflow_registry import Build, Registry
from andon.errors import LineError, PlatformError

pytestmark = pytest.mark.usefixtures("impatient")


def test_an_answer_that_is_lost_makes_no_second_version(mlflow_server, wire):
    """Each request in turn is done by the server, and the client never hears of it."""
    registry, counted = Registry(wire.url), build()
    registry.register(counted)
    writes = [it for it in wire.requests if not it.startswith("GET") and "/search" not in it]
    # One of each kind: `runs/create`, `model-versions/create`, `artifacts/model.skops`, …
    ends = ["/".join(it.split(" ")[1].split("/")[-2:]) for it in writes]
    kinds = {it: at for at, it in enumerate(ends) if "." not in it or "skops" in it}
    assert {"model-versions/create", "runs/create", "runs/log-batch"} <= set(kinds)
    for number in kinds.values():
        made, seen = build(), []

        def cut(first: bytes, seen=seen, number=number) -> str:
            if first.startswith(b"GET") or b"/search" in first:
                return ""
            seen.append(first)
            return "late" if len(seen) == number + 1 else ""

        wire.cut = cut
        assert register_patiently(registry, made) == "1", writes[number]
        wire.cut = lambda first: ""
        all_is_whole(mlflow_server, made)


def test_a_server_that_goes_away_in_the_middle_is_told_and_a_retry_ends_well(
    mlflow_server, wire, tmp_path
):
    registry, made = Registry(wire.url), build()
    registry.register(made)
    registry.attach(made.model, "1", some_extras(tmp_path))
    all_of_it = len(wire.requests)
    assert all_of_it > 30
    for number in range(0, all_of_it, 7):
        made, seen = build(), []

        def cut(first: bytes, seen=seen, number=number) -> str:
            seen.append(first)
            return "early" if len(seen) > number else ""

        wire.cut = cut
        with pytest.raises(PlatformError, match="does not answer"):
            registry.attach(made.model, registry.register(made), some_extras(tmp_path))
        wire.cut = lambda first: ""
        registry.attach(made.model, registry.register(made), some_extras(tmp_path))
        all_is_whole(mlflow_server, made)


def register_patiently(registry: Registry, made: Build) -> str:
    """As a station does, which is tried again."""
    for _ in range(3):
        try:
            return registry.register(made)
        except PlatformError as error:
            print(error)
    return registry.register(made)


KILLED = """
import sys, os, signal
sys.path[:0] = [{here!r}]
import requests, registry_world
from andon.adapters.mlflow_registry import Registry
sent, send = [], requests.Session.send
def dying(self, request, **kwargs):
    sent.append(request.url)
    if len(sent) > {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    return send(self, request, **kwargs)
requests.Session.send = dying
Registry({url!r}).register(registry_world.build({model!r}))
"""


@pytest.mark.parametrize("number", [10, 18, 26])
def test_a_kill_9_in_the_middle_leaves_nothing_that_a_retry_does_not_end(mlflow_server, number):
    made = build()
    script = KILLED.format(
        here=str(Path(__file__).parent), number=number, url=mlflow_server, model=made.model
    )
    where = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
    environment = {**os.environ, "PYTHONPATH": ":".join(where)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, check=False
    )
    assert done.returncode in (0, -9), done.stderr.decode()
    Registry(mlflow_server).register(made)
    all_is_whole(mlflow_server, made)


def test_a_server_that_is_not_there_is_told(tmp_path):
    silent = f"http://127.0.0.1:{registry_world.free_port()}"
    with pytest.raises(PlatformError, match=rf"MLflow at {silent} does not answer; .*andon up"):
        Registry(silent).register(build())


def test_who_is_not_let_in_is_told_what_to_set(locked_mlflow, monkeypatch):
    registry = Registry(locked_mlflow)
    with pytest.raises(LineError, match=r"wants credentials \(401\): set MLFLOW_TRACKING_USERNAME"):
        registry.register(build())
    log_in(monkeypatch, "admin", "wrong")
    with pytest.raises(LineError, match=r"does not take these credentials \(401\)") as caught:
        registry.register(build())
    assert not isinstance(caught.value, PlatformError), "trying again does not help"


def test_who_may_only_read_is_told(locked_mlflow, monkeypatch):
    """A model that belongs to somebody else."""
    log_in(monkeypatch, *ADMIN)
    made = build()
    Registry(locked_mlflow).register(made)
    user = {"username": f"u{uuid4().hex[:6]}", "password": "another-long-one"}
    place = f"{locked_mlflow}/api/2.0/mlflow/users/create"
    httpx.post(place, json=user, auth=ADMIN, trust_env=False).raise_for_status()
    log_in(monkeypatch, user["username"], user["password"])
    with pytest.raises(LineError, match=rf"{user['username']} may not do this \(403\)"):
        Registry(locked_mlflow).register(replace(made, key="k2"))


def test_up_asks_a_server_of_ones_own_without_loading_mlflow(
    mlflow_server, locked_mlflow, monkeypatch
):
    from andon.adapters.mlflow_client import problem

    assert problem(mlflow_server) is None
    assert "wants credentials (401)" in (problem(locked_mlflow) or "")
    log_in(monkeypatch, *ADMIN)
    assert problem(locked_mlflow) is None
    silent = f"http://127.0.0.1:{registry_world.free_port()}"
    assert "does not answer" in (problem(silent) or "")
