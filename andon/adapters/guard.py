"""Stands between the line and a process that may do anything; run as a script, with few imports.

It holds the reading end of the line's lifeline. When the line lets go, or dies, or the command
ends, everything below is killed. Orphans fall to this process (a child subreaper), so nothing that
was started down there gets away: prctl(2), PR_SET_CHILD_SUBREAPER.

    guard.py LIFELINE REPORT COMMAND...     (LIFELINE, REPORT: file descriptors)
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import sys

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36


def main(lifeline: int, report: int, command: list[str]) -> None:
    """Run the command until it ends or the lifeline is cut; then leave nothing of it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the lifeline is how one asks
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    pid = os.fork()
    if pid == 0:
        _become(command, lifeline)
    status = None
    while status is None:
        ready, _, _ = select.select([lifeline, woken], [], [])
        if lifeline in ready:
            break
        os.read(woken, 4096)
        status = _reap(pid)
    _kill_all_below()
    status = _reap(pid) if status is None else status
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = {
        "status": status,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
    }
    with contextlib.suppress(OSError):  # the line is gone
        os.write(report, b"\n" + json.dumps({"guard": said}).encode() + b"\n")


def _become(command: list[str], lifeline: int) -> None:
    try:
        guard = os.getppid()
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.close(lifeline)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
            file.write("800")  # where memory runs out, this goes before what serves
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error}\n")
    finally:
        os._exit(127)


_ended: dict[int, int] = {}


def _reap(pid: int) -> int | None:
    """Collect what has ended; the exit code of `pid` (negative: the signal), None if it lives."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            _ended[found[0]] = os.waitstatus_to_exitcode(found[1])
    return _ended.get(pid)


def _kill_all_below() -> None:
    """Kill children until there are none: those of a killed child become ours."""
    while True:
        for child in _children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            return
        _ended[pid] = os.waitstatus_to_exitcode(status)


def _children() -> list[int]:
    me, found = os.getpid(), []
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as file:  # noqa: PTH123
                # The name, in brackets, may hold anything; state and parent come after it.
                if int(file.read().rpartition(")")[2].split()[1]) == me:
                    found.append(int(name))
    return found


def _prctl(option: int, value: int) -> None:
    import ctypes

    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
