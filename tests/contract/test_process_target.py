"""What is particular about servers as processes: supervisord, ports, signals."""

from __future__ import annotations

import os
import signal
import socket
import sys

import psutil
import pytest
from helpers import TINY_SERVER, write_bundle
from support import free_port_block, scratch_folder, supervised, wait_until

from andon.adapters.loopback import ask
from andon.adapters.process_target import FIRST_PORT, ProcessTarget
from andon.adapters.sockets import socket_folder
from andon.adapters.supervisor import Supervisor
from andon.errors import PlatformError, TargetError
from andon.ports import ServerSpec
from andon.settings import Settings
from deployments.platform import daemon, layout, strays
from deployments.platform.up import down

COMMAND = (sys.executable, str(TINY_SERVER))


@pytest.fixture(scope="module")
def settings():
    with (
        scratch_folder() as folder,
        supervised(Settings(project=folder, port_base=free_port_block())) as settings,
    ):
        yield settings


@pytest.fixture
def target(settings):
    target = ProcessTarget(settings, COMMAND)
    yield target
    for name in target.names():
        target.stop(name)


def spec_of(settings: Settings, version: str, mode: str = "good", digest: str = "") -> ServerSpec:
    digest = digest or f"digest-{version}"
    folder = settings.project / "bundles" / f"v{version}-{digest}"
    write_bundle(folder, model="churn", version=version, digest=digest, mode=mode)
    return ServerSpec("staging", "churn", version, folder, digest)


def is_state(target: ProcessTarget, spec: ServerSpec, state: str) -> None:
    wait_until(lambda: target.look(spec).state == state, 60, f"{spec.name} is {state}")


def pid_of(target: ProcessTarget, spec: ServerSpec) -> int:
    _, said = ask("GET", f"{target.look(spec).url}/healthz")
    return said["pid"]


def test_a_killed_server_comes_back_at_the_same_address(settings, target):
    spec = spec_of(settings, "1")
    target.start(spec)
    is_state(target, spec, "ready")
    url, pid = target.look(spec).url, pid_of(target, spec)
    os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: target.look(spec).state == "ready" and pid_of(target, spec) != pid, 60, "it is back"
    )
    assert target.look(spec).url == url


def test_a_server_that_crashes_at_its_start_fails_with_what_it_said(settings, target):
    spec = spec_of(settings, "2", mode="crash")
    target.start(spec)
    is_state(target, spec, "failed")
    assert "boom: this bundle cannot be served" in target.look(spec).detail


def test_a_failed_server_is_tried_again_by_the_next_start(settings, target):
    spec = spec_of(settings, "3", mode="crash")
    target.start(spec)
    is_state(target, spec, "failed")
    write_bundle(spec.bundle, model="churn", version="3", digest=spec.digest)
    target.start(spec)
    is_state(target, spec, "ready")


def test_another_bundle_under_the_same_name_replaces_the_server(settings, target):
    old, new = spec_of(settings, "4", digest="old"), spec_of(settings, "4", digest="new")
    target.start(old)
    is_state(target, old, "ready")
    assert target.look(new).state == "failed"
    target.start(new)
    is_state(target, new, "ready")
    assert target.look(old).state == "failed"


def test_somebody_else_at_its_address_is_not_the_server(settings, target):
    """An old process may keep a port: two can listen on one, and the wrong one answers."""
    spec, claims = spec_of(settings, "5"), spec_of(settings, "5")
    write_bundle(spec.bundle, model="churn", version="6", digest=spec.digest)
    target.start(claims)
    is_state(target, claims, "failed")
    assert "version is '6', expected '5'" in target.look(claims).detail


def test_ports_are_those_that_nobody_has(settings, target):
    first = settings.port_base + FIRST_PORT
    with socket.create_server(("127.0.0.1", first)):
        specs = [spec_of(settings, version) for version in ("7", "8")]
        ports = [int(target.start(spec).url.rsplit(":", 1)[1]) for spec in specs]
    assert ports == [first + 1, first + 2]


def test_stop_is_graceful_and_leaves_no_process_and_no_file(settings, target):
    spec = spec_of(settings, "9")
    target.start(spec)
    is_state(target, spec, "ready")
    process = psutil.Process(pid_of(target, spec))
    target.stop(spec.name)
    assert not process.is_running()
    assert spec.name not in target.names()
    assert not Supervisor(settings).file(f"serve-{spec.name}").exists()


def test_servers_come_back_with_supervisord_and_not_twice(settings, target):
    spec = spec_of(settings, "10")
    target.start(spec)
    is_state(target, spec, "ready")
    url = target.look(spec).url
    killed = int((settings.state / "run" / "supervisord.pid").read_text())
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: not Supervisor(settings).running(), 20, "supervisord is dead")
    with pytest.raises(TargetError, match="andon up"):
        target.look(spec)
    strays.sweep(settings)
    daemon.start(settings)
    is_state(target, spec, "ready")
    assert target.look(spec).url == url
    tiny = [p for p in strays.marked(settings) if str(TINY_SERVER) in p.cmdline()]
    assert len(tiny) == 1


def test_without_supervisord_the_error_says_what_to_do(tmp_path):
    settings = Settings(project=tmp_path)
    with pytest.raises(PlatformError, match=r"does not answer.*run `andon up`"):
        Supervisor(settings).all()
    with pytest.raises(TargetError, match="run `andon up`"):
        ProcessTarget(settings, COMMAND).start(spec_of(settings, "1"))
    assert ProcessTarget(settings, COMMAND).names() == set()


def test_a_long_path_with_odd_characters_works(tmp_path):
    """A socket's path may have 107 bytes; supervisord's files have a syntax of their own."""
    project = tmp_path / ("a long way " * 9).strip() / "ours, (really)=true"
    settings = Settings(project=project, port_base=free_port_block())
    layout.make(settings)
    with supervised(settings):
        target = ProcessTarget(settings, COMMAND)
        spec = spec_of(settings, "1")
        target.start(spec)
        is_state(target, spec, "ready")
        target.stop(spec.name)


def test_a_stand_in_for_the_sockets_that_is_gone_is_made_anew(tmp_path):
    """/tmp is emptied at a reboot; and nobody else may have put something in its place."""
    settings = Settings(project=tmp_path / ("deep" * 30))
    layout.make(settings)
    first = socket_folder(settings)
    layout.make(settings)
    assert socket_folder(settings) == first
    first.rmdir()
    first.symlink_to(tmp_path)
    layout.make(settings)
    second = socket_folder(settings)
    assert second != first
    assert second.stat().st_mode & 0o077 in (0, 0o011)
    first.unlink()
    down(settings, lambda message, fraction: None)
    assert not second.exists()
