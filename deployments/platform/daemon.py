"""supervisord itself."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
import time

from andon.adapters.sockets import supervisor_socket
from andon.adapters.supervisor import Supervisor
from andon.errors import PlatformError
from andon.settings import Settings
from deployments.platform.programs import supervisor_environment

START_SECONDS = 60.0
POLL_SECONDS = 0.05


def start(settings: Settings) -> None:
    """Start it in the background and wait until it answers."""
    run = settings.state / "run"
    config, log = run / "supervisord.conf", settings.state / "logs" / "supervisord.log"
    config.write_text(_config(settings), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", str(config)],
        env=supervisor_environment(settings),
        cwd=settings.state,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS,
    )
    supervisor, deadline = Supervisor(settings), time.monotonic() + START_SECONDS
    while done.returncode == 0 and time.monotonic() < deadline:
        if supervisor.running():
            return
        time.sleep(POLL_SECONDS)
    said = f"{done.stdout}{done.stderr}".strip() or "nothing"
    raise PlatformError(f"supervisord did not start; it said: {said}\nSee {log}")


def _config(settings: Settings) -> str:
    # The pattern of [include] is relative, because it would end at a space.
    state, sock = settings.state, supervisor_socket(settings)
    user = f"user={getpass.getuser()}\n" if os.geteuid() == 0 else ""
    return f"""\
[supervisord]
pidfile={state}/run/supervisord.pid
logfile={state}/logs/supervisord.log
logfile_maxbytes=10MB
logfile_backups=3
childlogdir={state}/logs
nocleanup=true
{user}
[unix_http_server]
file={sock}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[include]
files = ../conf.d/*.conf
"""
