"""Requests with known answers, through the gateway, to one version on purpose."""

from __future__ import annotations

from pathlib import Path

import httpx

from andon.checks import same_answer
from andon.errors import GatewayError
from andon.looks import Probe
from andon.settings import Settings
from serving.bundle import Samples, read_samples


class GatewayProbe:
    """Sends a bundle's samples to the version that it belongs to."""

    def __init__(self, settings: Settings, timeout: float = 5.0) -> None:
        self._settings = settings
        self._timeout = timeout

    def __call__(
        self, *, environment: str, model: str, version: str, bundle: Path, n: int
    ) -> Probe:
        """Send `n` single-row requests, the samples in turn; a bad answer is counted.

        Raises GatewayError if the gateway itself is not there: that says nothing of the version.
        """
        samples = read_samples(bundle)
        url = f"{self._settings.gateway_url}/{environment}/{model}/predict"
        headers = {"X-Andon-Version": version, "X-Andon-Probe": "1"}
        total = Probe()
        with httpx.Client(timeout=self._timeout, headers=headers) as client:
            for i in range(n):
                total += _ask(client, url, samples, i % len(samples.records), version)
        return total


def _ask(client: httpx.Client, url: str, samples: Samples, i: int, version: str) -> Probe:
    try:
        reply = client.post(url, json={"records": [samples.records[i]]})
        body = reply.json() if reply.status_code == httpx.codes.OK else None
    except httpx.ConnectError as error:
        raise GatewayError(f"the gateway does not answer at {url}: {error}") from None
    except (httpx.HTTPError, ValueError) as error:
        return Probe(sent=1, failed=1, example=f"{type(error).__name__}: {error}")
    if body is None:
        return Probe(sent=1, failed=1, example=f"HTTP {reply.status_code}: {reply.text[:200]}")
    if body.get("version") != version:
        return Probe(sent=1, wrong=1, example=f"version {body.get('version')} answered")
    found = body["predictions"][0]
    if not same_answer(samples.answers[i], found):
        example = f"sample {i}: expected {samples.answers[i]}, found {found}"
        return Probe(sent=1, wrong=1, example=example)
    return Probe(sent=1)
