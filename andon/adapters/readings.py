"""What prediction servers and the platform's own parts use now, and how much there is."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import psutil

from andon.adapters.process_target import PREFIX
from andon.adapters.supervisor import Supervisor
from andon.adapters.usage import of_tree
from andon.errors import PlatformError, TargetError
from andon.ports import Target
from andon.settings import DockerTarget, Settings

MEMORY, CPU, FILES, DISK = "memory", "CPU seconds", "file handles", "disk"


@dataclass(frozen=True)
class Reading:
    """One figure, and the limit that it must not reach; 0: there is none."""

    value: float
    limit: float = 0.0
    unit: str = "bytes"


def of_server(
    settings: Settings, target: Target, environment: str, name: str
) -> dict[str, Reading]:
    """Of a prediction server by figure; empty if it does not run, or the target cannot tell."""
    try:
        used = target.usage(name)
    except TargetError:
        return {}
    if used is None:
        return {}
    where = settings.environments[environment].target
    limit = _room(used.memory_bytes)
    if isinstance(where, DockerTarget) and where.memory_mb:
        limit = min(limit, where.memory_mb * 2.0**20)
    found = {
        MEMORY: Reading(used.memory_bytes, limit),
        CPU: Reading(used.cpu_seconds, unit="s"),
    }
    info = next((it for it in _programs(settings) if it[0] == f"{PREFIX}{name}"), None)
    handles = _handles(info[1]) if info else None
    return found | ({FILES: handles} if handles else {})


def of_platform(settings: Settings) -> dict[str, Reading]:
    """Of each part of the platform by "NAME FIGURE", and of the disk that holds the state."""
    disk = shutil.disk_usage(settings.state)
    found = {DISK: Reading(disk.used, disk.used + disk.free)}
    for name, pid in _programs(settings):
        if name.startswith(PREFIX):
            continue
        used, handles = of_tree(pid), _handles(pid)
        if used is not None:
            found[f"{name} {MEMORY}"] = Reading(used.memory_bytes, _room(used.memory_bytes))
            found[f"{name} {CPU}"] = Reading(used.cpu_seconds, unit="s")
        if handles is not None:
            found[f"{name} {FILES}"] = handles
    return found


def _room(memory: float) -> float:
    """What it uses, and what the machine has left."""
    return memory + float(psutil.virtual_memory().available)


def _programs(settings: Settings) -> list[tuple[str, int]]:
    """Names and process ids of what runs; none if the supervisor does not."""
    try:
        return [(it.name, it.pid) for it in Supervisor(settings).all() if it.pid]
    except PlatformError:
        return []


def _handles(pid: int) -> Reading | None:
    """Of the process of a tree that is nearest to its own limit."""
    try:
        top = psutil.Process(pid)
        found = [
            Reading(it.num_fds(), float(it.rlimit(psutil.RLIMIT_NOFILE)[0]), "files")
            for it in (top, *top.children(recursive=True))
        ]
    except psutil.Error:
        return None
    return max(found, key=lambda it: it.value / it.limit if it.limit > 0 else 0.0)
