"""What a process may use, and what it gets to see."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from andon.adapters import compute
from andon.adapters.masking import looks_secret, masked
from andon.settings import Compute, Settings


def test_andon_yaml_decides_and_else_the_machine(tmp_path):
    asked = Settings(project=tmp_path, compute=Compute(cpus=3, memory_mb=512))
    found = compute.limits(asked, 60, "training.minutes")
    assert (found.cpus, found.memory_mb, found.seconds) == (3, 512, 60)
    assert found.memory_from == "compute.memory_mb in andon.yaml"
    open_ = compute.limits(Settings(project=tmp_path), 60, "")
    assert open_.cpus == compute.cpus()
    assert 0 < open_.memory_mb < psutil.virtual_memory().total / 2**20
    assert "of what was free; set compute.memory_mb" in open_.memory_from


@pytest.mark.parametrize(("quota", "cpus"), [("max 100000", None), ("50000 100000", 1),
                                             ("150000 100000", 2)])  # fmt: skip
def test_processors_are_those_of_the_affinity_and_the_quota(tmp_path, quota, cpus, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    (tmp_path / "cpu.max").write_text(quota)
    assert compute.cpus(tmp_path) == (cpus or 8)


def test_memory_is_what_the_cgroup_has_left_without_files_that_are_only_cached(tmp_path):
    (tmp_path / "memory.max").write_text(str(100 << 20))
    (tmp_path / "memory.current").write_text(str(70 << 20))
    (tmp_path / "memory.stat").write_text(f"anon 1\ninactive_file {30 << 20}\n")
    assert compute.free_mb(tmp_path) == 60
    (tmp_path / "memory.max").write_text("max")
    assert compute.free_mb(tmp_path) > 60


def test_the_environment_has_paths_limits_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("SHOP_REGION", "north")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    found = compute.environment(3, tmp_path, {"EXTRA": "1"})
    assert "SHOP_REGION" not in found
    assert (found["LC_ALL"], found["EXTRA"], found["OMP_NUM_THREADS"]) == ("C.UTF-8", "1", "3")
    assert Path(found["TMPDIR"]) == tmp_path


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("DB_PASSWORD", "x", True), ("AWS_SECRET_ACCESS_KEY", "x", True), ("A_TOKEN", "x", True),
        ("API_KEY", "x", True), ("PREFECT_SERVER_API_AUTH_STRING", "u:p", True),
        ("ANDON_DATABASE_URL", "postgresql://u:p@h/d", True),
        ("ANDON_DATABASE_URL", "postgresql://h/d", False), ("KEYBOARD", "x", False),
        ("PATH", "/bin", False), ("BROKEN_URL", "http://[u:p@x", False),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret(name, value, secret):
    assert looks_secret(name, value) is secret


def test_secrets_are_masked_the_longest_first_and_short_words_stay():
    environment = {"A_TOKEN": "abcd", "B_TOKEN": "abcdefgh", "C_TOKEN": "on", "NAME": "name"}
    environment["D_URL"] = "postgresql://u:p%40ssword@h/d"
    said = masked("abcdefgh abcd on name p%40ssword p@ssword", environment)
    assert said == "*** *** on name *** ***"
