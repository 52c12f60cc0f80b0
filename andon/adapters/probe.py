"""Requests with known answers, through the gateway, to one version on purpose."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from andon.checks import same_answer
from andon.errors import GatewayError
from andon.looks import Both, Probe
from andon.settings import Settings
from serving.bundle import Samples, read_samples

PIN, MARK = "X-Andon-Version", {"X-Andon-Probe": "1"}
PATIENCE = 2.0
NO_ROUTE = "404 page not found"  # Traefik's own words; a prediction server says it in JSON


class GatewayProbe:
    """Sends a bundle's samples to the version that it belongs to."""

    def __init__(self, settings: Settings, timeout: float = 5.0) -> None:
        self._settings = settings
        self._timeout = timeout

    def __call__(
        self,
        *,
        environment: str,
        model: str,
        version: str,
        bundle: Path,
        n: int,
        against: str = "",
        mirrored: bool = False,
    ) -> Probe:
        """Send `n` single-row requests, the samples in turn; a bad answer is counted.

        Fewer if they take long: none is begun after PATIENCE seconds.

        With `against`, the champion's version is asked the same; where requests are `mirrored`, as
        a client would, so that the gateway makes a copy. What goes wrong there says nothing of the
        candidate: it makes no pair, and is not counted.

        Raises GatewayError if the gateway itself is not there, or has not read its routes: that
        says nothing of the version.
        """
        samples = read_samples(bundle)
        url = f"{self._settings.gateway_url}/{environment}/{model}/predict"
        total, both = Probe(), []
        with httpx.Client(timeout=self._timeout, headers=MARK) as client:
            began = time.monotonic()
            for number in range(n):
                if time.monotonic() - began > PATIENCE:
                    break  # whoever waits for us has other things to watch
                i = number % len(samples.records)
                found, answer = _ask(client, url, samples, i, version)
                total += found
                theirs = None
                if against:
                    pinned = {} if mirrored else {PIN: against}
                    theirs = _of_champion(client, url, samples.records[i], against, pinned)
                if answer is not None and theirs is not None:
                    both.append(Both(samples.records[i], answer, theirs))
        return replace(total, both=tuple(both))


def _ask(
    client: httpx.Client, url: str, samples: Samples, i: int, version: str
) -> tuple[Probe, dict[str, Any] | None]:
    """What is to be counted, and the answer, if it is the version's own."""
    try:
        reply = client.post(url, json={"records": [samples.records[i]]}, headers={PIN: version})
        body = reply.json() if reply.status_code == httpx.codes.OK else None
    except httpx.ConnectError as error:
        raise GatewayError(f"the gateway does not answer at {url}: {error}") from None
    except (httpx.HTTPError, ValueError) as error:
        return Probe(sent=1, failed=1, example=f"{type(error).__name__}: {error}"), None
    if reply.status_code == httpx.codes.NOT_FOUND and reply.text.strip() == NO_ROUTE:
        raise GatewayError(f"the gateway has no route {url}: it was started just now, or edited")
    if body is None:
        example = f"HTTP {reply.status_code}: {reply.text[:200]}"
        return Probe(sent=1, failed=1, example=example), None
    if body.get("version") != version:
        return Probe(sent=1, wrong=1, example=f"version {body.get('version')} answered"), None
    found = body["predictions"][0]
    if not same_answer(samples.answers[i], found):
        example = f"sample {i}: expected {samples.answers[i]}, found {found}"
        return Probe(sent=1, wrong=1, example=example), found
    return Probe(sent=1), found


def _of_champion(
    client: httpx.Client, url: str, record: dict[str, Any], version: str, pinned: dict[str, str]
) -> dict[str, Any] | None:
    try:
        body = client.post(url, json={"records": [record]}, headers=pinned).json()
        answer = body["predictions"][0] if body.get("version") == version else None
    except (httpx.HTTPError, ValueError, AttributeError, KeyError, IndexError):
        return None
    return answer if isinstance(answer, dict) else None
