"""A process of its own for code that is not the line's: limited, measured, and never left behind.

Memory is watched, not forbidden beforehand: the resident size of the whole tree, ten times a
second. RLIMIT_AS counts address space, of which threads, BLAS and Arrow reserve far more than they
use, and only for each process alone; a cgroup of one's own needs rights that the line need not
have. Pages that processes share count once (PSS) before anything is killed for them.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from andon.adapters import compute
from andon.adapters.compute import Limits
from andon.adapters.masking import masked
from andon.errors import DataError, LineError, SpecError

REPORT_VARIABLE = "ANDON_REPORT"
TICK = 0.1  # seconds between two looks at the memory
TAIL = 16_384  # bytes of its output that are kept
LONGEST = 4 << 20  # bytes of one report
GUARD = Path(__file__).with_name("guard.py")
DYING_SECONDS = 10.0

Event = dict[str, Any]
_KINDS = {it.__name__: it for it in (LineError, DataError, SpecError)}


class Killed(LineError):
    """It was killed: by a limit, or from outside."""


@dataclass(frozen=True)
class Used:
    """What it took: seconds by the clock, seconds of CPU and the peak of memory of all its tree."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


@dataclass(frozen=True)
class Work:
    """What is run, and where. `what` names it in messages: "the training"."""

    what: str
    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """How it ended: its exit status, what it reported as its result, and the end of its output."""

    status: int
    result: Event | None
    used: Used
    tail: str


def call(
    module: str,
    request: Mapping[str, Any],
    limits: Limits,
    *,
    what: str,
    folder: Path,
    told: Callable[[Event], None] = lambda _: None,
) -> tuple[Event, Used]:
    """Run `python -m MODULE request.json`, which answers as `child.answer` does; its result.

    Raises what it raised if that is for a person, else LineError; Killed if it was killed.
    """
    with tempfile.TemporaryDirectory(prefix="andon-") as scratch:
        path = Path(scratch) / "request.json"
        path.write_text(json.dumps(request), encoding="utf-8")
        command = (sys.executable, "-P", "-m", module, str(path))
        done = run(Work(what, command, folder), limits, told)
    result = done.result
    if result is None:
        said = f"; the last that it wrote:\n{done.tail}" if done.tail else ", and wrote nothing"
        raise LineError(f"{what} ended with status {done.status} and without a result{said}")
    if "error" in result:
        raise _KINDS.get(result.get("kind", ""), LineError)(masked(str(result["error"])))
    return result, done.used


def run(work: Work, limits: Limits, told: Callable[[Event], None] = lambda _: None) -> Done:
    """Run a command to its end; `told` gets each event that it reports, and must not block.

    Whatever ends this call, even kill -9, ends the command and all that it has started. Raises
    Killed if it uses too much, or is killed from outside.
    """
    with tempfile.TemporaryDirectory(prefix="andon-", ignore_cleanup_errors=True) as scratch:
        running = _Running(work, limits, told, Path(scratch))
        try:
            running.watch()
        finally:
            running.end()
    return running.done()


class _Running:
    def __init__(
        self, work: Work, limits: Limits, told: Callable[[Event], None], scratch: Path
    ) -> None:
        self._work, self._limits, self._told = work, limits, told
        self._began, self._looked, self._pause = time.monotonic(), 0.0, TICK
        self._why, self._peak = "", 0.0
        self._guard: Event = {}
        self._result: Event | None = None
        self._tail, self._pending = b"", b""
        self._process, self._lifeline, self._report = self._start(scratch)

    def _start(self, scratch: Path) -> tuple[subprocess.Popen[bytes], int, int]:
        held, lifeline = os.pipe()
        report, reported = os.pipe()
        seen = compute.environment(self._limits.cpus, scratch, self._work.environment)
        # No site-packages for the guard: it starts in 20 ms.
        head = (sys.executable, "-I", "-S", str(GUARD), str(held), str(reported))
        try:
            process = subprocess.Popen(
                [*head, *self._work.command],
                cwd=self._work.folder,
                env={**seen, REPORT_VARIABLE: str(reported)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(held, reported),
                start_new_session=True,
            )
        except BaseException:
            os.close(lifeline)
            os.close(report)
            raise
        finally:
            os.close(held)
            os.close(reported)
        return process, lifeline, report

    def watch(self) -> None:
        """Until it has ended, or has to be ended."""
        output = self._process.stdout
        assert output is not None  # noqa: S101 - asked for above
        with selectors.DefaultSelector() as selector:
            selector.register(self._report, selectors.EVENT_READ, self._take_report)
            selector.register(output.fileno(), selectors.EVENT_READ, self._take_output)
            while selector.get_map() and not self._why:
                for key, _ in selector.select(TICK):
                    if chunk := os.read(key.fd, 1 << 16):
                        key.data(chunk)
                    else:
                        selector.unregister(key.fd)
                self._look()

    def end(self) -> None:
        """Cut the lifeline, and see that nothing is left."""
        with contextlib.suppress(OSError):
            os.close(self._lifeline)
        try:
            self._drain()
            self._process.wait(DYING_SECONDS)
        except subprocess.TimeoutExpired:  # somebody stopped the guard
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(DYING_SECONDS)
        finally:
            if not self._guard:  # it was killed itself
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
            os.close(self._report)
            if self._process.stdout:
                self._process.stdout.close()

    def done(self) -> Done:
        status: int = self._guard["status"] if self._guard else self._process.returncode
        spent = time.monotonic() - self._began
        peak = max(self._peak, self._guard.get("peak_mb", 0.0))
        used = Used(spent, self._guard.get("cpu_seconds", 0.0), peak)
        tail = masked(self._tail[-TAIL:].decode("utf-8", errors="replace")).strip()
        if self._why:
            raise Killed(self._why)
        if status < 0:
            raise Killed(self._killed_by(-status, peak, tail))
        return Done(status, self._result, used, tail)

    def _killed_by(self, number: int, peak: float, tail: str) -> str:
        name = signal.Signals(number).name
        what = f"{self._work.what} was killed by signal {number} ({name})"
        if number == signal.SIGKILL:
            return f"{what} from outside, at {peak:,.0f} MB: did the machine run out of memory?"
        return f"{what}; the last that it wrote:\n{tail}" if tail else what

    def _look(self) -> None:
        now = time.monotonic()
        limits, what = self._limits, self._work.what
        if now - self._began > limits.seconds:
            spent = f"{limits.seconds / 60:g} minutes" if limits.seconds >= 60 else ""
            spent = spent or f"{limits.seconds:g} seconds"
            self._why = f"{what} was killed: it took longer than {spent} ({limits.seconds_from})"
        if now - self._looked < self._pause:
            return
        used = _resident_mb(self._process.pid, limits.memory_mb)
        self._looked = time.monotonic()
        self._pause = max(TICK, 20 * (self._looked - now))  # a busy machine: 5 % of a processor
        self._peak = max(self._peak, used)
        if used > limits.memory_mb:
            self._why = (
                f"{what} was killed: it used {used:,.0f} MB, allowed are {limits.memory_mb:,} "
                f"({limits.memory_from})"
            )

    def _drain(self) -> None:
        """The guard's last words."""
        end = time.monotonic() + DYING_SECONDS
        while time.monotonic() < end:
            with selectors.DefaultSelector() as selector:
                selector.register(self._report, selectors.EVENT_READ)
                if selector.select(TICK):
                    if not (chunk := os.read(self._report, 1 << 16)):
                        return
                    self._take_report(chunk)
                elif self._process.poll() is not None:
                    return

    def _take_output(self, chunk: bytes) -> None:
        # More than is shown: a secret that is cut in two would not be known.
        self._tail = (self._tail + chunk)[-2 * TAIL :]

    def _take_report(self, chunk: bytes) -> None:
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        if len(self._pending) > LONGEST:
            self._pending = b""
        for event in _events(lines):
            if "guard" in event:
                self._guard = event["guard"]
            elif "result" in event:
                self._result = event["result"]
            elif not self._why:
                self._told(event)


def _events(lines: list[bytes]) -> Iterator[Event]:
    for line in lines:
        with contextlib.suppress(ValueError):  # what was cut off, or is not ours
            if isinstance(found := json.loads(line), dict):
                yield found


def _resident_mb(pid: int, limit: float) -> float:
    """Megabytes of everything below the guard; shared pages count once where it matters."""
    import psutil

    def total(of: Callable[[psutil.Process], int]) -> float:
        found = 0
        for it in below:
            with contextlib.suppress(psutil.Error):
                found += of(it)
        return found / 2**20

    try:
        below = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return 0.0
    resident = total(lambda it: it.memory_info().rss)
    if resident > limit and len(below) > 1:
        return total(lambda it: getattr(it.memory_full_info(), "pss", it.memory_info().rss))
    return resident
