"""What a run was made on, for whoever reads its figures."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from processes import CORES
from servers import PEERS, ROOT

OURS = ("scikit-learn", "numpy", "pandas", "onnxruntime", "uvicorn", "uvloop", "httptools")
THEIRS = {"mlflow": "mlflow", "bentoml": "bentoml", "mlserver": "mlserver", "fastapi": "fastapi"}


def machine(seconds: int, rounds: int) -> dict[str, str]:
    """Facts by name."""
    peers = {package: _pinned(peer, package) for peer, package in THEIRS.items()}
    ours = {package: version(package) for package in OURS}
    return {
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        "commit": _commit(),
        "processor": f"{_processor()}, {len(CORES)} of {os.cpu_count()} cores",
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {number}" for name, number in {**peers, **ours}.items()),
        "loads": f"{seconds} s each, median of {rounds} interleaved rounds",
    }


def _pinned(peer: str, package: str) -> str:
    for line in (PEERS / peer / "requirements.txt").read_text(encoding="utf-8").splitlines():
        name, found, number = line.partition("==")
        if found and name == package:
            return number
    return "?"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    """With a mark if what was measured is more than what is committed."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        check=False, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip() or "unknown"
