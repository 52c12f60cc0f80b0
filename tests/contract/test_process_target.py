"""What is particular about servers as processes: supervisord, ports, signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys

import psutil
import pytest
from helpers import TINY_SERVER, write_bundle
from server_kit import author, logged
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


def test_the_real_server_serves_a_real_bundle_and_refuses_a_changed_one(settings):
    target, folder = ProcessTarget(settings), settings.project / "bundles" / "real"
    digest = author("linear").write(folder)
    spec = ServerSpec("staging", "churn", "3", folder, digest)
    target.start(spec)
    is_state(target, spec, "ready")
    records = {"records": json.loads((folder / "samples.json").read_bytes())["records"][:2]}
    status, said = ask("POST", f"{target.look(spec).url}/predict", records, seconds=10)
    assert (status, said["version"], len(said["predictions"])) == (200, "3", 2)
    logs = settings.inference_log / "staging" / "churn" / "3"
    wait_until(lambda: len(logged(logs)) == 2, 30, "both are logged")
    target.stop(spec.name)
    (folder / "profile.json").write_text("{}  ")
    target.start(spec)
    is_state(target, spec, "failed")
    assert "profile.json: SHA-256 is" in target.look(spec).detail
    target.stop(spec.name)


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
