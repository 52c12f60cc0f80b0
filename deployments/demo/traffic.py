"""Live traffic for the demo: customers whose answers come back as labels at once."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx

from andon.adapters import tables
from andon.settings import Settings
from deployments.demo.story import Sent
from serving.bundle import Signature

ROWS_A_REQUEST = 10
REQUESTS_A_SECOND = 20
POOL = 4_000


def load_generator(project: Path, model: str) -> ModuleType:
    """The example's own generator of rows, `models/<model>/generator.py`."""
    path = project / "models" / model / "generator.py"
    spec = importlib.util.spec_from_file_location(f"andon_demo_{model}", path)
    assert spec is not None and spec.loader is not None  # noqa: S101 - it ships with us
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Traffic(threading.Thread):
    """Sends requests to the production endpoint until `stop`; `drift` changes who is asking."""

    def __init__(self, settings: Settings, model: str, target: str, signature: Signature) -> None:
        super().__init__(name="traffic", daemon=True)
        self.url = f"{settings.gateway_url}/production/{model}"
        self.sent: list[Sent] = []
        self._target, self._columns = target, signature.columns
        generator = load_generator(settings.project, model)
        seed = int(time.time())  # other customers every time; the line must not depend on which
        changed = generator.Drift.COVARIATE | generator.Drift.CONCEPT
        self._usual = self._pool(generator.rows(POOL, seed=seed))
        self._changed = self._pool(generator.rows(2 * POOL, seed=seed + 1, drift=changed))
        self._drifted, self._ended = threading.Event(), threading.Event()

    def _pool(self, table: Any) -> list[tuple[dict[str, Any], Any]]:
        records = tables.records(table, self._columns)
        return list(zip(records, table[self._target].to_list(), strict=True))

    @property
    def sample(self) -> dict[str, Any]:
        """One record, for people to try."""
        return self._usual[0][0]

    def drift(self) -> None:
        """From now on other customers ask, and leave for other reasons."""
        self._drifted.set()

    def stop(self) -> None:
        """End after the request in flight."""
        self._ended.set()
        self.join(30)

    def rows(self, *, drifted: bool = False, since: float = 0.0) -> int:
        """Rows answered since a time; `drifted` counts only those."""
        return sum(
            it.rows
            for it in list(self.sent)
            if not it.failed and it.at >= since and (it.drifted or not drifted)
        )

    def run(self) -> None:
        """One request after the other, at a steady rate."""
        position, due = 0, time.monotonic()
        with httpx.Client(timeout=10, trust_env=False) as client:
            while not self._ended.is_set():
                drifted = self._drifted.is_set()
                pool = self._changed if drifted else self._usual
                rows = [pool[(position + i) % len(pool)] for i in range(ROWS_A_REQUEST)]
                position += ROWS_A_REQUEST
                self._ask(client, rows, drifted)
                due = max(due + 1 / REQUESTS_A_SECOND, time.monotonic() - 1)
                self._ended.wait(max(0.0, due - time.monotonic()))

    def _ask(
        self, client: httpx.Client, rows: list[tuple[dict[str, Any], Any]], drifted: bool
    ) -> None:
        at, version, failed = time.time(), "", ""
        try:
            answer = client.post(f"{self.url}/predict", json={"records": [r for r, _ in rows]})
            version = answer.headers.get("X-Andon-Version", "")
            answer.raise_for_status()
            ids = [it["id"] for it in answer.json()["predictions"]]
            labels = [
                {"id": id_, "label": label} for id_, (_, label) in zip(ids, rows, strict=True)
            ]
            client.post(f"{self.url}/feedback", json={"labels": labels}).raise_for_status()
        except (httpx.HTTPError, ValueError, KeyError) as error:
            failed = f"{type(error).__name__}: {error}"
        self.sent.append(Sent(at, time.time() - at, len(rows), version, drifted, failed))
