"""Is it the server that was asked for? What every target asks of a server, in one place."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from andon.adapters.loopback import ask
from andon.ports import Server, ServerSpec

ANSWER_SECONDS = 2.0
# A server that dies within this time of its start counts as one that does not start at all.
SETTLED_SECONDS = 15
RETRIES = 2
STOP_SECONDS = 15  # to finish its requests, before it is killed


def identified(spec: ServerSpec, url: str, state: str, who: str) -> Server:
    """Ready only if it says itself that it is what was asked for.

    `state` is what its supervisor says of it, `who` which process or container it is.
    """
    try:
        status, said = ask("GET", f"{url}/readyz", seconds=ANSWER_SECONDS)
    except OSError as error:
        return Server(spec.name, "starting", url, f"{state}: {error}")
    if status != HTTPStatus.OK or not isinstance(said, dict):
        return Server(spec.name, "starting", url, f"{state}: HTTP {status}: {said}")
    wrong = _differences(spec, said)
    if wrong:
        return Server(spec.name, "failed", url, f"another server answers at {url}: {wrong}")
    return Server(spec.name, "ready", url, who)


def of_another(spec: ServerSpec, url: str, digest: str) -> Server:
    """What runs under that name was started from another bundle."""
    return Server(spec.name, "failed", url, f"digest: expected {spec.digest}, found {digest}")


def _differences(spec: ServerSpec, said: dict[str, Any]) -> str:
    keys = ("model", "version", "digest", "environment")
    expected = {key: str(getattr(spec, key)) for key in keys}
    return "; ".join(
        f"{key} is {said.get(key)!r}, expected {value!r}"
        for key, value in expected.items()
        if str(said.get(key)) != value
    )
