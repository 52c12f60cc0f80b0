"""Requests with known answers, sent as clients send them, and the gateway's own counters."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

from andon.adapters.probe import MARK
from andon.adapters.traefik import TraefikGateway
from andon.checks import same_answer
from andon.errors import GatewayError
from andon.ports import Traffic
from andon.service import Look
from andon.settings import Settings
from serving.bundle import Samples, read_samples

TIMEOUT, PATIENCE = 5.0, 20.0  # seconds: of one request, and of all


def knock(
    settings: Settings, environment: str, model: str, version: str, bundle: Path, n: int
) -> Look:
    """Send `n` single-row requests to whoever serves; none is begun after PATIENCE seconds.

    Only answers of `version` are compared: during a release another one may answer, too. A gateway
    that does not answer is a failure here, since clients have none either.
    """
    samples = read_samples(bundle)
    url = f"{settings.gateway_url}/{environment}/{model}/predict"
    sent = failed = wrong = 0
    example = ""
    began = time.monotonic()
    with httpx.Client(timeout=TIMEOUT, headers=MARK) as client:
        while sent < n and time.monotonic() - began < PATIENCE:
            answered, problem = _ask(client, url, samples, sent % len(samples.records), version)
            failed += not answered
            wrong += answered and bool(problem)
            example = example or problem
            sent += 1
    return Look(sent, failed, wrong, example=example)


def _ask(
    client: httpx.Client, url: str, samples: Samples, i: int, version: str
) -> tuple[bool, str]:
    """Whether there was an answer, and what is wrong with it or with its absence."""
    try:
        reply = client.post(url, json={"records": [samples.records[i]]})
        body = reply.json() if reply.status_code == httpx.codes.OK else None
        if body is None:
            return False, f"HTTP {reply.status_code}: {reply.text[:200]}"
        found = body["predictions"][0]
        if body.get("version") == version and not same_answer(samples.answers[i], found):
            return True, f"sample {i}: expected {samples.answers[i]}, found {found}"
    except httpx.HTTPError as error:
        return False, f"{type(error).__name__}: {error}"
    except (ValueError, AttributeError, KeyError, IndexError, TypeError):
        return False, f"an answer that is none: {reply.text[:200]}"
    return True, ""


def counted(settings: Settings, server: str) -> Traffic | None:
    """What the gateway has sent to a server since it started; None if it does not tell."""
    try:
        return TraefikGateway(settings).traffic().get(server, Traffic())
    except GatewayError:
        return None
