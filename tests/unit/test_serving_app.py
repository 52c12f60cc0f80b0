"""The HTTP side alone, with engines that a real bundle would not give."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

from serving.app import App, Limits
from serving.bundle import Column, Manifest, Signature
from serving.engine import Model
from serving.engines.base import Engine, Refused, Scored
from serving.ids import new_ids
from serving.metrics import FAMILIES
from serving.table import Row, Table

MANIFEST = Manifest("odd", "7", "regression", "y", "b")
SAMPLES = [({"x": 1.0}, {"value": 1.0})]


class OddEngine(Engine):
    """Answers 1 when it is let, and as it is told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.let = threading.Event()
        self.let.set()
        self.asked = threading.Event()
        self.error = error
        self.value = 1.0

    def row(self, row: Row) -> Scored:
        return self.table(Table(1, []))

    def table(self, table: Table) -> Scored:
        self.asked.set()
        assert self.let.wait(60)
        if self.error is not None:
            raise self.error
        return Scored([], [[self.value]] * table.n)


def app_of(engine: Engine, **options: Any) -> App:
    signature = Signature([Column("x", "number")])
    return App(Model(engine, MANIFEST, signature, "d"), **options)


async def ask(
    app: App, method: str, path: str, body: bytes = b"", query: bytes = b"", **headers: str
) -> tuple[int, dict[str, Any]]:
    """One request as the ASGI server would bring it, in two parts."""
    parts = [body[:5], body[5:]]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    given = {"content-type": "application/json; charset=utf-8", **headers}
    listed = [(name.encode(), value.encode()) for name, value in given.items()]
    scope = {"type": "http", "method": method, "path": path, "query_string": query}
    await app({**scope, "headers": listed}, receive, send)
    assert dict(sent[0]["headers"])[b"x-andon-version"] == b"7"
    raw = sent[1]["body"]
    return sent[0]["status"], {"text": raw} if path == "/metrics" else json.loads(raw)


PREDICT = ("POST", "/predict", b'{"records": [{"x": 1}]}')


def test_health_is_answered_while_a_prediction_is_computed():
    engine = OddEngine()
    engine.let.clear()
    app = app_of(engine)

    async def scenario() -> None:
        prediction = asyncio.create_task(ask(app, *PREDICT))
        while not engine.asked.is_set():
            await asyncio.sleep(0.01)
        assert (await ask(app, "GET", "/healthz"))[0] == 200
        assert not prediction.done()
        engine.let.set()
        status, answer = await prediction
        assert (status, answer["predictions"][0]["value"]) == (200, 1.0)

    asyncio.run(asyncio.wait_for(scenario(), 60))
    app.close()


@pytest.mark.parametrize("samples", [[], SAMPLES])  # waiting for the thread, and at once
def test_what_the_pipeline_refuses_is_the_clients_to_mend(samples):
    engine = OddEngine()
    app = app_of(engine, samples=samples)
    engine.error = Refused("unknown category 'x'")
    status, problem = asyncio.run(ask(app, *PREDICT))
    assert status == 422
    assert "unknown category 'x'" in problem["detail"]
    app.close()


def test_a_failure_of_ours_is_a_500_that_tells_nothing_and_the_next_request_is_answered(capsys):
    engine = OddEngine(KeyError("secret"))
    app = app_of(engine)
    status, problem = asyncio.run(ask(app, *PREDICT))
    assert status == 500
    assert "secret" not in json.dumps(problem)
    assert "secret" in capsys.readouterr().err
    engine.error = None
    assert asyncio.run(ask(app, *PREDICT))[0] == 200
    app.close()


def test_ready_means_that_the_samples_are_still_answered_right(monkeypatch):
    monkeypatch.setattr("serving.app.RECHECK_SECONDS", 0.0)
    engine = OddEngine()
    app = app_of(engine, samples=SAMPLES)
    status, said = asyncio.run(ask(app, "GET", "/readyz"))
    assert (status, said["status"], said["engine"]) == (200, "ready", "sklearn")
    engine.value = 1.1
    status, problem = asyncio.run(ask(app, "GET", "/readyz"))
    assert status == 503
    assert "sample 0" in problem["detail"]
    assert asyncio.run(ask(app, "GET", "/healthz"))[0] == 200
    app.close()


def test_a_server_that_ends_is_alive_but_not_ready():
    app = app_of(OddEngine(), samples=SAMPLES)
    app.ending = lambda: True
    assert asyncio.run(ask(app, "GET", "/readyz"))[0] == 503
    assert asyncio.run(ask(app, "GET", "/healthz"))[0] == 200
    app.close()


def test_too_much_to_do_is_a_503_that_says_when_to_come_again():
    engine = OddEngine()
    engine.let.clear()
    app = app_of(engine, limits=Limits(seconds=0.5))
    app.work._row_seconds = 1.0

    async def scenario() -> None:
        first = asyncio.create_task(ask(app, *PREDICT))
        while not engine.asked.is_set():
            await asyncio.sleep(0.01)
        status, problem = await ask(app, *PREDICT)
        assert (status, problem["status"]) == (503, 503)
        engine.let.set()
        await first

    asyncio.run(asyncio.wait_for(scenario(), 60))
    app.close()


def test_errors_of_the_open_inference_protocol_have_its_form():
    app = app_of(OddEngine())
    status, said = asyncio.run(ask(app, "POST", "/v2/models/odd/infer", b"{}"))
    assert status == 400
    assert isinstance(said["error"], str)
    status, said = asyncio.run(ask(app, "GET", "/v2/models/other"))
    assert status == 404
    assert "'odd'" in said["error"]
    app.close()


@pytest.mark.parametrize(
    ("query", "status"), [(b"explain=1", 422), (b"explain=0", 422), (b"explain=x", 422), (b"", 200)]
)
def test_an_explanation_that_is_not_to_be_had_is_refused(query, status):
    app = app_of(OddEngine(), samples=SAMPLES)
    found, problem = asyncio.run(ask(app, *PREDICT, query))
    assert found == status
    assert status == 200 or problem["detail"].startswith("explain: ")
    app.close()


def test_metrics_count_what_was_answered():
    app = app_of(OddEngine(), samples=SAMPLES)
    for _ in range(3):
        asyncio.run(ask(app, *PREDICT))
    asyncio.run(ask(app, "POST", "/predict", b"{"))
    text = asyncio.run(ask(app, "GET", "/metrics"))[1]["text"].decode()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert lines['andon_requests_total{path="/predict",status="200"}'] == "3"
    assert lines['andon_requests_total{path="/predict",status="400"}'] == "1"
    assert lines['andon_request_seconds_bucket{path="/predict",le="+Inf"}'] == "4"
    assert lines["andon_rows_total"] == "3"
    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert families <= set(FAMILIES)
    app.close()


def test_ids_are_unique_and_in_the_order_of_time():
    ids = [*new_ids(1_000, 1_700_000_000.0), *new_ids(1_000, 1_700_000_000.0)]
    assert len(set(ids)) == 2_000
    assert {len(one) for one in ids} == {32}
    assert max(ids) < new_ids(1, 1_700_000_001.0)[0]


def test_every_path_is_in_the_document_and_the_other_way_round():
    app = app_of(OddEngine(), samples=SAMPLES)
    described = asyncio.run(ask(app, "GET", "/openapi.json"))[1]["paths"]
    served = {
        (path, method.lower())
        for path, methods in app._routes.items()
        for method in methods
        if method != "HEAD"
    }
    assert {(path, method) for path, methods in described.items() for method in methods} == served
    app.close()
