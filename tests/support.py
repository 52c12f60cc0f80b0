"""What tests of the platform need: waiting, ports, folders, a running platform."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from andon.adapters.loopback import is_free
from andon.settings import Settings
from deployments.platform import daemon, layout
from deployments.platform.up import down, up

REPOSITORY = Path(__file__).parents[1]
PORTS = 300  # a line takes port_base … port_base + 199
FIRST, LAST = 10_000, 32_000  # above come the ports that clients get


def wait_until(predicate: Callable[[], object], seconds: float, what: str) -> None:
    """Poll until it is true; the deadline is for what never happens, not a speed limit."""
    deadline = time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


def free_port_block(count: int = PORTS) -> int:
    """The first of `count` ports in a row that are free; other test runs begin elsewhere."""
    blocks = (LAST - FIRST) // count
    for offset in range(blocks):
        base = FIRST + (os.getpid() + offset) % blocks * count
        if all(is_free(port) for port in range(base, base + count)):
            return base
    raise AssertionError(f"no {count} free ports in a row")


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for a platform. Not pytest's: that one is closed to PostgreSQL's user, and every
    other test run on this machine closes it again."""
    folder = Path(tempfile.mkdtemp(prefix="andon-test-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(settings: Settings) -> Iterator[Settings]:
    """The whole platform, up while the block runs."""
    try:
        up(settings, lambda message, fraction: print(message, fraction, flush=True))
        yield settings
    finally:
        down(settings, lambda message, fraction: None)


@contextmanager
def supervised(settings: Settings) -> Iterator[Settings]:
    """A supervisord without any program: all that a process target needs, up in half a second."""
    layout.make(settings)
    try:
        daemon.start(settings)
        yield settings
    finally:
        down(settings, lambda message, fraction: None)
