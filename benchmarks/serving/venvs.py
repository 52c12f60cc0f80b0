"""Environments: one for each peer and one for each kind of engine of ours, kept between runs."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from servers import PEERS, ROOT

SAME = ("scikit-learn", "pandas", "numpy")
# What an image holds for each kind of engine: groups of pyproject.toml.
GROUPS = {
    "linear": ("serving",),
    "trees": ("serving", "serving-onnx"),
    "onnx": ("serving", "serving-onnx"),
    "sklearn": ("serving", "serving-sklearn"),
}


class SetupError(Exception):
    """The benchmark cannot run here; says what to do."""


def environment(name: str, engine: str, folder: Path) -> Path:
    """The environment of a peer, or of ours for that engine; made if it is not there."""
    if name == "ours":
        groups = [word for it in GROUPS[engine] for word in ("--only-group", it)]
        pins = _uv("export", "--locked", "--no-header", *groups)
        return _made(folder / f"andon-{'-'.join(GROUPS[engine])}", pins, ("--require-hashes",))
    pins = (PEERS / name / "requirements.txt").read_text(encoding="utf-8")
    _check_pins(name, pins)
    return _made(folder / name, pins, ())


def size(environment: Path) -> int:
    """Bytes of what is installed in it."""
    return sum(
        path.stat().st_size
        for site in environment.glob("lib/python*/site-packages")
        for path in site.rglob("*")
        if path.is_file() and not path.is_symlink()
    )


def code_size() -> int:
    """Bytes of the prediction server itself."""
    return sum(path.stat().st_size for path in (ROOT / "serving").rglob("*.py"))


def _check_pins(name: str, pins: str) -> None:
    """A peer with another scikit-learn would compute something else."""
    for package in SAME:
        found = re.search(rf"^{package}==(\S+)", pins, flags=re.MULTILINE)
        ours = version(package)
        if found is None or found[1] != ours:
            raise SetupError(
                f"peers/{name}/requirements.txt has {found and found[0]}, the line's lock "
                f"{package}=={ours}: change requirements.in and compile it again"
            )


def _made(folder: Path, pins: str, options: tuple[str, ...]) -> Path:
    key = hashlib.sha256(f"{sys.version}\n{pins}".encode()).hexdigest()
    done = folder / ".made-of"
    if done.is_file() and done.read_text() == key:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    try:
        _uv("venv", "--python", sys.executable, str(folder))
        requirements = folder / "requirements.txt"
        requirements.write_text(pins, encoding="utf-8")
        python = str(folder / "bin" / "python")
        _uv("pip", "install", "--no-deps", "--python", python, *options, "-r", str(requirements))
        done.write_text(key)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _uv(*arguments: str) -> str:
    variables = {"UV_PYTHON_DOWNLOADS": "never", "UV_COMPILE_BYTECODE": "1"}
    try:
        uv = _output(sys.executable, str(ROOT / "infra" / "uv.py")).strip()
        return _output(uv, "--quiet", *arguments, **variables)
    except subprocess.CalledProcessError as error:
        raise SetupError(f"uv {arguments[0]}: {error.stderr.strip()[-800:]}") from None


def _output(*command: str, **variables: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
    return subprocess.run(
        command, cwd=ROOT, env={**environment, **variables},
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
