"""The prediction server over HTTP: a real process, a real socket, a real bundle."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from server_kit import Author, Server, author, lines, logged, start
from support import wait_until

from serving.engine import same

LIMITS = ("--max-body", 20_000, "--max-rows", 50)


@pytest.fixture(scope="module")
def churn() -> Author:
    return author("linear")


@pytest.fixture(scope="module")
def bundle(churn, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    churn.write(folder)
    return folder


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def server(bundle, logs) -> Iterator[Server]:
    with start(bundle, logs, *LIMITS) as it:
        yield it
        assert it.stop() == 0


@pytest.fixture
def client(server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=60) as it:
        yield it


def post(client: httpx.Client, content: str | bytes, **headers: str) -> httpx.Response:
    json_type = {"content-type": "application/json"}
    return client.post("/predict", content=content, headers=json_type | headers)


def test_predictions_are_the_ones_the_author_saw(client, churn):
    reply = client.post("/predict", json={"records": churn.records})
    assert reply.status_code == 200
    assert reply.headers["x-andon-version"] == "3"
    answer = reply.json()
    assert (answer["model"], answer["version"]) == ("churn", "3")
    assert len({one["id"] for one in answer["predictions"]}) == len(churn.records)
    for one, scores in zip(answer["predictions"], churn.expected, strict=True):
        expected = {"no": scores[0], "yes": scores[1]}
        label = max(expected, key=lambda key: expected[key])
        found = {key: one[key] for key in ("label", "probabilities")}
        assert same(found, {"label": label, "probabilities": expected})


def test_one_record_alone_is_answered_as_among_others(client, churn):
    together = client.post("/predict", json={"records": churn.records}).json()["predictions"]
    for record, expected in zip(churn.records, together, strict=True):
        (alone,) = client.post("/predict", json={"records": [record]}).json()["predictions"]
        assert same(alone | {"id": ""}, expected | {"id": ""})


def test_health_says_who_answers(client, server, bundle):
    reply = client.get("/healthz")
    assert reply.status_code == 200
    digest = reply.json()["digest"]
    assert reply.json() == {
        "status": "ok",
        "model": "churn",
        "version": "3",
        "digest": digest,
        "environment": "staging",
        "engine": "linear",
        "pid": server.process.pid,
    }
    assert len(digest) == 64
    ready = client.get("/readyz").json()
    assert ready == reply.json() | {"status": "ready"}
    assert client.get("/ping").json() == ready


def test_the_index_names_paths_and_columns(client):
    index = client.get("/").json()
    assert "/predict" in index["paths"]
    assert {"name": "paper", "kind": "boolean", "nullable": False} in index["columns"]


GOOD = '{"records": [{"paper": true}]}'


@pytest.mark.parametrize(
    ("method", "path", "content", "content_type", "status"),
    [
        ("GET", "/nothing", b"", None, 404),
        ("POST", "/predict/", GOOD, "application/json", 404),
        ("GET", "/predict", b"", None, 405),
        ("DELETE", "/healthz", b"", None, 405),
        ("POST", "/predict", GOOD, None, 415),
        ("POST", "/predict", GOOD, "text/plain", 415),
        ("POST", "/predict", GOOD, "application/json; charset=utf-8", 200),
        ("POST", "/predict", b"", "application/json", 400),
        ("POST", "/predict", b"{'records'", "application/json", 400),
        ("POST", "/predict", b'{"records": ["\xff"]}', "application/json", 400),
        ("POST", "/predict", b"[" * 19_000, "application/json", 400),
        ("POST", "/predict", b"[]", "application/json", 422),
        ("POST", "/predict", b'{"records": [{}]}', "application/json", 422),
        ("POST", "/predict", b'{"records": [{"paper": NaN}]}', "application/json", 422),
        ("POST", "/predict", GOOD.replace("}]", ',"region":"new"}]'), "application/json", 422),
        ("POST", "/predict", json.dumps({"records": [{}] * 51}), "application/json", 413),
        ("POST", "/predict", b" " * 20_001, "application/json", 413),
        ("POST", "/predict", b" " * 300_000, "application/json", 413),
        ("POST", "/feedback", b'{"labels": [1]}', "application/json", 422),
    ],
)
def test_bad_requests_have_their_status_and_say_why(
    client, method, path, content, content_type, status
):
    headers = {} if content_type is None else {"content-type": content_type}
    reply = client.request(method, path, content=content, headers=headers)
    assert reply.status_code == status
    assert reply.headers["x-andon-version"] == "3"
    if status >= 400:
        assert reply.headers["content-type"] == "application/problem+json"
        assert reply.json()["status"] == status
        assert reply.json()["detail"]
    if status == 405:
        assert reply.headers["allow"] == ("POST" if path == "/predict" else "GET, HEAD")
    assert client.get("/healthz").status_code == 200


def test_a_body_without_a_length_has_the_same_limit(client):
    def chunks(count: int) -> Iterator[bytes]:
        yield from [b" " * 1_000] * count
        yield GOOD.encode()

    assert post(client, chunks(3)).status_code == 200  # type: ignore[arg-type]
    assert post(client, chunks(30)).status_code == 413  # type: ignore[arg-type]


def test_all_mistakes_of_a_request_come_back(client):
    reply = post(client, '{"records": [{"paper": 1, "visits": "x"}, {"paper": true, "hat": 1}]}')
    errors = reply.json()["errors"]
    assert [(error["row"], error["column"]) for error in errors] == [
        (0, "visits"), (0, "paper"), (1, "hat"),
    ]  # fmt: skip
    assert errors[0] == {
        "row": 0,
        "column": "visits",
        "found": '"x"',
        "allowed": "a whole number of at most 64 bits or null",
    }


def test_a_client_that_leaves_in_the_middle_harms_nobody(client, server):
    with socket.create_connection(server.address) as half:
        half.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
    assert client.get("/healthz").status_code == 200


def test_every_row_is_logged_with_what_came_and_what_went(client, churn, logs):
    before = time.time()
    record = churn.records[0]
    sent = [record, {"paper": False, "plan": "never seen"}]
    reply = client.post("/predict", json={"records": sent}, headers={"x-andon-probe": "1"})
    other = client.post("/predict", json={"records": [record]})
    predictions = reply.json()["predictions"] + other.json()["predictions"]
    folder = logs / "inference" / "staging" / "churn" / "3"

    def found() -> list[dict[str, Any]]:
        by_id = {row["id"]: row for row in logged(folder)}
        return [by_id[one["id"]] for one in predictions if one["id"] in by_id]

    wait_until(lambda: len(found()) == 3, 30, "the rows are in the log")
    rows = found()
    assert [row["probe"] for row in rows] == [True, True, False]
    assert rows[0]["inputs"] == record
    assert rows[1]["inputs"] == dict.fromkeys(record) | sent[1]
    for line, one in zip(rows, predictions, strict=True):
        assert set(line) == {
            "id", "time", "model", "version", "environment", "inputs", "outputs", "latency_ms",
            "probe",
        }  # fmt: skip
        assert (line["model"], line["version"]) == ("churn", "3")
        assert line["environment"] == "staging"
        score = one["probabilities"]["yes"]
        assert line["outputs"] == {"label": one["label"], "score": score}
        assert before - 1e-5 <= line["time"] <= time.time()
        assert line["latency_ms"] > 0


def test_feedback_is_on_the_disk_when_it_is_accepted(client, logs):
    labels = [{"id": "0123abcd", "label": "yes"}, {"id": "4567", "label": "no"}]
    reply = client.post("/feedback", json={"labels": labels})
    assert (reply.status_code, reply.json()) == (202, {"accepted": 2})
    found = {line["id"]: line["label"] for line in lines(logs / "feedback" / "staging" / "churn")}
    assert found.items() >= {"0123abcd": "yes", "4567": "no"}.items()
    wrong = client.post("/feedback", json={"labels": [*labels, {"id": "9", "label": "maybe"}]})
    assert wrong.status_code == 422
    assert '"no", "yes"' in wrong.json()["errors"][0]["allowed"]


def test_metrics_count_requests_by_status_and_rows(client):
    def value(name: str) -> float:
        text = client.get("/metrics").text
        return sum(float(row.split()[-1]) for row in text.splitlines() if row.startswith(name))

    good, bad = (f'andon_requests_total{{path="/predict",status="{n}"}}' for n in (200, 422))
    before = [value(name) for name in (good, bad, "andon_rows_total")]
    post(client, '{"records": [{"paper": true}, {"paper": true}]}')
    post(client, "{}")
    after = [value(name) for name in (good, bad, "andon_rows_total")]
    assert [b - a for a, b in zip(before, after, strict=True)] == [1, 1, 2]
    assert value("andon_log_dropped_total") == 0
    assert 'andon_info{model="churn",version="3"' in client.get("/metrics").text


def test_ids_of_two_servers_never_meet(bundle, server, client):
    seen: set[str] = set()
    records = {"records": [{"paper": True}] * 50}
    with (
        Server(bundle) as other,
        httpx.Client(base_url=other.url) as second,
        ThreadPoolExecutor(4) as pool,
    ):
        lock = threading.Lock()

        def ask(one: httpx.Client) -> int:
            ids = [it["id"] for it in one.post("/predict", json=records).json()["predictions"]]
            with lock:
                seen.update(ids)
            return len(ids)

        assert sum(pool.map(ask, [client, second] * 5)) == len(seen) == 500
