"""Apply `prefect.yaml`: deployments, schedules, triggers. Nothing happens if nothing changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from andon.adapters.files import key_of, load_spec, model_names, tree_hash
from andon.errors import LineError, PlatformError
from andon.settings import Settings
from deployments.platform.programs import line_environment

CRONS = {"monitor": "monitor_cron", "probe": "probe_cron"}  # deployment → the spec's key


def apply(settings: Settings) -> bool:
    """Deploy all of `prefect.yaml` and the models' own schedules; returns whether it had to.

    Raises PlatformError with what Prefect said.
    """
    import flows

    text = yaml.safe_dump(rendered(settings), sort_keys=False)
    code = [path for folder in flows.__path__ for path in Path(folder).glob("*.py")]
    key = key_of(text, tree_hash(code, code[0].parent), settings.prefect_api_url)
    stamp = settings.state / "prefect" / "applied"
    if stamp.is_file() and stamp.read_text() == key:
        return False
    path = settings.state / "prefect" / "prefect.yaml"
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", path],
        cwd=settings.project,
        env={**os.environ, **line_environment(settings)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
        raise PlatformError(f"prefect.yaml was not applied:\n{said}")
    stamp.write_text(key)
    return True


def rendered(settings: Settings) -> dict[str, Any]:
    """`prefect.yaml` with schedules of `monitor` and `probe` for every model whose spec has them.

    A model whose spec is broken gets none; the error is for whoever delivers it.
    """
    path = settings.project / "prefect.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = {it["name"]: it for it in content["deployments"]}
        watching = {name: found[name] for name in CRONS}
    except FileNotFoundError:
        raise PlatformError(f"{path.name}: not beside andon.yaml; copy Andon's own") from None
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        wanted = " and ".join(f"`{it}`" for it in CRONS)
        raise PlatformError(f"{path.name}: no deployments {wanted} to be read: {error}") from None
    for it in watching.values():
        it["schedules"] = list(it.get("schedules") or [])
    for model in model_names(settings.project):
        try:
            spec = load_spec(settings.project, model)
        except LineError:
            continue
        for name, key in CRONS.items():
            if (cron := getattr(spec, key)) is not None:
                parameters = {"model": model, "trigger": "cron"}
                schedule = {"cron": cron, "timezone": "UTC", "slug": model}
                watching[name]["schedules"].append({**schedule, "parameters": parameters})
    return dict(content)
