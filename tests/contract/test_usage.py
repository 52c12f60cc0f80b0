"""What a tree of processes uses, and what a cgroup does, in both versions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import wait_until

from andon.adapters import usage
from andon.ports import Usage

MEGABYTE = 2**20
# A parent with 64 MiB, which its two children inherit; one writes 16 MiB of its own; a third has
# burnt 0.3 s and is gone.
CREW = """
import os, sys, time
inherited = bytearray(b"x") * (64 << 20)
burner = os.fork()
if burner == 0:
    end = time.process_time() + 0.3
    while time.process_time() < end: pass
    os._exit(0)
if sys.argv[1] == "wait": os.waitpid(burner, 0)
for own in (0, 16):
    ready, done = os.pipe()
    if os.fork() == 0:
        mine = bytearray(b"x") * (own << 20)
        os.write(done, b"!")
        sys.stdin.read()
        os._exit(0)
    os.read(ready, 1)
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["wait", "leave"])
def crew(request):
    """One whose parent has waited for the child that ended, and one that leaves it a zombie."""
    command = [sys.executable, "-c", CREW, request.param]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    yield process
    process.communicate()


def test_memory_that_workers_inherited_counts_once_and_their_own_time_counts(crew):
    wait_until(lambda: usage.of_tree(crew.pid).cpu_seconds >= 0.3, 20, "the work is seen")
    found = usage.of_tree(crew.pid)
    assert 80 * MEGABYTE < found.memory_bytes < 140 * MEGABYTE
    assert found.cpu_seconds < 3


def test_of_a_process_that_is_gone_nothing_is_told():
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert usage.of_tree(process.pid) is None  # a zombie
    process.wait()
    assert usage.of_tree(process.pid) is None


def test_where_the_kernel_tells_no_shares_it_is_what_is_a_process_s_alone(monkeypatch, tmp_path):
    before = usage.of_tree(os.getpid()).memory_bytes
    (tmp_path / str(os.getpid())).mkdir()
    monkeypatch.setattr(usage, "PROC", tmp_path)
    assert usage.of_tree(os.getpid()).memory_bytes == pytest.approx(before, rel=0.8)


def tree(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture
def machine(monkeypatch, tmp_path):
    monkeypatch.setattr(usage, "PROC", tmp_path / "proc")
    monkeypatch.setattr(usage, "CGROUPS", tmp_path / "cgroup")
    return tmp_path


def test_a_cgroup_of_version_2(machine):
    scope = "cgroup/system.slice/docker-abc.scope"
    tree(machine, {
        "proc/7/cgroup": "0::/system.slice/docker-abc.scope\n",
        f"{scope}/cpu.stat": "usage_usec 2500000\nuser_usec 1\nsystem_usec 2\n",
        f"{scope}/memory.stat": "anon 100\nfile 5000\nkernel 7\nshmem 20\n",
        f"{scope}/memory.swap.current": "3\n",
    })  # fmt: skip
    assert usage.of_cgroup(7, "abc", 9.0) == Usage(2.5, 123, 9.0)
    (machine / scope / "memory.swap.current").unlink()  # no swap on this machine
    assert usage.of_cgroup(7, "abc", 9.0) == Usage(2.5, 120, 9.0)


def test_a_cgroup_of_version_1(machine):
    tree(machine, {
        "proc/7/cgroup": "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/docker/abc\n",
        "cgroup/cpuacct/docker/abc/cpuacct.usage": "2500000000\n",
        "cgroup/memory/docker/abc/memory.stat": "rss 1\ntotal_rss 100\ntotal_shmem 20\n",
    })  # fmt: skip
    assert usage.of_cgroup(7, "abc", 9.0) == Usage(2.5, 120, 9.0)


@pytest.mark.parametrize(
    "text", ["0::/docker/other\n", "0::/docker/abc\n", "4:memory:/docker/abc\n", "nonsense\n", ""]
)
def test_another_s_cgroup_or_one_that_is_gone_tells_nothing(machine, text):
    tree(machine, {"proc/7/cgroup": text})
    assert usage.of_cgroup(7, "abc", 9.0) is None
    assert usage.of_cgroup(8, "abc", 9.0) is None
