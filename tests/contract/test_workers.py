"""How many workers there are, and that they end, are replaced, and count together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import wait_until

from serving import workers

GIB = 2**30


def cgroup(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


QUOTAS = [
    ({}, 1),
    ({"cpu.max": "max 100000\n"}, 1),
    ({"cpu.max": "50000 100000\n"}, 1),
    ({"cpu.max": "400000 100000\n"}, 4),
    ({"cpu.max": "450000 100000\n", "memory.max": "max\n"}, 4),
    ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ({"cpu.max": "800000 100000\n", "memory.max": f"{GIB // 2}\n"}, 4),
    ({"cpu.max": "800000 100000\n", "memory/memory.limit_in_bytes": f"{GIB // 2}\n"}, 4),
    ({"cpu.max": "800000 100000\n", "memory.max": f"{GIB // 8}\n"}, 1),  # less than is used
    ({"cpu.max": "garbage"}, 1),
]


@pytest.mark.parametrize(("files", "count"), QUOTAS)
def test_auto_takes_what_the_share_of_cpu_and_memory_has_room_for(tmp_path, files, count):
    assert workers.decide("auto", GIB // 4, cgroup(tmp_path, files)) == count
    assert workers.decide("7", GIB // 4, cgroup(tmp_path, files)) == 7


CREW = """
import os, signal, sys, time
from pathlib import Path
from serving import workers

folder = Path(sys.argv[1])

def serve():
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(SystemExit))
    (folder / str(os.getpid())).touch()
    if (folder / "die").exists():
        sys.exit(9)
    try:
        while True:
            signal.pause()
    except SystemExit:
        (folder / f"{os.getpid()}.ended").touch()

sys.exit(workers.run(2, serve))
"""


@pytest.fixture
def crew(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", CREW, str(tmp_path)], stderr=subprocess.PIPE, text=True
    )
    with process:
        yield process
        process.kill()


def pids(folder: Path) -> set[int]:
    return {int(path.name) for path in folder.iterdir() if path.name.isdecimal()}


def test_a_worker_that_dies_is_replaced_and_all_end_on_sigterm(crew, tmp_path):
    wait_until(lambda: len(pids(tmp_path)) == 2, 60, "two workers are there")
    os.kill(min(pids(tmp_path)), signal.SIGKILL)
    wait_until(lambda: len(pids(tmp_path)) == 3, 60, "a third has taken the place")
    crew.terminate()
    assert crew.wait(60) == 0
    assert len(list(tmp_path.glob("*.ended"))) == 2
    assert "ended with -9" in crew.stderr.read()


def test_workers_that_cannot_start_end_the_server(crew, tmp_path):
    wait_until(lambda: len(pids(tmp_path)) == 2, 60, "two workers are there")
    (tmp_path / "die").touch()
    for pid in pids(tmp_path):
        os.kill(pid, signal.SIGKILL)
    assert crew.wait(60) == 1


def test_no_worker_outlives_a_killed_server(crew, tmp_path):
    wait_until(lambda: len(pids(tmp_path)) == 2, 60, "two workers are there")
    crew.kill()
    wait_until(lambda: len(list(tmp_path.glob("*.ended"))) == 2, 60, "the workers have ended")
