"""The prediction server's HTTP side: an ASGI application, and nothing that a framework is for.

One worker thread computes; the event loop stays free for /healthz and /metrics.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgspec

from serving.decode import Decoder, decode_labels
from serving.engine import Answer, Engine, Refused
from serving.log import Log
from serving.metrics import exposition
from serving.problem import Problem

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
JSON = b"application/json"
DRAIN = 16  # bodies up to so many times the limit are read to the end before they are refused


@dataclass(frozen=True)
class Limits:
    """What one request may bring."""

    body: int = 2**20
    rows: int = 1_000


@dataclass(frozen=True)
class Reply:
    body: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Gone(Exception):
    """The client left before its request was complete."""


class App:
    """ASGI application over one engine; `close` it after the last request."""

    def __init__(
        self,
        engine: Engine,
        *,
        environment: str = "",
        log: Log | None = None,
        feedback: Log | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.engine = engine
        self.environment = environment
        self.log = log
        self.feedback = feedback
        self.limits = limits or Limits()
        self.ending: Callable[[], bool] = lambda: False  # whether connections are to be closed
        self.requests: Counter[tuple[str, int]] = Counter()
        self.rows = 0
        self._decoder = Decoder(engine.signature, self.limits.rows)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._version = engine.manifest.version.encode()
        self._routes: dict[str, tuple[tuple[str, ...], Callable[..., Awaitable[Reply]]]] = {
            "/": (("GET", "HEAD"), self._index),
            "/healthz": (("GET", "HEAD"), self._healthz),
            "/metrics": (("GET", "HEAD"), self._metrics),
            "/predict": (("POST",), self._predict),
            "/feedback": (("POST",), self._feedback),
        }

    def close(self) -> None:
        """Finish computing and write the logs."""
        self._worker.shutdown(wait=True)
        for log in (self.log, self.feedback):
            if log is not None:
                log.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is served here, not {scope['type']}")
        path = scope["path"]
        try:
            reply = await self._answer(scope, receive)
        except Gone:
            return
        except Problem as problem:
            reply = _refusal(problem)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            reply = _refusal(Problem(500, "the server failed; the request is not to blame"))
        self.requests[path if path in self._routes else "other", reply.status] += 1
        headers = [
            (b"content-type", reply.content_type),
            (b"content-length", str(len(reply.body)).encode()),
            (b"x-andon-version", self._version),
            *reply.headers,
            *([(b"connection", b"close")] if self.ending() else []),
        ]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    async def _answer(self, scope: Scope, receive: Receive) -> Reply:
        if scope["path"] not in self._routes:
            raise Problem(404, f"no such path; there are {', '.join(self._routes)}")
        methods, handler = self._routes[scope["path"]]
        if scope["method"] not in methods:
            allowed = ", ".join(methods)
            problem = Problem(405, f"found {scope['method']}, allowed: {allowed}")
            return _refusal(problem, (b"allow", allowed.encode()))
        return await handler(scope, receive)

    async def _index(self, scope: Scope, receive: Receive) -> Reply:
        columns = [
            {"name": column.name, "kind": column.kind, "nullable": column.nullable}
            for column in self.engine.signature.columns
        ]
        return _json({**self._identity(), "paths": list(self._routes), "columns": columns})

    async def _healthz(self, scope: Scope, receive: Receive) -> Reply:
        return _json({"status": "ok", **self._identity(), "pid": os.getpid()})

    def _identity(self) -> dict[str, Any]:
        manifest = self.engine.manifest
        return {
            "model": manifest.model,
            "version": manifest.version,
            "digest": self.engine.digest,
            "environment": self.environment,
        }

    async def _predict(self, scope: Scope, receive: Receive) -> Reply:
        started = time.time()
        body = await self._body(scope, receive)
        probe = _header(scope, b"x-andon-probe") == b"1"
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, self._compute, body, started, probe)

    def _compute(self, body: bytes, started: float, probe: bool) -> Reply:
        records = self._decoder.records(body)
        try:
            answers = self.engine.answer(records)
        except Refused as error:
            raise Problem(422, f"the model does not take these values: {error}") from error
        ids = new_ids(len(records), started)
        self.rows += len(records)
        if self.log is not None:
            self.log.put(self._lines(records, answers, ids, started, probe))
        manifest = self.engine.manifest
        predictions = [{"id": id_, **answer} for id_, answer in zip(ids, answers, strict=True)]
        return _json(
            {"model": manifest.model, "version": manifest.version, "predictions": predictions}
        )

    def _lines(
        self,
        records: Sequence[dict[str, Any]],
        answers: Sequence[Answer],
        ids: Sequence[str],
        started: float,
        probe: bool,
    ) -> list[bytes]:
        manifest = self.engine.manifest
        common = {
            "time": started,
            "model": manifest.model,
            "version": manifest.version,
            "environment": self.environment,
            "latency_ms": round((time.time() - started) * 1000, 3),
            "probe": probe,
        }
        encode = msgspec.json.encode
        return [
            encode({"id": id_, **common, "inputs": record, "outputs": self.engine.outputs(answer)})
            + b"\n"
            for id_, record, answer in zip(ids, records, answers, strict=True)
        ]

    async def _feedback(self, scope: Scope, receive: Receive) -> Reply:
        if self.feedback is None:
            raise Problem(404, "this server was started without --feedback-dir and takes none")
        labels = decode_labels(await self._body(scope, receive), self.engine.manifest)
        now = time.time()
        lines = [
            msgspec.json.encode({"id": row["id"], "time": now, "label": row["label"]}) + b"\n"
            for row in labels
        ]
        if lines and not await asyncio.wrap_future(self.feedback.put_safely(lines)):
            raise Problem(503, "the labels could not be stored; send them again later")
        return _json({"accepted": len(lines)}, 202)

    async def _metrics(self, scope: Scope, receive: Receive) -> Reply:
        logs = {"inference": self.log, "feedback": self.feedback}
        text = exposition(self._identity(), self.requests, self.rows, logs)
        return Reply(text, content_type=b"text/plain; version=0.0.4; charset=utf-8")

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body; raises Problem 415 or 413."""
        media = (_header(scope, b"content-type") or b"").split(b";")[0].strip().lower()
        limit = self.limits.body
        declared = int(_header(scope, b"content-length") or 0)
        chunks: list[bytes] = []
        size = 0
        while declared <= DRAIN * limit and size <= DRAIN * limit:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Gone
            size += len(message.get("body", b""))
            # A client that still sends when it is answered sees a broken connection, not the
            # answer: read on, but keep no more.
            if size <= limit:
                chunks.append(message.get("body", b""))
            if not message.get("more_body", False):
                break
        if max(size, declared) > limit:
            raise Problem(413, f"the body is larger than {limit} bytes; send fewer records")
        if media != JSON:
            found = media.decode("latin-1") or "nothing"
            raise Problem(415, f"Content-Type: found {found}, allowed: application/json")
        return b"".join(chunks)


def new_ids(count: int, now: float) -> list[str]:
    """Ids that no other server and no restart gives: 48 bits of time, 80 random (as UUIDv7 has)."""
    stamp = f"{int(now * 1000):012x}"
    noise = os.urandom(10 * count).hex()
    return [stamp + noise[start : start + 20] for start in range(0, 20 * count, 20)]


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key == name), None)


def _json(content: Any, status: int = 200) -> Reply:
    return Reply(msgspec.json.encode(content), status)


def _refusal(problem: Problem, *headers: tuple[bytes, bytes]) -> Reply:
    return Reply(problem.body(), problem.status, b"application/problem+json", headers)
