"""Files of a project: where it is, its settings, and outputs that are whole or not there."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from andon.adapters.files import (
    file_hash,
    find_project,
    key_of,
    load_settings,
    load_spec,
    model_names,
    stored,
    tree_hash,
)
from andon.errors import LineError, SpecError

SPEC = "data: data/rows.csv\ntarget: y\ntask: binary\n"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for name in list(os.environ):
        if name.startswith("ANDON_"):
            monkeypatch.delenv(name)


@pytest.fixture
def project(tmp_path) -> Path:
    root = tmp_path / "project"
    for model in ("tumor", "churn"):
        (root / "models" / model).mkdir(parents=True)
        (root / "models" / model / "model.yaml").write_text(SPEC)
    (root / "models" / "notes").mkdir()
    (root / "andon.yaml").write_text("port_base: 5000\n")
    return root


def test_the_project_is_the_nearest_folder_upwards_that_has_settings(project, monkeypatch):
    inside = project / "models" / "churn"
    assert find_project(inside) == project
    monkeypatch.chdir(inside)
    assert find_project() == project
    assert load_settings().project == project


def test_the_project_can_be_named_by_a_variable(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANDON_PROJECT", str(project))
    assert find_project() == project
    monkeypatch.setenv("ANDON_PROJECT", str(project / "models"))
    with pytest.raises(SpecError, match=r"models: no andon\.yaml here"):
        find_project()


def test_outside_of_any_project_it_says_what_is_missing(tmp_path):
    with pytest.raises(SpecError, match=r"no andon\.yaml here or above; run this inside a project"):
        find_project(tmp_path)


def test_variables_win_over_the_settings_file(project, monkeypatch):
    assert load_settings(project).port_base == 5000
    monkeypatch.setenv("ANDON_PORT_BASE", "6000")
    monkeypatch.setenv("ANDON_HOME", "elsewhere")
    monkeypatch.setenv("ANDON_DATABASE_URL", "postgresql://db/")
    found = load_settings(project)
    assert (found.port_base, found.state) == (6000, project / "elsewhere")
    assert found.database_url == "postgresql://db/"


def test_an_empty_variable_is_none(project, monkeypatch):
    monkeypatch.setenv("ANDON_HOME", "")
    assert load_settings(project).state == project / ".andon"


def test_a_wrong_variable_is_named(project, monkeypatch):
    monkeypatch.setenv("ANDON_PORT_BASE", "high")
    with pytest.raises(SpecError, match=r"andon\.yaml with ANDON_PORT_BASE: 1 problem"):
        load_settings(project)


def test_the_models_are_the_folders_with_a_spec(project):
    assert model_names(project) == ["churn", "tumor"]
    assert load_spec(project, "churn").name == "churn"


def test_a_model_that_is_not_there_is_answered_with_those_that_are(project):
    with pytest.raises(SpecError, match=r"models/chrun/model\.yaml: no such file.*: churn, tumor"):
        load_spec(project, "chrun")


def test_a_file_that_is_no_text_is_said_to_be_so(project):
    for path, load in (
        ("models/churn/model.yaml", lambda: load_spec(project, "churn")),
        ("andon.yaml", lambda: load_settings(project)),
    ):
        (project / path).write_bytes(b"\xff\xfe\x00")
        with pytest.raises(SpecError, match=rf"{path}: not UTF-8"):
            load()


def test_hashes_are_of_content_and_place(tmp_path):
    (tmp_path / "a").write_text("hello")
    (tmp_path / "b").write_text("hello")
    assert file_hash(tmp_path / "a") == file_hash(tmp_path / "b")
    assert file_hash(tmp_path / "a").startswith("2cf24dba5fb0a30e")
    one, other = tree_hash([tmp_path / "a"], tmp_path), tree_hash([tmp_path / "b"], tmp_path)
    assert one != other
    both = tree_hash([tmp_path / "a", tmp_path / "b"], tmp_path)
    assert both == tree_hash([tmp_path / "b", tmp_path / "a"], tmp_path)
    (tmp_path / "b").write_text("hello!")
    assert both != tree_hash([tmp_path / "a", tmp_path / "b"], tmp_path)


def test_keys_part_their_parts():
    assert key_of("ab", "c") != key_of("a", "bc") != key_of("abc")
    assert key_of("a", 1) == key_of("a", 1)


def write(folder: Path, text: str = "whole") -> None:
    (folder / "out").write_text(text)


def test_an_output_is_made_once_and_found_again(tmp_path):
    calls = []

    def make(folder: Path) -> None:
        calls.append(folder)
        write(folder)

    target = tmp_path / "store" / "key"
    assert stored(target, make) == (target, False)
    assert stored(target, make) == (target, True)
    assert len(calls) == 1
    assert (target / "out").read_text() == "whole"
    assert target.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in target.parent.iterdir()] == ["key"]


def test_an_output_that_could_not_be_made_is_not_there(tmp_path):
    def half(folder: Path) -> None:
        write(folder, "half")
        raise ValueError("no")

    target = tmp_path / "store" / "key"
    with pytest.raises(ValueError, match="no"):
        stored(target, half)
    assert list(target.parent.iterdir()) == []
    assert stored(target, write) == (target, False)


def test_a_process_killed_while_it_makes_an_output_leaves_none(tmp_path):
    target = tmp_path / "store" / "key"
    code = (
        "import os, sys, pathlib\n"
        "from andon.adapters.files import stored\n"
        "def half(folder):\n"
        "    (folder / 'out').write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
        "stored(pathlib.Path(sys.argv[1]), half)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert killed.returncode == -9
    assert not target.exists()
    assert stored(target, write) == (target, False)
    assert (target / "out").read_text() == "whole"


def test_two_that_make_the_same_output_at_once_both_get_it(tmp_path):
    target, meet = tmp_path / "store" / "key", threading.Barrier(2, timeout=30)
    results = []

    def make(folder: Path) -> None:
        write(folder)
        meet.wait()

    threads = [
        threading.Thread(target=lambda: results.append(stored(target, make))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [folder for folder, _ in results] == [target, target]
    assert [path.name for path in target.parent.iterdir()] == ["key"]


def test_a_full_disk_is_an_error_for_people(tmp_path):
    def full(folder: Path) -> None:
        write(folder)
        raise OSError(28, "No space left on device")

    target = tmp_path / "store" / "key"
    with pytest.raises(LineError, match=r"key: cannot write: No space left on device"):
        stored(target, full)
    assert not target.exists()


def test_a_store_that_cannot_be_written_is_an_error_for_people(tmp_path):
    (tmp_path / "store").write_text("a file where the folder should be")
    with pytest.raises(LineError, match=r"store: cannot write"):
        stored(tmp_path / "store" / "key", write)
