"""What a process that the line starts may use of this machine, and what it gets to see."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from andon.adapters.masking import looks_secret
from andon.settings import Settings
from serving.workers import CGROUP, cpu_share, memory_limit

FREE_SHARE = 0.9  # of the free memory, where nothing is said of it
_THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "POLARS", "BLIS")
_PASSED = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "SHELL", "TZ", "LANG", "LANGUAGE", "VIRTUAL_ENV",
        "LD_LIBRARY_PATH", "LD_PRELOAD", "SSL_CERT_FILE", "SSL_CERT_DIR", "PYTHONPATH",
        "PYTHONHOME", "PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE", "XDG_CACHE_HOME",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What a process may use; the words say where a limit comes from, for the message."""

    seconds: float
    memory_mb: int
    cpus: int
    seconds_from: str = "training.minutes in model.yaml"
    memory_from: str = "compute.memory_mb in andon.yaml"


def limits(settings: Settings, seconds: float, seconds_from: str) -> Limits:
    """The limits of `andon.yaml`; what it leaves open is what the machine, or container, has."""
    asked, free = settings.compute.memory_mb, int(free_mb() * FREE_SHARE)
    return Limits(
        seconds=seconds,
        memory_mb=asked or free,
        cpus=settings.compute.cpus or cpus(),
        seconds_from=seconds_from,
        memory_from="compute.memory_mb in andon.yaml"
        if asked
        else "90 % of what was free; set compute.memory_mb in andon.yaml",
    )


def cpus(cgroup: Path = CGROUP) -> int:
    """Processors by affinity and by the cgroup's quota, rounded up."""
    share, mine = cpu_share(cgroup), len(os.sched_getaffinity(0))
    return max(1, min(mine, math.ceil(share)) if share is not None else mine)


def free_mb(cgroup: Path = CGROUP) -> float:
    """Megabytes (2**20 bytes) that are free in the machine and in the cgroup."""
    import psutil

    free, limit = psutil.virtual_memory().available, memory_limit(cgroup)
    if limit is not None:
        free = min(free, max(0, limit - _used(cgroup)))
    return free / 2**20


def _used(cgroup: Path) -> int:
    """Bytes that the cgroup cannot give back: files that are only cached do not count."""
    for path, stat in (("memory.current", "memory.stat"), ("memory/memory.usage_in_bytes", "")):
        try:
            used = int((cgroup / path).read_text())
        except (OSError, ValueError):
            continue
        try:
            words = (cgroup / (stat or "memory/memory.stat")).read_text().split()
            return used - int(words[words.index("inactive_file") + 1])
        except (OSError, ValueError, IndexError):
            return used
    return 0


def environment(cpus: int, scratch: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """What a process gets to see: paths and locale, limits of threads, and no secrets.

    What is not passed cannot change what is learned, and cannot be printed.
    """
    found = {
        name: value
        for name, value in os.environ.items()
        if (name in _PASSED or name.startswith("LC_")) and not looks_secret(name, value)
    }
    found |= {f"{it}_NUM_THREADS": str(cpus) for it in _THREADS}
    found["POLARS_MAX_THREADS"] = str(cpus)
    return {
        **found,
        "LOKY_MAX_CPU_COUNT": str(cpus),
        "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads slow a busy machine down, ten times
        "TMPDIR": str(scratch),
        "JOBLIB_TEMP_FOLDER": str(scratch),
        "MPLBACKEND": "Agg",
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        **extra,
    }
