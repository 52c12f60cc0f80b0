"""Start the same flow runs that the Prefect UI starts, and follow them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from andon.errors import PlatformError
from andon.settings import Settings

ENDED = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Event:
    """A station, or the flow run itself (`station` empty), came into a state."""

    station: str
    state: str
    kind: str
    seconds: float
    message: str = ""


class Runs:
    """Flow runs of one Prefect server. Raises PlatformError where it does not answer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._http = httpx.Client(
            base_url=settings.prefect_api_url, timeout=30, trust_env=False, http2=False
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def link(self, run_id: str) -> str:
        """The run's page in the Prefect UI."""
        return f"http://127.0.0.1:{self._settings.prefect_port}/runs/flow-run/{run_id}"

    def start(self, flow: str, parameters: dict[str, Any]) -> str:
        """Create a flow run of a deployment; returns its id."""
        deployment = self._call("GET", f"/deployments/name/{flow}/{flow}")
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return str(
            self._call("POST", f"/deployments/{deployment['id']}/create_flow_run", body)["id"]
        )

    def state(self, run_id: str) -> dict[str, Any]:
        """The run's state: `type`, `name`, `message`."""
        return dict(self._call("GET", f"/flow_runs/{run_id}")["state"])

    def latest(self, flow: str, since: float) -> dict[str, Any] | None:
        """The newest run of a flow created after a time (epoch seconds), whoever started it."""
        after = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since))
        body = {
            "flows": {"name": {"any_": [flow]}},
            "flow_runs": {"expected_start_time": {"after_": after}},
            "sort": "START_TIME_DESC",
            "limit": 1,
        }
        found = self._call("POST", "/flow_runs/filter", body)
        return dict(found[0]) if found else None

    def follow(self, run_id: str, deadline: float = 3600.0) -> Iterator[Event]:
        """Every change of the run and its stations until it ends.

        A server that is away for a while is waited for; PlatformError after `deadline` seconds.
        """
        seen: dict[str, str] = {}
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            try:
                run = self._call("GET", f"/flow_runs/{run_id}")
                yield from self._stations(run_id, seen)
            except PlatformError:
                time.sleep(POLL_SECONDS)
                continue
            state = run["state"]
            if seen.get("") != state["name"]:
                seen[""] = state["name"]
                yield Event(
                    "",
                    state["name"],
                    state["type"],
                    run["estimated_run_time"] or 0.0,
                    state.get("message") or "",
                )
            if state["type"] in ENDED:
                return
            time.sleep(POLL_SECONDS)
        raise PlatformError(
            f"run {run_id} did not end within {deadline:.0f} s; see {self.link(run_id)}"
        )

    def _stations(self, run_id: str, seen: dict[str, str]) -> Iterator[Event]:
        body = {
            "task_runs": {"flow_run_id": {"any_": [run_id]}},
            "sort": "EXPECTED_START_TIME_ASC",
            "limit": 200,
        }
        for it in self._call("POST", "/task_runs/filter", body):
            if it["state"] and seen.get(it["id"]) != it["state"]["name"]:
                seen[it["id"]] = it["state"]["name"]
                yield Event(
                    it["name"],
                    it["state"]["name"],
                    it["state"]["type"],
                    it["estimated_run_time"] or 0.0,
                    it["state"].get("message") or "",
                )

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            answer = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise PlatformError(
                f"Prefect at {self._settings.prefect_api_url} does not answer ({error}); "
                "is the platform up? `andon up`"
            ) from None
        if answer.is_success:
            return answer.json()
        if answer.status_code == httpx.codes.NOT_FOUND and path.startswith("/deployments/name"):
            raise PlatformError(f"Prefect knows no deployment {path[18:]!r}; run `andon up`")
        raise PlatformError(f"Prefect: HTTP {answer.status_code} for {path}: {answer.text[:500]}")
