"""Where this line's unix sockets are: their paths must be short."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from andon.settings import Settings

# The kernel takes 107 bytes; supervisord binds "<path>.<pid>" before it renames it.
LONGEST = 107 - len("/supervisor.sock.4194304")


def socket_folder(settings: Settings) -> Path:
    """`run/` of the state folder, or a short stand-in when that path is too long for a socket."""
    folder = settings.state / "run"
    if len(str(folder).encode()) <= LONGEST:
        return folder
    key = hashlib.sha256(str(settings.state).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"andon-{key}"


def supervisor_socket(settings: Settings) -> Path:
    """What `andon` and the stations talk to supervisord through."""
    return socket_folder(settings) / "supervisor.sock"


def postgres_sockets(settings: Settings) -> Path:
    """A folder of its own, because it may belong to another user than the rest."""
    return socket_folder(settings) / "pg"
