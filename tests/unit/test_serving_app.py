"""The HTTP side alone, with engines that a real bundle would not give."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any, cast

from serving.app import App, new_ids
from serving.bundle import Column, Manifest, Signature
from serving.engine import Engine, Refused


class OddEngine:
    """Answers when it is let, and as it is told."""

    manifest = Manifest("odd", "7", "regression", "y", "b")
    signature = Signature([Column("x", "number")])
    digest = "d"

    def __init__(self, error: Exception | None = None) -> None:
        self.let = threading.Event()
        self.asked = threading.Event()
        self.error = error

    def answer(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self.asked.set()
        assert self.let.wait(60)
        if self.error is not None:
            raise self.error
        return [{"value": 1.0} for _ in records]


async def ask(app: App, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
    """One request as the ASGI server would bring it, in two parts."""
    parts = [body[:5], body[5:]]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"content-type", b"application/json; charset=utf-8")]
    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    await app(scope, receive, send)
    assert dict(sent[0]["headers"])[b"x-andon-version"] == b"7"
    return sent[0]["status"], json.loads(sent[1]["body"])


PREDICT = ("POST", "/predict", b'{"records": [{"x": 1}]}')


def test_health_is_answered_while_a_prediction_is_computed():
    engine = OddEngine()
    app = App(cast(Engine, engine))

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


def test_what_the_pipeline_refuses_is_the_clients_to_mend():
    engine = OddEngine(Refused("unknown category 'x'"))
    engine.let.set()
    app = App(cast(Engine, engine))
    status, problem = asyncio.run(ask(app, *PREDICT))
    assert status == 422
    assert "unknown category 'x'" in problem["detail"]
    app.close()


def test_a_failure_of_ours_is_a_500_that_tells_nothing_and_the_next_request_is_answered(capsys):
    engine = OddEngine(KeyError("secret"))
    engine.let.set()
    app = App(cast(Engine, engine))
    status, problem = asyncio.run(ask(app, *PREDICT))
    assert status == 500
    assert "secret" not in json.dumps(problem)
    assert "secret" in capsys.readouterr().err
    engine.error = None
    assert asyncio.run(ask(app, *PREDICT))[0] == 200
    app.close()


def test_ids_are_unique_and_in_the_order_of_time():
    ids = [*new_ids(1_000, 1_700_000_000.0), *new_ids(1_000, 1_700_000_000.0)]
    assert len(set(ids)) == 2_000
    assert {len(one) for one in ids} == {32}
    assert max(ids) < new_ids(1, 1_700_000_001.0)[0]
