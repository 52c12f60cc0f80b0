"""A steady load through the gateway: requests are due at fixed times, whether or not others wait.

A latency counts from when its request was due. Counted from when it could be sent, a server that
stops for a second would look slow to one client, and to nobody who could not even ask.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import Protocol
from urllib.parse import urlsplit

import msgspec
import numpy as np

from andon import checks
from andon.adapters.probe import MARK, PIN
from andon.checks import LoadRun, same_answer
from andon.errors import GatewayError
from andon.ports import ServerSpec
from andon.settings import Settings
from andon.spec import Limits, Load
from andon.verdict import Outcome, Verdict
from serving.bundle import BundleError, Samples, read_samples

SENDERS = 64  # requests that may be under way at once
TIMEOUT = 5.0


class LoadFunction(Protocol):
    """One run of a load; see `GatewayLoad`."""

    def __call__(self, spec: ServerSpec, load: Load, stop: threading.Event) -> LoadRun | None: ...


class GatewayLoad:
    """Sends a bundle's samples in turn, pinned to its version and marked as probes."""

    def __init__(self, settings: Settings, timeout: float = TIMEOUT) -> None:
        self._settings, self._timeout = settings, timeout

    def __call__(self, spec: ServerSpec, load: Load, stop: threading.Event) -> LoadRun | None:
        """One run; None if it was stopped. Raises GatewayError if the gateway is not there."""
        parts = urlsplit(self._settings.gateway_url)
        job = _Job(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or 80,
            path=f"/{spec.environment}/{spec.model}/predict",
            version=spec.version,
            samples=read_samples(spec.bundle),
            rps=load.rps,
            total=max(1, round(load.rps * load.seconds)),
            timeout=self._timeout,
            stop=stop,
        )
        busy = time.process_time()
        job.began = time.perf_counter()
        senders = min(SENDERS, job.total, max(4, math.ceil(load.rps)))
        threads = [
            threading.Thread(target=_send_all, args=[job], daemon=True, name=f"load {i}")
            for i in range(senders)
        ]
        for it in threads:
            it.start()
        for it in threads:
            it.join()
        took = time.perf_counter() - job.began
        if stop.is_set():
            return None
        if job.refused == job.total:
            raise GatewayError(f"the gateway does not answer at {self._settings.gateway_url}")
        return job.result((time.process_time() - busy) / took)


@dataclass
class _Job:
    """What the senders of one run share. Deques, as they may be appended to from any thread."""

    host: str
    port: int
    path: str
    version: str
    samples: Samples
    rps: float
    total: int
    timeout: float
    stop: threading.Event
    began: float = 0.0
    turn: Iterator[int] = field(default_factory=itertools.count)
    seconds: deque[float] = field(default_factory=deque)
    failures: deque[str] = field(default_factory=deque)
    last_sent: float = 0.0

    def __post_init__(self) -> None:
        self.bodies = [msgspec.json.encode({"records": [it]}) for it in self.samples.records]

    @property
    def refused(self) -> int:
        return sum(it.startswith("ConnectionRefusedError") for it in self.failures)

    def result(self, busy: float) -> LoadRun:
        p50, p95, p99 = (1_000 * np.quantile(np.array(self.seconds), [0.5, 0.95, 0.99])).tolist()
        sending = max(self.total / self.rps, self.last_sent + 1 / self.rps)
        return LoadRun(
            sent=self.total,
            failed=len(self.failures),
            rps=self.total / sending,
            p50_ms=p50,
            p95_ms=p95,
            p99_ms=p99,
            busy=busy,
            example=self.failures[0] if self.failures else "",
        )


def _send_all(job: _Job) -> None:
    """Take the next request that is due, wait until it is, send it; until all are sent."""
    connection = HTTPConnection(job.host, job.port, timeout=job.timeout)
    for i in job.turn:
        due = job.began + i / job.rps
        if i >= job.total or job.stop.wait(max(0.0, due - time.perf_counter())):
            break
        job.last_sent = max(job.last_sent, time.perf_counter() - job.began)
        problem = _send(connection, job, i % len(job.bodies))
        job.seconds.append(time.perf_counter() - due)
        if problem:
            job.failures.append(problem)
            connection.close()
    connection.close()


def _send(connection: HTTPConnection, job: _Job, i: int) -> str:
    """What is wrong with the answer to a sample; "": nothing."""
    headers = {PIN: job.version, "Content-Type": "application/json", **MARK}
    try:
        connection.request("POST", job.path, job.bodies[i], headers)
        reply = connection.getresponse()
        content = reply.read()
        if reply.status != 200:
            return f"HTTP {reply.status}: {content[:200].decode(errors='replace')}"
        body = msgspec.json.decode(content)
        if body["version"] != job.version:
            return f"version {body['version']} answered"
        found = body["predictions"][0]
    except (OSError, HTTPException, msgspec.MsgspecError, KeyError, IndexError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    expected = job.samples.answers[i]
    return "" if same_answer(expected, found) else f"sample {i}: expected {expected}, found {found}"


class Loading:
    """All runs of a load, in a thread of their own: whoever watches goes on watching.

    It stops when `owner` is forgotten: a release that was aborted needs no load any more.
    """

    def __init__(
        self, owner: object, send: LoadFunction, spec: ServerSpec, load: Load, runs: int
    ) -> None:
        self._load, self._wanted = load, runs
        self._found: list[LoadRun] = []
        self._problem: list[str] = []
        stop = threading.Event()
        weakref.finalize(owner, stop.set)
        args = (send, spec, load, runs, stop, self._found, self._problem)
        threading.Thread(target=_run_all, args=args, daemon=True, name="load").start()

    def verdict(self, limits: Limits) -> Verdict:
        """Of what is done so far."""
        if self._problem:
            detail = self._problem[0]
            return Verdict(check="load", outcome=Outcome.INCONCLUSIVE, detail=detail)
        return checks.load(list(self._found), self._load.rps, self._wanted, limits)


def _run_all(
    send: LoadFunction,
    spec: ServerSpec,
    load: Load,
    runs: int,
    stop: threading.Event,
    found: list[LoadRun],
    problem: list[str],
) -> None:
    try:
        for _ in range(runs):
            run = send(spec, load, stop)
            if run is None:
                return
            found.append(run)
    except (GatewayError, BundleError, OSError) as error:
        problem.append(str(error))
