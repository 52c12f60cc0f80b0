"""A running server against its own OpenAPI document, by schemathesis; and against noise."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import httpx
import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from server_kit import Server, author, start

EXAMPLES = 60  # for each operation


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("bundle")
    author("linear").write(folder)
    with start(folder, tmp_path_factory.mktemp("logs")) as it:
        yield it
        assert it.stop() == 0


MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.mark.parametrize("mode", MODES, ids=lambda it: it.value)
def test_every_operation_answers_as_it_promises(server, mode):
    """Right and wrong requests: no 5xx, and a status and a body that are in the document."""
    described = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    tried = 0
    for found in described.get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and operation.method != "post":
            continue  # nothing can be wrong with them

        @FUZZ
        @given(operation.as_strategy(generation_mode=mode))
        def ask(case):
            case.validate_response(case.call(timeout=60), checks=CHECKS)

        ask()
        tried += 1
    assert tried >= 5


def test_the_documents_examples_are_answered_as_it_promises(server):
    described = httpx.get(f"{server.url}/openapi.json").json()
    posts = {path: it["post"] for path, it in described["paths"].items() if "post" in it}
    assert len(posts) == 5
    for path, operation in posts.items():
        example = operation["requestBody"]["content"]["application/json"]["example"]
        reply = httpx.post(server.url + path, json=example, timeout=60)
        assert reply.status_code in (200, 202), f"{path}: {reply.text}"
        answer = operation["responses"][str(reply.status_code)]["content"]["application/json"]
        whole = {**answer["schema"], "components": described["components"]}
        jsonschema.Draft202012Validator(whole).validate(reply.json())


HEAD = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
NOISE = [
    b"", b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/9.9\r\n\r\n", HEAD + b"content-length: -1\r\n\r\n{}",
    HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}x",
    HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    HEAD + b"content-length: 99999999999999999999\r\n\r\n", b"A" * 100_000,
    b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20_000 + b"\r\n",
]  # fmt: skip


@pytest.mark.parametrize("noise", NOISE, ids=range(len(NOISE)))
def test_noise_harms_nobody(server, noise):
    with socket.create_connection(server.address, timeout=10) as client:
        client.settimeout(2)
        try:
            client.sendall(noise)
            answer = client.recv(4_096)
        except OSError:  # closed on us, or nothing to say
            answer = b""
    assert not answer.startswith(b"HTTP/1.1 5")
    assert httpx.get(f"{server.url}/readyz").status_code == 200


def test_random_bodies_get_no_5xx_on_any_path(server):
    draw = random.Random(7)  # noqa: S311
    whole = b'{"records": [{"paper": true, "visits": 3, "plan": "basic", "since": "2026-11-23"}]}'
    paths = ["/predict", "/predict?explain=2", "/invocations", "/v2/models/churn/infer",
             "/feedback"]  # fmt: skip
    media = ["application/json", "text/csv", "application/vnd.apache.arrow.stream", "x/y", ""]
    seen = set()
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for _ in range(1_500):
            raw = bytearray(whole)
            for _ in range(draw.randint(0, 4)):
                raw[draw.randrange(len(raw))] = draw.randrange(256)
            headers = {"content-type": draw.choice(media)}
            reply = client.post(draw.choice(paths), content=bytes(raw), headers=headers)
            seen.add(reply.status_code)
    assert seen <= {200, 202, 400, 404, 413, 415, 422}
    assert {200, 400, 415, 422} <= seen
