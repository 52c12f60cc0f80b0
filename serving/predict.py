"""From a request to its answer: decode, compute, name, log; in each protocol."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from serving.decode import Decoder, decode_labels
from serving.engine import Model, Refused
from serving.engines.base import Scored
from serving.frame import to_table
from serving.http import JSON, Limits, Reply, Request, json_reply
from serving.ids import new_ids
from serving.log import Log
from serving.metrics import Metrics
from serving.problem import Problem
from serving.protocols import mlflow, v2
from serving.segments import Segments
from serving.table import Table
from serving.work import Decoded, Work, count

ARROW = b"application/vnd.apache.arrow.stream"
CSV = b"text/csv"
_encode = msgspec.json.Encoder().encode


class Predictions:
    """The handlers that ask the model."""

    def __init__(
        self,
        model: Model,
        work: Work,
        metrics: Metrics,
        log: Segments | None,
        limits: Limits,
        environment: str,
    ) -> None:
        self._model = model
        self._columns = model.signature.columns
        self._work = work
        self._metrics = metrics
        self._log = log
        self._limits = limits
        self._decoder = Decoder(model.signature, limits.rows)
        self._name = model.manifest.model
        self._version = model.manifest.version

    async def predict(self, request: Request) -> Reply:
        """POST /predict: JSON records or columns, or an Arrow stream."""
        media = request.media
        if media == ARROW:
            from serving import arrow  # only where a client speaks it

            body = await request.body(self._limits.bulk_body)
            decoded: Decoded = arrow.read_table(body, self._columns, self._limits.bulk_rows)
        else:
            body = await request.body(self._limits.body)
            _expect(media, JSON, ARROW)
            decoded = self._decoder.decode(body)
        explain = self._explain(request, decoded)
        ids, scored = await self._score(request, decoded, len(body))
        if media == ARROW or request.accepts(ARROW):
            from serving import arrow

            stream = arrow.write_table(self._model.manifest, ids, scored)
            return Reply(stream, content_type=ARROW)
        predictions = self._model.named(scored, ids)
        if explain and isinstance(decoded, list):
            for answer, row in zip(predictions, decoded, strict=True):
                answer["contributions"] = self._top(self._model.engine.contributions(row), explain)
        return Reply(
            _encode({"model": self._name, "version": self._version, "predictions": predictions})
        )

    async def invocations(self, request: Request) -> Reply:
        """POST /invocations: MLflow's JSON shapes and CSV, as SageMaker asks too."""
        body = await request.body(self._limits.body)
        media = request.media
        _expect(media, JSON, CSV)
        decoded = mlflow.parse(body, media.decode(), self._columns, self._limits.rows)
        ids, scored = await self._score(request, decoded, len(body))
        return Reply(mlflow.answer(self._model.manifest, ids, scored))

    async def infer(self, request: Request) -> Reply:
        """POST /v2/models/NAME/infer: the Open Inference Protocol, its binary extension too."""
        body = await request.body(self._limits.bulk_body)
        asked = v2.parse(
            body, request.headers, self._model.manifest, self._columns, self._limits.bulk_rows
        )
        ids, scored = await self._score(request, asked.decoded, len(body))
        answer = v2.answer(self._model.manifest, asked, ids, scored)
        return Reply(answer.body, content_type=answer.content_type, headers=answer.headers)

    async def feedback(self, request: Request, log: Log) -> Reply:
        """POST /feedback: what was true, by prediction id; 202 when it is on the disk."""
        body = await request.body(self._limits.body)
        _expect(request.media, JSON)
        labels = decode_labels(body, self._model.manifest)
        now = time.time()
        lines = [
            msgspec.json.encode({"id": row["id"], "time": now, "label": row["label"]}) + b"\n"
            for row in labels
        ]
        if lines and not await log.written(lines):
            raise Problem(503, "the labels could not be written; send them again", retry_after=5)
        return json_reply({"accepted": len(labels)}, 202)

    async def named(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answers that nobody counts or logs."""
        return self._model.named(await self._work.score(to_table(self._columns, records)))

    async def _score(
        self, request: Request, decoded: Decoded, size: int
    ) -> tuple[list[str], Scored]:
        try:
            scored = await self._work.score(decoded)
        except Refused as error:
            raise Problem(422, f"the model does not take these values: {error}") from error
        now = time.time()
        rows = count(decoded)
        ids = new_ids(rows, now)
        self._metrics.predicted(rows, scored.labels)
        if self._log is not None:
            probe = request.headers.get(b"x-andon-probe") == b"1"
            latency = (now - request.started) * 1000
            self._log.put(ids, request.started, latency, probe, decoded, scored, size)
        return ids, scored

    def _explain(self, request: Request, decoded: Decoded) -> int:
        text = request.parameter("explain")
        if text is None:
            return 0
        if not text.isdecimal() or not 0 < int(text) <= len(self._columns):
            raise Problem(422, f"explain: found {text!r}, allowed: 1 to {len(self._columns)}")
        if isinstance(decoded, Table):
            raise Problem(422, "explain: only 'records' can be explained")
        try:
            none = self._model.engine.contributions(decoded[0]) is None
        except Refused:
            none = False  # the scoring says why
        if none:
            raise Problem(422, f"explain: the engine {self._model.kind!r} gives no contributions")
        return int(text)

    def _top(self, contributions: list[float] | None, most: int) -> dict[str, float]:
        named = zip((it.name for it in self._columns), contributions or [], strict=True)
        return dict(sorted(named, key=lambda it: -abs(it[1]))[:most])


def _expect(found: bytes, *allowed: bytes) -> None:
    if found not in allowed:
        listed = " or ".join(it.decode() for it in allowed)
        shown = found.decode("latin-1") or "nothing"
        raise Problem(415, f"Content-Type: found {shown}, allowed: {listed}")
