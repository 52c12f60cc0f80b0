"""An MLflow run that gets metrics while a model is trained; the registry goes on with it.

Over MLflow's REST API, without its client: importing that takes longer than many a training.
Nothing here may stop or slow a training: a server that is down is told of once, and left alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from andon.settings import Settings

BUILD = "andon.build"
ANSWER_SECONDS = 10.0
MOST = 1_000  # metrics in one batch: MLflow takes no more


class LiveRun:
    """The run tagged with a build's key: one that is RUNNING is gone on with, else it is new."""

    def __init__(
        self, settings: Settings, model: str, build: str, warn: Callable[[str], None]
    ) -> None:
        self._url, self._warn = settings.registry_url, warn
        self._model, self._build = model, build
        self._run_id: str | None = None
        self._lost = False
        self._waiting: list[dict[str, Any]] = []

    def start(self) -> None:
        """Find the run, or create it."""
        self._patiently(self._start)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Keep metrics for the next `flush`; JSON has no word for one that is not finite."""
        now = int(time.time() * 1_000)
        self._waiting += [
            {"key": name, "value": value, "timestamp": now, "step": step}
            for name, value in metrics.items()
            if math.isfinite(value)
        ]

    def flush(self) -> None:
        """Send what waits."""
        while self._waiting and self._run_id and not self._lost:
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            self._patiently(
                self._post, "runs/log-batch", {"run_id": self._run_id, "metrics": batch}
            )

    def fail(self) -> None:
        """There will be no model: end the run."""
        if self._run_id and not self._lost:
            body = {"run_id": self._run_id, "status": "FAILED", "end_time": _now()}
            self._patiently(self._post, "runs/update", body)

    def _start(self) -> None:
        experiment = self._experiment()
        tagged = f"tags.`{BUILD}` = '{self._build}' and attributes.status = 'RUNNING'"
        asked = {"experiment_ids": [experiment], "filter": tagged, "max_results": 1}
        if found := self._post("runs/search", asked).get("runs"):
            self._run_id = found[0]["info"]["run_id"]
            return
        body = {
            "experiment_id": experiment,
            "run_name": self._build,
            "start_time": _now(),
            "tags": [{"key": BUILD, "value": self._build}],
        }
        self._run_id = self._post("runs/create", body)["run"]["info"]["run_id"]

    def _experiment(self) -> str:
        asked = {"filter": f"name = '{self._model}'", "max_results": 1}
        if found := self._post("experiments/search", asked).get("experiments"):
            return str(found[0]["experiment_id"])
        return str(self._post("experiments/create", {"name": self._model})["experiment_id"])

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        import httpx

        answer = httpx.post(f"{self._url}/api/2.0/mlflow/{path}", json=body, timeout=ANSWER_SECONDS)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def _patiently(self, act: Callable[..., Any], *arguments: Any) -> None:
        import httpx

        if self._lost:
            return
        try:
            act(*arguments)
        except (httpx.HTTPError, KeyError, ValueError) as error:
            self._lost = True
            self._warn(f"no live metrics: MLflow at {self._url}: {type(error).__name__}: {error}")


def _now() -> int:
    return int(time.time() * 1_000)
