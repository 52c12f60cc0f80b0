"""The folders of the state, and the mark that says which format it has."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from andon.adapters.sockets import socket_folder
from andon.errors import PlatformError
from andon.settings import Settings

STATE_FORMAT = "1"
OPEN = ("logs", "store", "inference", "feedback", "mlartifacts", "prefect", "dvc")
# Program files may name a database's password; the sockets let in whoever reaches them.
CLOSED = ("conf.d",)


def version_file(settings: Settings) -> Path:
    return settings.state / "VERSION"


def gateway_folder(settings: Settings) -> Path:
    return settings.state / "run" / "gateway"


def make(settings: Settings) -> None:
    """Create what is missing; says in VERSION which format it is before anything else is there."""
    try:
        settings.state.mkdir(parents=True, exist_ok=True)
        if not version_file(settings).exists():
            version_file(settings).write_text(f"{STATE_FORMAT}\n", encoding="utf-8")
        for name in OPEN:
            (settings.state / name).mkdir(exist_ok=True)
        for name in CLOSED:
            (settings.state / name).mkdir(exist_ok=True, mode=0o700)
        (gateway_folder(settings) / "dyn").mkdir(parents=True, exist_ok=True)
        _make_socket_folder(socket_folder(settings))
    except OSError as error:
        raise PlatformError(f"{error.filename}: cannot write: {error.strerror}") from None


def _make_socket_folder(folder: Path) -> None:
    """Ours alone; as root others may pass through it, to PostgreSQL's folder inside."""
    folder.mkdir(exist_ok=True, mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PlatformError(
            f"{folder}: belongs to user {found.st_uid}, not to us; remove it, or choose a state "
            "folder with a shorter path (ANDON_HOME)"
        )
    folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
