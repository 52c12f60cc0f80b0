"""The folders of the state, and the mark that says which format it has."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from andon.adapters.sockets import socket_folder, stand_in
from andon.errors import PlatformError
from andon.settings import Settings

STATE_FORMAT = "2"
OPEN = ("logs", "store", "inference", "feedback", "mlartifacts", "prefect", "dvc", "pages")
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
        _make_socket_folder(settings)
    except OSError as error:
        raise PlatformError(f"{error.filename}: cannot write: {error.strerror}") from None


def _make_socket_folder(settings: Settings) -> None:
    """Ours alone; as root others may pass through it, to PostgreSQL's folder inside.

    A stand-in is made anew when a reboot, or somebody, has removed it.
    """
    folder = socket_folder(settings)
    if folder.parent != settings.state and not _is_our_folder(folder):
        stand_in(settings).unlink(missing_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="andon-"))
        stand_in(settings).symlink_to(folder)
    folder.chmod(0o711 if os.geteuid() == 0 else 0o700)


def _is_our_folder(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
