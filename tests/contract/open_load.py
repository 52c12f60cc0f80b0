"""An open-loop load: each request is sent when it is due, however slowly others are answered.

As a script (`open_load.py URL RATE BODIES LOG`): until SIGTERM, then it waits for what is on its
way. BODIES is a JSON list of request bodies. LOG gets a line a request when it has ended:
`sent at<TAB>seconds<TAB>version<TAB>what failed`, the last one empty if it was answered. Three of
four clients keep their connection, the fourth comes with a new one. Nobody tries again.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import uvloop
from support import wait_until

TIMEOUT = 10.0
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_VERSION = re.compile(rb"(?i)\r\nx-andon-version: *(\S+)")


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, idle: list[Connection]) -> None:
        self._idle, self._buffer = idle, b""
        self._reply: asyncio.Future[tuple[bytes, bytes]] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    async def ask(self, request: bytes) -> tuple[bytes, bytes]:
        """Head and body of the answer."""
        self._reply = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        try:
            return await self._reply
        finally:
            self._reply = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, ended, rest = self._buffer.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if ended and length is None:
            self._fail(ValueError(f"an answer without a length: {head[:200]!r}"))
        elif length and len(rest) >= int(length[1]) and self._reply and not self._reply.done():
            self._buffer = b""
            self._reply.set_result((head, rest))

    def connection_lost(self, error: Exception | None) -> None:
        if self in self._idle:
            self._idle.remove(self)
        self._fail(error or ConnectionError("closed before the answer"))

    def _fail(self, error: Exception) -> None:
        if self._reply and not self._reply.done():
            self._reply.set_exception(error)


class Sender:
    def __init__(self, url: str, bodies: list[str], log: Path) -> None:
        parts = urlsplit(url)
        self._address, path = (parts.hostname, parts.port), parts.path
        head = f"POST {path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
        self._requests = {
            again: itertools.cycle(
                f"{head}{more}content-length: {len(it)}\r\n\r\n{it}".encode() for it in bodies
            )
            for again, more in ((True, ""), (False, "connection: close\r\n"))
        }
        self._idle: list[Connection] = []
        self._file = log.open("w")

    async def run(self, rate: float) -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, ended.set)
        under_way: set[asyncio.Task[None]] = set()
        began = loop.time()
        for n in itertools.count():
            if ended.is_set():
                break
            if (early := began + n / rate - loop.time()) > 0:
                await asyncio.sleep(early)
            task = loop.create_task(self._one(keep=n % 4 != 0))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        if under_way:
            await asyncio.wait(under_way)
        self._file.close()

    async def _one(self, keep: bool) -> None:
        at, began, version, failed = time.time(), time.perf_counter(), "", ""
        try:
            async with asyncio.timeout(TIMEOUT):
                head, body = await self._ask(keep)
            found = _VERSION.search(head)
            version = found[1].decode() if found else ""
            if not head.startswith(b"HTTP/1.1 200") or b'"predictions"' not in body:
                failed = f"{head[:40]!r} {body[:160]!r}"
        except (OSError, TimeoutError, ValueError) as error:
            failed = f"{type(error).__name__}: {error}"
        seconds = time.perf_counter() - began
        self._file.write(f"{at:.4f}\t{seconds:.4f}\t{version}\t{failed}\n")
        self._file.flush()

    async def _ask(self, keep: bool) -> tuple[bytes, bytes]:
        if keep and self._idle:
            connection = self._idle.pop()
        else:
            made = asyncio.get_running_loop().create_connection(
                lambda: Connection(self._idle), *self._address
            )
            connection = (await made)[1]
        whole = False
        try:
            reply = await connection.ask(next(self._requests[keep]))
            whole = b"\r\nConnection: close" not in reply[0]
            return reply
        finally:
            if keep and whole:
                self._idle.append(connection)
            else:
                connection.transport.close()


@dataclass(frozen=True)
class Sent:
    """One request that has ended; `failed` is empty if it was answered."""

    at: float
    seconds: float
    version: str
    failed: str


class OpenLoad:
    """A load in a process of its own while the block runs."""

    def __init__(self, url: str, bodies: list[str], folder: Path, rate: float = 200.0) -> None:
        (folder / "bodies.json").write_text(json.dumps(bodies))
        self.rate, self._log = rate, folder / f"load-{time.monotonic_ns()}.tsv"
        command = [sys.executable, __file__, url, rate, folder / "bodies.json", self._log]
        self._command = [str(part) for part in command]

    def __enter__(self) -> Self:
        here, tests = Path(__file__).parent, Path(__file__).parents[1]
        self._process = subprocess.Popen(
            self._command, env={"PYTHONPATH": f"{here}:{tests}:{tests.parent}"}
        )
        wait_until(lambda: len(self.sent()) > self.rate / 4, 30, "the load has begun")
        self.began = time.time()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)
        self.seconds = time.time() - self.began

    def sent(self) -> list[Sent]:
        """What has ended so far."""
        if not self._log.exists():
            return []
        rows = [line.split("\t", 3) for line in self._log.read_text().split("\n")[:-1]]
        return [Sent(float(at), float(took), version, why) for at, took, version, why in rows]

    def failures(self) -> list[Sent]:
        return [it for it in self.sent() if it.failed]

    def check(self, at_least: int) -> list[Sent]:
        """Once it has ended: none failed, and no fewer were sent than these."""
        sent = self.sent()
        failed = [it for it in sent if it.failed]
        assert not failed, f"{len(failed)} of {len(sent)} requests failed: {failed[:5]}"
        assert len(sent) >= at_least
        return sent


if __name__ == "__main__":
    url, rate, bodies, log = sys.argv[1:]
    sender = Sender(url, json.loads(Path(bodies).read_text()), Path(log))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(sender.run(float(rate)))
