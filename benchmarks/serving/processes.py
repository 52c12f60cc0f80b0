"""Processes of a benchmark: started on one core, measured as whole trees, and gone afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from servers import Launch

PATIENCE = 5.0  # seconds between asking a tree to end and ending it
# No server may use a second core, or a pool of threads that fight for the one it has.
THREADS = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
# Variables of whoever runs the benchmark that would change what is measured.
FOREIGN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
# One core for the load and one for the server.
CORES = sorted(os.sched_getaffinity(0))
LOAD_CORE, SERVER_CORE = CORES[0], CORES[-1]
TICKS = os.sysconf("SC_CLK_TCK")


def pinned(core: int, *command: str | Path) -> list[str]:
    """The command, on one core."""
    return ["taskset", "-c", str(core), *map(str, command)]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for it in sockets:
            it.bind(("127.0.0.1", 0))
        return [int(it.getsockname()[1]) for it in sockets]


class Tree:
    """A process and all its children."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, began: float) -> None:
        self.process = process
        self.log = log
        self.began = began
        self._known: dict[int, psutil.Process] = {}

    def members(self) -> list[psutil.Process]:
        """Everyone who is alive now."""
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            for it in (root, *root.children(recursive=True)):
                self._known.setdefault(it.pid, it)
        return [it for it in self._known.values() if it.is_running()]

    def cpu_seconds(self) -> float:
        """CPU time that the tree has used, children that ended included."""
        total = 0.0
        for it in self.members():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += sum(it.cpu_times()[:4])
        return total

    def memory(self) -> int:
        """Bytes, where pages that processes share count once (PSS)."""
        total = 0
        for it in self.members():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += it.memory_full_info().pss
        return total

    def tail(self) -> str:
        """The end of what it said."""
        return self.log.read_text(errors="replace")[-1_500:]

    def stop(self) -> None:
        """SIGTERM to the first, SIGKILL to whoever is left."""
        members = self.members()
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while any(_alive(it) for it in members) and time.monotonic() < deadline:
            self.process.poll()
            time.sleep(0.02)
        for it in {*members, *self.members()}:
            with contextlib.suppress(psutil.NoSuchProcess):
                it.kill()
        self.process.wait(PATIENCE)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def running(launch: Launch, log: Path) -> Iterator[Tree]:
    """A server on its core while the block runs."""
    environment = {k: v for k, v in os.environ.items() if k not in FOREIGN}
    binary = str(Path(launch.command[0]).parent)
    environment["PATH"] = os.pathsep.join((binary, environment.get("PATH", "")))
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            pinned(SERVER_CORE, *launch.command),
            cwd=launch.cwd,
            env={**environment, **THREADS, **launch.env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a Ctrl-C is ours to handle
        )
    tree = Tree(process, log, began)
    try:
        yield tree
    finally:
        tree.stop()


def busy_seconds(core: int = SERVER_CORE) -> float:
    """Time that a core has worked, whoever it was for."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            user, nice, system, _idle, _wait, irq, softirq, steal = map(int, fields[:8])
            return (user + nice + system + irq + softirq + steal) / TICKS
    raise LookupError(f"/proc/stat has no core {core}")
