"""What a server uses: CPU time, and the memory that is its own.

Memory is what would be free if it ended: anonymous and shared memory, swapped out or not, and no
pages of files, which the kernel keeps for whoever reads them next. Of a tree of processes it is the
sum of their proportional shares, so what workers inherited from their parent counts once. Asked
several times a second: a tree costs some milliseconds, a cgroup a tenth of one.
"""

from __future__ import annotations

from pathlib import Path

import psutil

from andon.ports import Usage

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
# Lines of /proc/PID/smaps_rollup (in kB), and of a cgroup's memory.stat in versions 2 and 1.
OWN = ("Pss_Anon:", "Pss_Shmem:", "SwapPss:")
OWN_2, OWN_1 = ("anon", "shmem"), ("total_rss", "total_shmem", "total_swap")


def of_tree(pid: int) -> Usage | None:
    """Of a process and all that descend from it; None if one of them ended meanwhile.

    CPU time of descendants that ended counts on, as soon as their parent has waited for them.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        family = [process, *process.children(recursive=True)]
        return Usage(
            cpu_seconds=sum(sum(it.cpu_times()[:4]) for it in family),
            memory_bytes=sum(_own(it) for it in family),
            started=process.create_time(),
        )
    except (psutil.Error, OSError, ValueError):
        return None


def of_cgroup(pid: int, mark: str, started: float) -> Usage | None:
    """Of the cgroup of a process, whose path has `mark` in it; None if that cannot be told."""
    try:
        lines = (PROC / str(pid) / "cgroup").read_text(encoding="utf-8").splitlines()
        fields = [line.split(":", 2) for line in lines]
        paths = {
            name: path.lstrip("/")
            for _, names, path in fields
            if mark in path
            for name in names.split(",")
        }
        whole = CGROUPS / paths.get("", "")
        if mark in paths.get("", "") and (whole / "memory.stat").is_file():
            return Usage(
                cpu_seconds=_counters(whole / "cpu.stat")["usage_usec"] / 1e6,
                memory_bytes=_sum(whole / "memory.stat", OWN_2) + _swapped(whole),
                started=started,
            )
        cpu = CGROUPS / "cpuacct" / paths["cpuacct"] / "cpuacct.usage"
        return Usage(
            cpu_seconds=int(cpu.read_text(encoding="utf-8")) / 1e9,
            memory_bytes=_sum(CGROUPS / "memory" / paths["memory"] / "memory.stat", OWN_1),
            started=started,
        )
    except (OSError, ValueError, KeyError):
        return None


def _own(process: psutil.Process) -> int:
    """Bytes; an old kernel has no such file, and tells what is the process's alone."""
    try:
        text = (PROC / str(process.pid) / "smaps_rollup").read_text(encoding="utf-8")
    except FileNotFoundError:
        return int(process.memory_full_info().uss)
    except ProcessLookupError:
        return 0  # it ended, and its parent has not waited for it yet
    found = dict(line.split()[:2] for line in text.splitlines()[1:])
    if OWN[0] not in found:
        return int(process.memory_full_info().uss)
    return sum(int(found[name]) for name in OWN) * 1024


def _counters(file: Path) -> dict[str, int]:
    lines = file.read_text(encoding="utf-8").splitlines()
    return {name: int(value) for name, value in (line.split() for line in lines)}


def _sum(file: Path, names: tuple[str, ...]) -> int:
    """Version 1 has no line for swap where that is not counted."""
    found = _counters(file)
    return sum(found[names[0]] if name == names[0] else found.get(name, 0) for name in names)


def _swapped(cgroup: Path) -> int:
    try:
        return int((cgroup / "memory.swap.current").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return 0
