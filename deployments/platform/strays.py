"""Processes of this line that nobody supervises any more, because supervisord was killed."""

from __future__ import annotations

import psutil

from andon.settings import Settings
from deployments.platform.programs import MARK

GRACE_SECONDS = 10.0


def marked(settings: Settings) -> list[psutil.Process]:
    """All processes that descend from a supervisord of this state folder, but for ourselves."""
    ourselves = {process.pid for process in [psutil.Process(), *psutil.Process().parents()]}
    return [
        process
        for process in psutil.process_iter()
        if process.pid not in ourselves and is_marked(process, settings)
    ]


def is_marked(process: psutil.Process, settings: Settings) -> bool:
    """Whether one of our supervisords started it, directly or not."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.environ().get(MARK) == str(settings.state)
    except (psutil.Error, OSError):
        return False


def sweep(settings: Settings) -> int:
    """End them: SIGTERM, time to finish, SIGKILL. Returns how many there were."""
    found = marked(settings)
    _each(found, "terminate")
    _, alive = psutil.wait_procs(found, timeout=GRACE_SECONDS)
    _each(alive, "kill")
    psutil.wait_procs(alive, timeout=GRACE_SECONDS)
    return len(found)


def _each(processes: list[psutil.Process], action: str) -> None:
    for process in processes:
        try:
            getattr(process, action)()
        except psutil.NoSuchProcess:
            continue
