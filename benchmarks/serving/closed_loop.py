"""Closed loop: so many clients, each of which sends its next request when it has its answer."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from processes import LOAD_CORE, Tree, busy_seconds, pinned
from servers import HERE
from venvs import SetupError

# Requests that are under way at the end are not counted: with fewer than so many from each client,
# that would be more than noise, and the load is run again for longer.
FEW, LONGER = 3, 4
TIMEOUT = 30  # seconds; a request that takes longer is counted as broken


class WrongAnswer(Exception):
    """A server that does not answer right is not measured."""


def find_wrk() -> str:
    """Where wrk is; raises SetupError."""
    found = shutil.which("wrk")
    if found is None:
        raise SetupError("wrk is missing: it sends the requests. On Debian: apt-get install wrk")
    if shutil.which("taskset") is None:
        raise SetupError("taskset is missing. On Debian: apt-get install util-linux")
    return found


def wrk(url: str, bodies: Path, clients: int, seconds: float) -> dict[str, Any]:
    """What wrk saw, with every request's body taken in turn from a file."""
    # wrk counts whole seconds only.
    options = ("-t", "1", "-c", str(clients), "-d", f"{max(1, round(seconds))}s")
    script = ("--timeout", f"{TIMEOUT}s", "-s", HERE / "load.lua", url, "--", bodies)
    command = pinned(LOAD_CORE, find_wrk(), *options, *script)
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise SetupError(f"wrk ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def measure(tree: Tree, url: str, bodies: Path, clients: int, seconds: float) -> dict[str, Any]:
    """One load, with what it cost the server; raises WrongAnswer unless all of it went well."""
    for longer in (1, LONGER):
        cpu, busy = tree.cpu_seconds(), busy_seconds()
        found = wrk(url, bodies, clients, longer * seconds)
        cpu, busy = tree.cpu_seconds() - cpu, busy_seconds() - busy
        if found["requests"] >= FEW * clients:
            break
    if found["refused"] or found["broken"] or not found["requests"]:
        raise WrongAnswer(f"under {clients} clients: {found}\n{tree.tail()}")
    return {
        "per_second": found["requests"] / found["seconds"],
        "p50_ms": found["p50_ms"],
        "p99_ms": found["p99_ms"],
        "cpu_us": cpu / found["requests"] * 1e6,
        # What others did on the server's core: figures of a busy machine are no figures.
        "foreign": max(0.0, (busy - cpu) / found["seconds"]),
    }
