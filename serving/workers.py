"""Workers: processes that share one port, one model in memory, and their counters."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

CGROUP = Path("/sys/fs/cgroup")
MOST = 64
# Beside the model, which all share: what a worker takes for itself.
WORKER_BYTES = 64 * 2**20
SETTLED_SECONDS = 5.0  # who lives so long did not die of its start
FAILURES = 5
SIGNALS = (signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG = 1


def decide(asked: str, used_bytes: int, cgroup: Path = CGROUP) -> int:
    """How many workers: what was asked for, or as many as the share of CPU and memory has room for.

    `auto` is one for each whole CPU of the cgroup's quota; without a quota there is no share to go
    by, and other servers are on the machine: one.
    """
    if asked != "auto":
        return int(asked)
    share, limit = cpu_share(cgroup), memory_limit(cgroup)
    count = max(1, min(MOST, int(share))) if share is not None else 1
    if limit is not None:
        count = max(1, min(count, (limit - used_bytes) // WORKER_BYTES))
    return count


def cpu_share(cgroup: Path = CGROUP) -> float | None:
    """CPUs that the cgroup's quota allows (versions 2 and 1); None without one."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        used = int((cgroup / "cpu" / "cpu.cfs_quota_us").read_text())
        return used / int((cgroup / "cpu" / "cpu.cfs_period_us").read_text()) if used > 0 else None
    except (OSError, ValueError):
        return None


def memory_limit(cgroup: Path = CGROUP) -> int | None:
    """Bytes that the cgroup may use (versions 2 and 1); None without a limit."""
    for path in (cgroup / "memory.max", cgroup / "memory" / "memory.limit_in_bytes"):
        try:
            found = int(path.read_text())
        except (OSError, ValueError):  # "max" is no number
            continue
        return found if found < 2**60 else None
    return None


def resident_bytes() -> int:
    """What this process has in memory."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def run(count: int, serve: Callable[[], None]) -> int:
    """Run `serve` in so many processes until SIGTERM or SIGINT; returns the exit status.

    One that dies is replaced. If they die as soon as they start, all end.
    """
    if count == 1:
        serve()
        return 0
    return _Crew(count, serve).run()


class _Crew:
    def __init__(self, count: int, serve: Callable[[], None]) -> None:
        self._count = count
        self._serve = serve
        self._started: dict[int, float] = {}
        self._stopping = False
        self._failures = 0

    def run(self) -> int:
        for number in SIGNALS:
            signal.signal(number, self._stop)
        for _ in range(self._count):
            self._fork()
        while self._started:
            pid, status = os.wait()
            lived = time.monotonic() - self._started.pop(pid, 0.0)
            if self._stopping:
                continue
            said = os.waitstatus_to_exitcode(status)
            print(f"andon serving: worker {pid} ended with {said}", file=sys.stderr, flush=True)
            self._failures = self._failures + 1 if lived < SETTLED_SECONDS else 0
            if self._failures >= FAILURES:
                self._stop()
            elif not self._stopping:
                self._fork()
        return 1 if self._failures >= FAILURES else 0

    def _stop(self, *_: object) -> None:
        self._stopping = True
        for pid in list(self._started):
            os.kill(pid, signal.SIGTERM)

    def _fork(self) -> None:
        parent = os.getpid()
        # No signal between the fork and the moment when it is known whose it is.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        pid = os.fork()
        if pid == 0:
            self._work(parent)
        self._started[pid] = time.monotonic()
        if self._stopping:  # since the decision to fork
            os.kill(pid, signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _work(self, parent: int) -> NoReturn:
        status = 1
        try:
            for number in SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            _end_with(parent)
            self._serve()
            status = 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)  # what the parent opened is the parent's to close


def _end_with(parent: int) -> None:
    """Have the kernel end this worker when its parent is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
