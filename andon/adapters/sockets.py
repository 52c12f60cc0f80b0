"""Where this line's unix sockets are: their paths must be short."""

from __future__ import annotations

from pathlib import Path

from andon.settings import Settings

# The kernel takes 107 bytes; supervisord binds "<path>.<pid>" before it renames it.
LONGEST = 107 - len("/supervisor.sock.4194304")


def stand_in(settings: Settings) -> Path:
    """The link to a short folder elsewhere, for a state folder whose path is too long."""
    return settings.state / "run" / "sockets"


def socket_folder(settings: Settings) -> Path:
    """`run/` of the state folder, or where `stand_in` leads.

    It is read from the link, not computed: $TMPDIR may differ from one shell to the next.
    """
    folder = settings.state / "run"
    if len(str(folder).encode()) <= LONGEST:
        return folder
    link = stand_in(settings)
    return link.readlink() if link.is_symlink() else link


def supervisor_socket(settings: Settings) -> Path:
    """What `andon` and the stations talk to supervisord through."""
    return socket_folder(settings) / "supervisor.sock"


def postgres_sockets(settings: Settings) -> Path:
    """A folder of its own, because it may belong to another user than the rest."""
    return socket_folder(settings) / "pg"
