"""Environments on different targets, and one that moves from one to another."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support import wait_until

from andon.adapters.fakes import FakeTarget
from andon.adapters.process_target import ProcessTarget
from andon.adapters.targets import Targets, local_target
from andon.errors import TargetError
from andon.ports import ServerSpec, Usage
from andon.settings import DockerTarget, Environment, Settings

SPEC = ServerSpec("production", "churn", "1", None, "d")
STAGED = replace(SPEC, environment="staging")
CONTAINERS = Environment(target=DockerTarget(kind="docker"))


class Gone(FakeTarget):
    def names(self):
        raise TargetError("no Docker engine answers")


@pytest.fixture
def parts():
    return {"process": FakeTarget(), "docker": FakeTarget()}


def targets(tmp_path, parts, **environments: Environment) -> Targets:
    return Targets(Settings(project=tmp_path, environments=environments), parts)


def test_each_environment_is_served_where_its_settings_say(tmp_path, parts):
    both = targets(tmp_path, parts, production=CONTAINERS)
    both.start(SPEC)
    both.start(STAGED)
    assert parts["docker"].names() == {SPEC.name}
    assert parts["process"].names() == {STAGED.name}
    assert both.names() == {SPEC.name, STAGED.name}
    wait_until(lambda: both.look(SPEC).state == both.look(STAGED).state == "ready", 5, "both are")
    both.stop(SPEC.name)
    assert both.names() == {STAGED.name}
    assert both.look(SPEC).state == "absent"


def test_usage_comes_from_where_the_server_is(tmp_path, parts):
    both = targets(tmp_path, parts, production=CONTAINERS)
    both.start(SPEC)
    parts["docker"].usages[SPEC.name] = Usage(1.0, 2)
    parts["process"].usages[SPEC.name] = Usage(3.0, 4)
    assert both.usage(SPEC.name) == Usage(1.0, 2)


def test_an_environment_that_moves_keeps_its_server_until_the_new_one_has_taken_over(
    tmp_path, parts
):
    targets(tmp_path, parts).start(SPEC)
    moved = targets(tmp_path, parts, production=CONTAINERS)
    assert moved.start(SPEC).state == "starting"
    moved.look(SPEC)
    assert moved.look(SPEC).state == "ready"
    assert parts["process"].names() == {SPEC.name}, "the gateway still knows the old one only"
    moved.start(SPEC)
    assert parts["process"].names() == set()
    assert parts["docker"].names() == {SPEC.name}


def test_an_engine_that_is_gone_matters_only_where_something_runs_on_it(tmp_path, parts):
    parts["docker"] = Gone()
    assert targets(tmp_path, parts).names() == set()
    with pytest.raises(TargetError, match="no Docker engine"):
        targets(tmp_path, parts, production=CONTAINERS).names()


def test_without_containers_there_is_no_engine_to_ask(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/absent.sock")
    found = local_target(Settings(project=tmp_path))
    assert isinstance(found, ProcessTarget)
    assert found.names() == set()
