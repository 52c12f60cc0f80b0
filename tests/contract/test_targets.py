"""What every target promises; the same suite for the fake and for real processes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support import wait_until
from target_worlds import ready


def test_a_good_server_becomes_ready_at_an_address(target_world):
    target, spec = target_world.target, target_world.bundle("1")
    started = target.start(spec)
    assert started.name == spec.name == "production-churn-v1"
    assert started.state in ("starting", "ready")
    server = ready(target, spec)
    assert server.url.startswith("http://")
    assert target.names() == {spec.name}


def test_start_leaves_a_running_server_alone(target_world):
    target, spec = target_world.target, target_world.bundle("1")
    target.start(spec)
    before = ready(target, spec)
    assert target.start(spec) == before  # the same process, at the same address
    assert target_world.forgetful().start(spec) == before
    assert target.names() == {spec.name}


def test_looking_changes_nothing(target_world):
    target, spec = target_world.target, target_world.bundle("1")
    assert target.look(spec).state == "absent"
    assert target.names() == set()
    target.start(spec)
    assert ready(target, spec) == target.look(spec) == target.look(spec)


def test_a_stopped_server_is_absent_and_can_be_stopped_again(target_world):
    target, spec = target_world.target, target_world.bundle("1")
    target.start(spec)
    ready(target, spec)
    target.stop(spec.name)
    assert target.look(spec).state == "absent"
    assert target.names() == set()
    target.stop(spec.name)
    target.stop("production-churn-v99")
    target.start(spec)
    assert ready(target, spec).name == spec.name


def test_a_server_that_crashes_on_start_fails_and_says_why(target_world):
    target, spec = target_world.target, target_world.bundle("1", mode="crash")
    target.start(spec)
    wait_until(lambda: target.look(spec).state == "failed", 60, "it is given up")
    assert "boom" in target.look(spec).detail
    assert target.names() == {spec.name}


def test_a_failed_server_can_be_started_again_once_it_is_mended(target_world):
    target, spec = target_world.target, target_world.bundle("1", mode="crash")
    target.start(spec)
    wait_until(lambda: target.look(spec).state == "failed", 60, "it is given up")
    target.start(target_world.bundle("1"))
    assert ready(target, spec).state == "ready"


def test_a_server_that_never_gets_ready_is_starting_and_has_its_address(target_world):
    target, spec = target_world.target, target_world.bundle("1", mode="stuck")
    target.start(spec)
    wait_until(lambda: "not ready" in target.look(spec).detail or "503" in target.look(spec).detail,
               60, "it says that it is not ready")  # fmt: skip
    assert target.look(spec).state == "starting"
    assert target.look(spec).url


def test_a_server_with_another_identity_is_never_ready(target_world):
    target, spec = target_world.target, target_world.bundle("1", mode="impostor")
    target.start(spec)
    wait_until(lambda: target.look(spec).state == "failed", 60, "it is found out")
    assert "digest" in target.look(spec).detail
    assert spec.digest in target.look(spec).detail


@pytest.mark.parametrize("change", [{"digest": "another"}])
def test_a_running_server_is_not_ready_as_another_one(target_world, change):
    target, spec = target_world.target, target_world.bundle("1")
    target.start(spec)
    ready(target, spec)
    found = target.look(replace(spec, **change))
    assert found.state == "failed"
    assert "another" in found.detail
    assert target.look(spec).state == "ready"


def test_a_new_bundle_under_the_same_name_replaces_the_server(target_world):
    target, old = target_world.target, target_world.bundle("1", digest="old")
    target.start(old)
    ready(target, old)
    new = target_world.bundle("1", digest="new")
    target.start(new)
    assert ready(target, new).state == "ready"
    assert target.look(old).state == "failed"
    assert target.names() == {new.name}


def test_two_servers_do_not_disturb_each_other(target_world):
    target = target_world.target
    first, second = target_world.bundle("1"), target_world.bundle("2", mode="crash")
    target.start(first)
    target.start(second)
    third = target_world.bundle("3")
    target.start(third)
    assert ready(target, first).url != ready(target, third).url
    assert target.names() == {first.name, second.name, third.name}
    target.stop(first.name)
    target.stop(second.name)
    assert target.look(third).state == "ready"
    assert target_world.forgetful().names() == {third.name}


def test_a_killed_server_comes_back_at_its_address(target_world):
    target, spec = target_world.target, target_world.bundle("1")
    target.start(spec)
    server = ready(target, spec)
    target_world.kill(server)
    assert target.look(spec).state != "absent"
    assert ready(target, spec).url == server.url


def test_what_a_server_uses_can_be_told(target_world):
    target, spec = target_world.target, target_world.bundle("1")
    target.start(spec)
    server = ready(target, spec)
    before = target.usage(spec.name)
    target_world.work(server, 3)
    after = target.usage(spec.name)
    assert 2**20 < before.memory_bytes < 2**28
    assert after.cpu_seconds - before.cpu_seconds == pytest.approx(0.3, abs=0.2)
    assert after.memory_bytes - before.memory_bytes < 2**23
    assert after.started == before.started
    assert target_world.forgetful().usage(spec.name).started == before.started


def test_a_leak_shows(target_world):
    target, spec = target_world.target, target_world.bundle("1", mode="leaking")
    target.start(spec)
    server = ready(target, spec)
    before = target.usage(spec.name).memory_bytes
    target_world.work(server, 20)
    grown = target.usage(spec.name).memory_bytes - before
    assert grown / 2**20 == pytest.approx(20, abs=5)


def test_nothing_is_told_of_a_server_that_is_absent(target_world):
    target, spec = target_world.target, target_world.bundle("1")
    assert target.usage(spec.name) is None
    target.start(spec)
    ready(target, spec)
    target.stop(spec.name)
    assert target.usage(spec.name) is None


def test_a_server_that_came_back_counts_anew(target_world):
    target, spec = target_world.target, target_world.bundle("1")
    target.start(spec)
    server = ready(target, spec)
    target_world.work(server, 10)
    before = target.usage(spec.name)
    target_world.kill(server)
    ready(target, spec)
    after = target.usage(spec.name)
    assert after.started > before.started
    assert after.cpu_seconds < before.cpu_seconds
