"""Files of the project: settings, specs, content hashes, and a store of finished outputs."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from andon.errors import LineError, PlatformError, SpecError
from andon.reading import parse_settings, parse_spec
from andon.settings import Settings
from andon.spec import ModelSpec

SETTINGS_FILE = "andon.yaml"
MIN_FREE_BYTES = 256 << 20  # for one delivery: a snapshot, a build, a bundle, and their records


def find_project(start: Path | None = None) -> Path:
    """$ANDON_PROJECT, or the nearest folder upwards that has an `andon.yaml`."""
    named = os.environ.get("ANDON_PROJECT")
    here = Path(named) if named else (start or Path.cwd())
    for folder in (here, *here.parents):
        if (folder / SETTINGS_FILE).is_file():
            return folder.resolve()
        if named:
            break
    raise SpecError(f"{here}: no {SETTINGS_FILE} here or above; run this inside a project")


def load_settings(project: Path | None = None) -> Settings:
    """Read `andon.yaml`; ANDON_HOME, ANDON_PORT_BASE, … override it."""
    folder = project or find_project()
    variables = {
        "home": os.environ.get("ANDON_HOME"),
        "port_base": os.environ.get("ANDON_PORT_BASE"),
        "database_url": os.environ.get("ANDON_DATABASE_URL"),
        "mlflow_url": os.environ.get("ANDON_MLFLOW_URL"),
        "base_image": os.environ.get("ANDON_BASE_IMAGE"),
    }
    overrides: dict[str, Any] = {key: value for key, value in variables.items() if value}
    names = [f"ANDON_{key.upper()}" for key in overrides]
    return parse_settings(
        _text(folder / SETTINGS_FILE, SETTINGS_FILE),
        file=f"{SETTINGS_FILE} with {', '.join(names)}" if names else SETTINGS_FILE,
        overrides={**overrides, "project": folder},
    )


def model_names(project: Path) -> list[str]:
    """The model projects: folders under `models/` with a `model.yaml`."""
    return sorted(path.parent.name for path in (project / "models").glob("*/model.yaml"))


def load_spec(project: Path, model: str) -> ModelSpec:
    """Read `models/<model>/model.yaml`; raises SpecError with every problem in it."""
    path = project / "models" / model / "model.yaml"
    file = str(path.relative_to(project))
    try:
        return parse_spec(_text(path, file), name=model, file=file)
    except FileNotFoundError:
        known = ", ".join(model_names(project)) or "none"
        raise SpecError(f"{file}: no such file; model projects here: {known}") from None


def _text(path: Path, file: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{file}: not UTF-8: {error}") from None


def file_hash(path: Path) -> str:
    """SHA-256 of a file (hex)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def key_of(*parts: object) -> str:
    """A content key: the SHA-256 of the parts' text, 16 hex digits."""
    return hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()[:16]


def tree_hash(paths: Iterable[Path], root: Path) -> str:
    """One hash over files, by relative path and content."""
    return key_of(*(f"{p.relative_to(root)}={file_hash(p)}" for p in sorted(paths)))


def demand_room(settings: Settings) -> None:
    """Raises PlatformError if what a delivery writes may not fit: better before than half-way."""
    for folder in filter(Path.is_dir, (settings.state, settings.store)):
        free = shutil.disk_usage(folder).free
        if free < MIN_FREE_BYTES:
            raise PlatformError(
                f"{folder}: {free / 2**20:,.0f} MiB free, a delivery needs "
                f"{MIN_FREE_BYTES / 2**20:,.0f}: make room"
            )


def stored(folder: Path, make: Callable[[Path], None]) -> tuple[Path, bool]:
    """The finished output at `folder`, made if it is not there; returns (folder, reused).

    `make` fills a temporary sibling that is renamed when it is complete, so a half-made output is
    never found, whatever kills us. Raises LineError if the disk cannot take it.
    """
    if folder.is_dir():
        return folder, True
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise LineError(f"{folder.parent}: cannot write: {error.strerror}") from None
    try:
        make(temporary)
        temporary.chmod(0o755)
        temporary.replace(folder)
    except OSError as error:
        if not folder.is_dir():  # else: another run was first, with the same content
            raise LineError(f"{folder}: cannot write: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder, False
