"""Requests and replies: what an application needs of HTTP, and nothing that a framework is for."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from serving.problem import Problem

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
JSON = b"application/json"
PROBLEM = b"application/problem+json"
DRAIN = 16  # bodies up to so many times the limit are read to the end before they are refused


@dataclass(frozen=True)
class Limits:
    """What one request may bring and take. `bulk_` is for Arrow and tensors, cheap to read."""

    body: int = 2**20
    rows: int = 1_000
    bulk_body: int = 2**26
    bulk_rows: int = 100_000
    seconds: float = 2.0  # who would wait longer is refused at once


class Reply:
    """A whole answer."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self,
        body: bytes,
        status: int = 200,
        content_type: bytes = JSON,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        self.body = body
        self.status = status
        self.content_type = content_type
        self.headers = headers


class Gone(Exception):
    """The client left before its request was complete."""


class Request:
    """One request, whose body may still be on its way."""

    __slots__ = ("_receive", "headers", "method", "path", "query", "started")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.started = time.time()
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope.get("query_string", b"")
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self._receive = receive

    @property
    def media(self) -> bytes:
        """The media type of the body, in lower case and without parameters."""
        return self.headers.get(b"content-type", b"").split(b";")[0].strip().lower()

    def accepts(self, media: bytes) -> bool:
        """Whether the client asks for exactly this type."""
        return media in self.headers.get(b"accept", b"")

    def parameter(self, name: str) -> str | None:
        """The last value of a query parameter."""
        if not self.query:
            return None
        pairs = parse_qsl(self.query.decode("latin-1"), keep_blank_values=True, max_num_fields=None)
        return dict(pairs).get(name)

    async def body(self, limit: int) -> bytes:
        """The whole body; raises Problem 413 if it is larger than `limit` bytes.

        One that is somewhat too large is read to its end all the same: a client that is still
        sending reads no answer.
        """
        message = await self._receive()
        if not message.get("more_body", False) and message["type"] == "http.request":
            body: bytes = message.get("body", b"")
            if len(body) > limit:
                raise _too_large(limit)
            return body
        return await self._rest(message, limit)

    async def _rest(self, message: dict[str, Any], limit: int) -> bytes:
        declared = self.headers.get(b"content-length", b"0")
        size = int(declared) if declared.isdigit() and len(declared) < 20 else 0
        chunks: list[bytes] = []
        received = 0
        while size <= DRAIN * limit and received <= DRAIN * limit:
            if message["type"] == "http.disconnect":
                raise Gone
            chunk: bytes = message.get("body", b"")
            received += len(chunk)
            if received <= limit:
                chunks.append(chunk)
            if not message.get("more_body", False):
                break
            message = await self._receive()
        if max(received, size) > limit:
            raise _too_large(limit)
        return b"".join(chunks)


def _too_large(limit: int) -> Problem:
    return Problem(413, f"the body is larger than {limit} bytes; send fewer rows")


def json_reply(content: Any, status: int = 200) -> Reply:
    """A JSON document."""
    return Reply(msgspec.json.encode(content), status)


def refusal(problem: Problem, *headers: tuple[bytes, bytes]) -> Reply:
    """A problem as RFC 9457 has it."""
    if problem.retry_after is not None:
        headers = (*headers, (b"retry-after", str(problem.retry_after).encode()))
    return Reply(problem.body(), problem.status, PROBLEM, headers)
