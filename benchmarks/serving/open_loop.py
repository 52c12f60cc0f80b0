"""Open loop: requests leave on a fixed schedule, whether or not earlier ones were answered.

`open_loop.py PORT PATH BODIES RATE SECONDS` prints what became of them as JSON. A request is in
time if its answer comes within two seconds of when it was due; then its client gives up and closes
the connection. Afterwards one patient client asks until it is answered: the time to recover.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import resource
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import uvloop

DEADLINE = 2.0
PATIENCE = 60.0
RETRY = 0.005
TICK = 0.001
STATUSES = {200: "in_time", 503: "refused", 429: "refused"}


class Client(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[int] | None = None
        self._received = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if found and _whole(head.lower(), body):
            self._received = b""
            self._say(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._say(0)

    def ask(self, request: bytes) -> asyncio.Future[int]:
        """The status of its answer; 0 if the connection breaks."""
        self.answer = asyncio.get_running_loop().create_future()
        if self.transport is None:
            self._say(0)
        else:
            self.transport.write(request)
        return self.answer

    def _say(self, status: int) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(status)


def _whole(head: bytes, body: bytes) -> bool:
    _, found, rest = head.partition(b"content-length:")
    if found:
        return len(body) >= int(rest.split(b"\r\n")[0])
    return body.endswith(b"0\r\n\r\n")


class Load:
    """A burst of requests and what became of each."""

    def __init__(self, port: int, requests: list[bytes]) -> None:
        self._port = port
        self._requests = itertools.cycle(requests)
        self._idle: list[Client] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.outcomes: Counter[str] = Counter()
        self.lag = 0.0  # how far the schedule itself was behind

    async def run(self, rate: float, seconds: float) -> None:
        """Send it all, and see the last one answered or given up."""
        began = time.perf_counter()
        for number in range(round(rate * seconds)):
            due = began + number / rate
            while (now := time.perf_counter()) < due:
                await asyncio.sleep(max(0.0, min(due - now, TICK)))
            self.lag = max(self.lag, now - due)
            task = asyncio.create_task(self._one(due, next(self._requests)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait for those under way, which is two seconds at most."""
        await asyncio.gather(*self._tasks)

    async def _one(self, due: float, request: bytes) -> None:
        client: Client | None = None
        try:
            async with asyncio.timeout(due + DEADLINE - time.perf_counter()):
                client = self._idle.pop() if self._idle else await self.connect()
                status = await client.ask(request)
        except TimeoutError:
            self._done(client, "late")
        except OSError:
            self._done(client, "broken")
        else:
            self._done(client, STATUSES.get(status, "broken"))

    def _done(self, client: Client | None, outcome: str) -> None:
        self.outcomes[outcome] += 1
        if client is None or client.transport is None:
            return
        if outcome in ("in_time", "refused"):
            self._idle.append(client)
        else:
            client.transport.abort()

    async def connect(self) -> Client:
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(Client, "127.0.0.1", self._port))[1]

    async def recover(self) -> float | None:
        """Seconds until a patient client is answered; None: not within a minute."""
        began = time.perf_counter()
        request = next(self._requests)
        while time.perf_counter() - began < PATIENCE:
            try:
                async with asyncio.timeout(PATIENCE):
                    client = await self.connect()
                    status = await client.ask(request)
            except (TimeoutError, OSError):
                status = 0
            if status == 200:
                return time.perf_counter() - began
            await asyncio.sleep(RETRY)
        return None


async def burst(port: int, requests: list[bytes], rate: float, seconds: float) -> dict[str, object]:
    load = Load(port, requests)
    await load.run(rate, seconds)
    recovery = await load.recover()
    await load.settle()
    return {
        "offered": sum(load.outcomes.values()),
        **{name: load.outcomes[name] for name in ("in_time", "refused", "late", "broken")},
        "recovery_seconds": recovery,
        "lag_ms": load.lag * 1e3,
    }


def main() -> None:
    port, path, bodies, rate, seconds = sys.argv[1:]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    requests = [
        f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        for body in Path(bodies).read_bytes().splitlines()
    ]
    found = uvloop.run(burst(int(port), requests, float(rate), float(seconds)))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
