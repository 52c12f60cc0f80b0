"""Whatever keeps the platform from running is said before anything is started or written."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
from support import free_port_block

from andon.errors import PlatformError
from andon.settings import Settings
from deployments.platform import layout, preflight, programs


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(project=tmp_path, port_base=free_port_block())


def complaint(settings: Settings) -> str:
    with pytest.raises(PlatformError) as caught:
        preflight.check(settings)
    return str(caught.value)


def test_a_free_machine_is_fine_and_stays_as_it_was(settings):
    preflight.check(settings)
    assert list(settings.project.iterdir()) == []


def test_a_taken_port_is_named_with_its_holder_and_the_way_out(settings):
    with socket.create_server(("127.0.0.1", settings.mlflow_port)):
        said = complaint(settings)
    assert f"port {settings.mlflow_port} for MLflow is taken by" in said
    assert f"pid {os.getpid()}" in said
    assert "ANDON_PORT_BASE" in said
    assert not settings.state.exists()


def test_a_port_is_not_taken_if_our_own_platform_holds_it(settings):
    code = "import socket,sys,time; s=socket.create_server(('127.0.0.1',int(sys.argv[1]))); "
    code += "print('listening',flush=True); time.sleep(600)"
    for owner in (settings.state, settings.project / "other"):
        holder = subprocess.Popen(
            [sys.executable, "-c", code, str(settings.prefect_port)],
            env={**os.environ, "ANDON_SUPERVISED": str(owner)},
            stdout=subprocess.PIPE,
        )
        try:
            assert holder.stdout.readline() == b"listening\n"
            if owner == settings.state:
                preflight.check(settings)
            else:
                assert f"port {settings.prefect_port} for Prefect is taken" in complaint(settings)
        finally:
            holder.kill()
            holder.communicate()


def test_a_file_in_place_of_the_state_folder(settings):
    settings.state.write_text("not a folder")
    assert f"{settings.state}: is a file" in complaint(settings)


def test_a_file_in_place_of_a_parent_folder(settings):
    (settings.project / "file").touch()
    inside = settings.model_copy(update={"home": settings.project / "file" / "state"})
    assert f"{settings.project / 'file'}: is a file" in complaint(inside)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_write_permission(settings):
    settings.project.chmod(0o500)
    said = complaint(settings)
    settings.project.chmod(0o700)
    assert f"{settings.project}: cannot write" in said


def test_a_file_system_that_takes_no_files(settings):
    """/proc refuses root too."""
    nowhere = settings.model_copy(update={"home": "/proc/andon"})
    assert "/proc: cannot write" in complaint(Settings.model_validate(nowhere.model_dump()))


def test_too_little_disk(settings, monkeypatch):
    monkeypatch.setattr(preflight, "MIN_FREE_BYTES", 1 << 60)
    assert "MiB free, needs 1,099,511,627,776" in complaint(settings)


@pytest.mark.parametrize("found", ["1", "3", ""])
def test_a_state_of_another_format_is_left_alone(settings, found):
    settings.state.mkdir()
    layout.version_file(settings).write_text(found)
    said = complaint(settings)
    assert f"state of format {found!r}, this Andon has '2'" in said
    assert "make down" in said
    assert [path.name for path in settings.state.iterdir()] == ["VERSION"]


def test_a_database_without_a_format_is_not_ours_to_use(settings):
    (settings.state / "postgres").mkdir(parents=True)
    assert "VERSION: missing" in complaint(settings)


def test_our_own_state_is_fine(settings):
    layout.make(settings)
    preflight.check(settings)


def test_data_of_another_postgresql(settings):
    layout.make(settings)
    (settings.state / "postgres" / "data").mkdir(parents=True)
    (settings.state / "postgres" / "data" / "PG_VERSION").write_text("9\n")
    assert "data of PostgreSQL 9, installed is" in complaint(settings)


def test_a_database_that_does_not_answer(settings):
    gone = f"postgresql://someone:secret@127.0.0.1:{settings.port_base + 250}/postgres"
    said = complaint(settings.model_copy(update={"database_url": gone}))
    assert "database_url: postgresql://someone:***@127.0.0.1" in said
    assert "secret" not in said


def test_a_gateway_that_is_not_there(settings, monkeypatch):
    monkeypatch.setenv("TRAEFIK_BIN", "/nowhere/traefik")
    assert "Traefik: /nowhere/traefik not found" in complaint(settings)


def test_a_path_that_supervisord_cannot_take(settings):
    odd = settings.project / "50% of #1"
    odd.mkdir()
    assert "the path of the state folder has ['#', '%']" in complaint(
        settings.model_copy(update={"home": odd / "state"})
    )


def test_every_problem_is_reported_at_once(settings, monkeypatch):
    monkeypatch.setattr(preflight, "PYTHONS", ((3, 99), (4, 0)))
    monkeypatch.setenv("TRAEFIK_BIN", "/nowhere/traefik")
    with (
        socket.create_server(("127.0.0.1", settings.gateway_port)),
        socket.create_server(("127.0.0.1", settings.gateway_admin_port)),
    ):
        said = complaint(settings)
    assert "this needs >=3.99,<4.0" in said
    assert len(said.splitlines()) == 1 + 4


def test_an_mlflow_of_ones_own_has_no_port_here_and_gets_its_logins_to_the_worker_only(
    settings, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    own = settings.model_copy(update={"mlflow_url": "http://127.0.0.1:1"})
    assert "MLFLOW_TRACKING_USERNAME" not in programs.line_environment(settings)
    assert "MLFLOW_TRACKING_USERNAME" not in programs.supervisor_environment(own)
    given = [
        it.name for it in programs.platform(own) if "MLFLOW_TRACKING_USERNAME" in it.environment
    ]
    assert given == ["worker"]
    assert "mlflow" not in [it.name for it in programs.platform(own)]
    assert "mlflow_url: MLflow at http://127.0.0.1:1 does not answer" in complaint(own)
