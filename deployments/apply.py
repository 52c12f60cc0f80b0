"""Apply `prefect.yaml`: deployments, schedules, triggers. Nothing happens if nothing changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from andon.adapters.files import file_hash, key_of, tree_hash
from andon.errors import PlatformError
from andon.settings import Settings
from deployments.platform.programs import line_environment


def apply(settings: Settings) -> bool:
    """Deploy all of `prefect.yaml`; returns whether there was something to do.

    Raises PlatformError with what Prefect said.
    """
    path = settings.project / "prefect.yaml"
    if not path.is_file():
        raise PlatformError(f"{path.name}: no such file beside andon.yaml; copy Andon's own")
    import flows

    code = [it for folder in flows.__path__ for it in Path(folder).glob("*.py")]
    key = key_of(file_hash(path), tree_hash(code, code[0].parent), settings.prefect_api_url)
    stamp = settings.state / "prefect" / "applied"
    if stamp.is_file() and stamp.read_text() == key:
        return False
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=settings.project,
        env={**os.environ, **line_environment(settings)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PlatformError(
            f"prefect.yaml was not applied:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    stamp.write_text(key)
    return True
