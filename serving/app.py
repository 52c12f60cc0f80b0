"""The prediction server's HTTP side: an ASGI application, and nothing that a framework is for."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from serving.engine import Model, same
from serving.frame import to_table
from serving.http import (
    JSON,
    Gone,
    Limits,
    Receive,
    Reply,
    Request,
    Scope,
    Send,
    json_reply,
    refusal,
)
from serving.log import Log
from serving.metrics import PUBLISH_SECONDS, Metrics, Shared, exposition, process_samples, sample
from serving.predict import Predictions
from serving.problem import Problem
from serving.protocols import v2
from serving.segments import Segments
from serving.work import Work

Handler = Callable[[Request], Awaitable[Reply]]
HTML = b"text/html"
READ = ("GET", "HEAD")
RECHECK_SECONDS = 30.0


class App:
    """ASGI application over one model; `close` it after the last request."""

    def __init__(
        self,
        model: Model,
        *,
        environment: str = "",
        log: Segments | None = None,
        feedback: Log | None = None,
        limits: Limits | None = None,
        samples: list[tuple[dict[str, Any], dict[str, Any]]] | None = None,
        shared: Shared | None = None,
    ) -> None:
        self.model = model
        self.environment = environment
        self.log = log
        self.feedback = feedback
        self.limits = limits or Limits()
        self.metrics = Metrics()
        self.shared = shared
        self.ending: Callable[[], bool] = lambda: False  # whether connections are to be closed
        self.samples = samples or []
        self.work = Work(model.engine, model.signature.columns, deadline=self.limits.seconds)
        self.predictions = Predictions(
            model, self.work, self.metrics, log, self.limits, environment
        )
        self._checked = (-RECHECK_SECONDS, "")
        self._publishing = False
        self.work.warm_up(to_table(model.signature.columns, [it for it, _ in self.samples]))
        self._version = model.manifest.version.encode()
        self._documents: dict[str, Any] = {}
        self._routes = self._all_routes()

    def _all_routes(self) -> dict[str, dict[str, Handler]]:
        manifest = self.model.manifest
        read: dict[str, Handler] = {
            "/": self._index,
            "/docs": self._docs,
            "/openapi.json": self._openapi,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/ping": self._readyz,
            "/v2": self._server_metadata,
            "/v2/health/live": self._healthz,
            "/v2/health/ready": self._readyz,
        }
        write: dict[str, Handler] = {
            "/predict": self.predictions.predict,
            "/invocations": self.predictions.invocations,
            "/feedback": self._feedback,
        }
        name = f"/v2/models/{manifest.model}"
        for path in (name, f"{name}/versions/{manifest.version}"):
            read[path] = self._model_metadata
            read[f"{path}/ready"] = self._readyz
            write[f"{path}/infer"] = self.predictions.infer
        return {path: dict.fromkeys(READ, handler) for path, handler in read.items()} | {
            path: {"POST": handler} for path, handler in write.items()
        }

    def close(self) -> None:
        """Finish computing and write the logs."""
        self.work.close()
        for log in (self.log, self.feedback):
            if log is not None:
                log.close()
        self._publish()

    def _publish(self) -> None:
        self._publishing = False
        if self.shared is not None:
            self.shared.publish(dict(self._samples()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"only HTTP is served here, not {scope['type']}")
        began = time.perf_counter()
        path = scope["path"]
        methods = self._routes.get(path)
        try:
            reply = await self._answer(Request(scope, receive), methods)
        except Gone:
            return
        except Problem as problem:
            reply = self._refusal(path, problem)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            failed = Problem(500, "the server failed; the request is not to blame")
            reply = self._refusal(path, failed)
        headers = [
            (b"content-type", reply.content_type),
            (b"content-length", b"%d" % len(reply.body)),
            (b"x-andon-version", self._version),
            *reply.headers,
        ]
        if self.ending():
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})
        seconds = time.perf_counter() - began
        self.metrics.answered(path if methods else "other", reply.status, seconds)
        if self.shared is not None and not self._publishing:
            self._publishing = True
            asyncio.get_running_loop().call_later(PUBLISH_SECONDS, self._publish)

    async def _answer(self, request: Request, methods: dict[str, Handler] | None) -> Reply:
        if methods is None:
            raise Problem(404, self._not_found(request.path))
        handler = methods.get(request.method)
        if handler is None:
            allowed = ", ".join(methods)
            problem = Problem(405, f"found {request.method}, allowed: {allowed}")
            return refusal(problem, (b"allow", allowed.encode()))
        return await handler(request)

    def _not_found(self, path: str) -> str:
        if path.startswith("/v2/models/"):
            manifest = self.model.manifest
            return f"only model {manifest.model!r}, version {manifest.version!r}, is served here"
        return f"no such path; there are {', '.join(self._routes)}"

    def _refusal(self, path: str, problem: Problem) -> Reply:
        reply = refusal(problem)
        if path.startswith("/v2"):
            reply.body, reply.content_type = v2.error_body(problem), JSON
            reply.status = v2.error_status(problem.status)
        return reply

    async def _index(self, request: Request) -> Reply:
        if request.accepts(HTML):
            return await self._docs(request)
        columns = [
            {"name": column.name, "kind": column.kind, "nullable": column.nullable}
            for column in self.model.signature.columns
        ]
        return json_reply({**self._identity(), "paths": list(self._routes), "columns": columns})

    async def _docs(self, request: Request) -> Reply:
        from serving.protocols import openapi  # for people: most servers never need it

        return Reply(openapi.page(), content_type=b"text/html; charset=utf-8")

    async def _openapi(self, request: Request) -> Reply:
        from serving.protocols import openapi

        if "openapi" not in self._documents:
            self._documents["openapi"] = openapi.document(
                self.model.manifest,
                self.model.signature,
                samples=[record for record, _ in self.samples],
                limits=self.limits,
            )
        return json_reply(self._documents["openapi"])

    async def _healthz(self, request: Request) -> Reply:
        return json_reply({"status": "ok", **self._identity(), "pid": os.getpid()})

    async def _readyz(self, request: Request) -> Reply:
        """Loaded and warm, and the samples are still answered as their author saw."""
        wrong = "the server is about to end" if self.ending() else await self._wrong_sample()
        if wrong:
            return refusal(Problem(503, wrong, retry_after=1))
        return json_reply({"status": "ready", **self._identity(), "pid": os.getpid()})

    async def _wrong_sample(self) -> str:
        at, wrong = self._checked
        if time.monotonic() - at <= RECHECK_SECONDS:
            return wrong
        try:
            answers = await self.predictions.named([record for record, _ in self.samples])
        except Problem:
            return wrong  # too busy to check; that says nothing of the model
        pairs = zip(answers, self.samples, strict=True)
        wrong = next(
            (
                f"sample {number} is answered {found}, expected {expected}"
                for number, (found, (_, expected)) in enumerate(pairs)
                if not same(found, expected)
            ),
            "",
        )
        self._checked = (time.monotonic(), wrong)
        return wrong

    def _identity(self) -> dict[str, Any]:
        manifest = self.model.manifest
        return {
            "model": manifest.model,
            "version": manifest.version,
            "digest": self.model.digest,
            "environment": self.environment,
            "engine": self.model.kind,
        }

    async def _server_metadata(self, request: Request) -> Reply:
        return json_reply(v2.server_metadata())

    async def _model_metadata(self, request: Request) -> Reply:
        return json_reply(v2.model_metadata(self.model.manifest, self.model.signature.columns))

    async def _feedback(self, request: Request) -> Reply:
        if self.feedback is None:
            raise Problem(404, "this server was started without --feedback-dir and takes none")
        return await self.predictions.feedback(request, self.feedback)

    async def _metrics(self, request: Request) -> Reply:
        own = dict(self._samples())
        others = self.shared.others() if self.shared else []
        return Reply(
            exposition([*others, own]),
            content_type=b"text/plain; version=0.0.4; charset=utf-8",
        )

    def _samples(self) -> Any:
        yield sample("andon_info", **self._identity()), 1
        yield from self.metrics.samples()
        for label, count in sorted(self.metrics.labels.items()):
            name = self.model.keys[label]
            yield sample("andon_predictions_total", label=name), count
        yield "andon_waiting_rows", self.work.waiting_rows
        yield "andon_shed_total", self.work.shed
        yield "andon_batches_total", self.work.batches
        for name, log in (("inference", self.log), ("feedback", self.feedback)):
            if log is not None:
                yield sample("andon_log_rows_total", log=name), log.rows
                yield sample("andon_log_dropped_total", log=name), log.dropped
                yield sample("andon_log_errors_total", log=name), log.errors
        if self.log is not None:
            yield sample("andon_log_sampled_out_total", log="inference"), self.log.sampled_out
        yield from process_samples()


__all__ = ["App", "Limits"]
