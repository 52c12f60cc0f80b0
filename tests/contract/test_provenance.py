"""What a build was made with, on real git repositories."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from andon.adapters import provenance
from andon.adapters.provenance import code_files, code_of, environment, patch
from andon.spec import ModelSpec
from andon.verdict import Outcome
from tasks.committed import judged

SPEC = ModelSpec(name="m", data="data/d.parquet", target="y", task="binary")


def git(folder: Path, *arguments: str) -> None:
    author = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", "-C", str(folder), *author, *arguments], check=True, capture_output=True)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture(params=["", "inner/project"], ids=["at the top", "in a folder"])
def project(request, tmp_path) -> Path:
    """A committed project, at the top of a repository or somewhere in it."""
    folder = tmp_path / "repository" / request.param
    write(folder / "andon.yaml", "")
    write(folder / "models/m/model.yaml", "")
    write(folder / "models/m/pipeline.py", "import json\nfrom shared import features\n")
    write(folder / "models/m/data/d.parquet", "PAR1")
    write(folder / "models/other/pipeline.py", "")
    write(folder / "shared/__init__.py", "")
    write(folder / "shared/features.py", "import base\n")
    write(folder / "shared/unused.py", "")
    write(folder / "base.py", "")
    top = tmp_path / "repository"
    git(top, "init", "-q")
    write(top / ".gitignore", "*.log\n")
    git(top, "add", "-A", "--", ":!*.parquet")
    git(top, "commit", "-qm", "all")
    return folder


def test_what_is_committed_is_not_dirty(project):
    code = code_of(project, SPEC)
    assert len(code.commit or "") == 40
    assert (code.changed, code.problem) == ((), "")
    assert patch(project, code) == ""
    verdict = judged(code, allowed=False)
    assert verdict.outcome is Outcome.PASS
    assert code.commit in verdict.detail


def test_shared_code_is_what_the_pipeline_imports(project):
    names = [str(it.relative_to(project)) for it in code_files(project, "m")]
    assert names == ["base.py", "models/m/pipeline.py", "shared/__init__.py", "shared/features.py"]


@pytest.mark.parametrize(
    "name",
    [
        "models/m/pipeline.py", "models/m/model.yaml", "models/m/new.py", "models/m/tests/ä.py",
        "andon.yaml", "base.py", "shared/features.py", "uv.lock",
    ],
)  # fmt: skip
def test_what_differs_does_not_go_to_production(project, name):
    write(project / name, "changed = 1\n")
    code = code_of(project, SPEC)
    assert code.changed == (name,)
    assert "+changed = 1" in patch(project, code)
    verdict = judged(code, allowed=False)
    assert verdict.outcome is Outcome.FAIL
    assert name in verdict.detail
    assert "allow_dirty in andon.yaml" in verdict.detail
    allowed = judged(code, allowed=True)
    assert allowed.outcome is Outcome.PASS
    assert allowed.detail.startswith("warning: not as in commit")


def test_a_file_that_is_gone_differs(project):
    (project / "models/m/model.yaml").unlink()
    code = code_of(project, SPEC)
    assert code.changed == ("models/m/model.yaml",)
    assert "deleted file" in patch(project, code)


@pytest.mark.parametrize(
    "name",
    [
        "models/m/data/d.parquet", "models/m/__pycache__/pipeline.pyc", "models/m/x.log",
        "models/other/pipeline.py", "shared/unused.py", "README.md",
    ],
)  # fmt: skip
def test_what_decides_nothing_does_not_count(project, name):
    write(project / name, "other")
    assert code_of(project, SPEC).changed == ()


def test_a_staged_change_is_not_committed(project):
    write(project / "models/m/pipeline.py", "staged = 1\n")
    git(project, "add", "-A")
    assert code_of(project, SPEC).changed == ("models/m/pipeline.py",)


def test_a_patch_has_no_secrets_no_binary_and_an_end(project, monkeypatch):
    monkeypatch.setenv("SHOP_PASSWORD", "hunter2222")
    monkeypatch.setattr(provenance, "MOST", 5_000)
    write(project / "models/m/pipeline.py", "password = 'hunter2222'\n")
    (project / "models/m/picture.bin").write_bytes(b"\0\1\2" * 1_000)
    text = patch(project, code_of(project, SPEC))
    assert "password = '***'" in text
    assert "Binary files" in text
    write(project / "models/m/long.txt", "line\n" * 5_000)
    text = patch(project, code_of(project, SPEC))
    assert len(text) < 5_100
    assert text.rstrip().endswith("more characters")


def test_outside_of_git_nothing_differs_and_nothing_is_known(tmp_path):
    write(tmp_path / "models/m/pipeline.py", "")
    code = code_of(tmp_path, SPEC)
    assert (code.commit, code.changed, code.problem) == (None, (), "")
    assert code.facts == {"commit": "unknown", "changed": []}
    assert judged(code, allowed=False).outcome is Outcome.PASS
    assert patch(tmp_path, code) == ""


def test_before_the_first_commit_and_where_git_fails_nobody_knows(tmp_path, monkeypatch):
    write(tmp_path / "models/m/pipeline.py", "")
    git(tmp_path, "init", "-q")
    code = code_of(tmp_path, SPEC)
    assert code.problem == "there is no commit yet"
    assert judged(code, allowed=False).outcome is Outcome.INCONCLUSIVE
    assert judged(code, allowed=True).outcome is Outcome.PASS
    monkeypatch.setenv("PATH", "")
    assert code_of(tmp_path, SPEC).problem == "git is not installed"


def test_the_environment_is_captured(tmp_path):
    found = environment(tmp_path)
    assert found["lock"] is None
    write(tmp_path / "uv.lock", "version = 1\n")
    assert len(environment(tmp_path)["lock"]) == 64
    assert found["python"].startswith("3.")
    assert found["cpus"] >= 1
    assert set(found["libraries"]) == set(provenance.LIBRARIES)
