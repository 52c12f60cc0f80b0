"""How a prediction server starts, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import skops.io
from server_kit import Author, Server, author, logged, start
from support import wait_until

from serving.__main__ import listening_socket
from serving.bundle import seal

ONE = {"records": [{"paper": True}]}
BODY = b'{"records": [{"paper": true}]}'


@pytest.fixture(scope="module")
def churn() -> Author:
    return author("linear")


@pytest.fixture(scope="module")
def bundle(churn, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    churn.write(folder)
    return folder


def test_without_folders_there_is_no_feedback_and_no_log(bundle):
    with Server(bundle) as server:
        assert httpx.post(f"{server.url}/feedback", json={"labels": []}).status_code == 404
        assert httpx.post(f"{server.url}/predict", json=ONE).status_code == 200
        assert server.stop() == 0


def test_feedback_that_cannot_be_stored_is_not_accepted(bundle, tmp_path):
    (tmp_path / "feedback").write_text("no folder")
    labels = {"labels": [{"id": "1", "label": "no"}]}
    with start(bundle, tmp_path) as server:
        assert httpx.post(f"{server.url}/feedback", json=labels).status_code == 503
        assert httpx.post(f"{server.url}/predict", json=ONE).status_code == 200
        assert server.stop() == 0


class Traffic:
    """Clients that keep on asking until the server is gone; remembers what was answered."""

    def __init__(self, url: str) -> None:
        self.answered: list[tuple[float, str]] = []
        self._url = url
        self._pool = ThreadPoolExecutor(3)
        self._clients = [self._pool.submit(self._ask) for _ in range(3)]

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as client:
            try:
                while True:
                    reply = client.post("/predict", json={"records": [{"paper": True}]})
                    assert reply.status_code == 200
                    self.answered.append((time.time(), reply.json()["predictions"][0]["id"]))
            except httpx.TransportError:
                return

    def end(self) -> None:
        for client in self._clients:
            client.result(60)
        self._pool.shutdown()


def test_sigterm_loses_no_answer_from_the_log(bundle, tmp_path):
    with start(bundle, tmp_path) as server:
        traffic = Traffic(server.url)
        wait_until(lambda: len(traffic.answered) > 100, 60, "there is traffic")
        assert server.stop() == 0
        traffic.end()
    found = [row["id"] for row in logged(tmp_path / "inference")]
    assert {id_ for _, id_ in traffic.answered} <= set(found)
    assert len(found) == len(set(found))


def test_sigterm_lets_a_request_that_has_begun_finish(bundle, tmp_path):
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    with (
        start(bundle, tmp_path) as server,
        socket.create_connection(server.address, timeout=60) as begun,
    ):
        begun.sendall(head + b"content-length: %d\r\n\r\n" % len(BODY) + BODY[:10])
        # Another connection is answered after this one was accepted.
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        server.process.terminate()
        wait_until(lambda: refuses(server), 60, "no new connections are taken")
        begun.sendall(BODY[10:])
        answer = b""
        while part := begun.recv(65_536):
            answer += part
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in answer.lower()
        assert server.stop() == 0
    assert len(logged(tmp_path / "inference")) == 1


def test_workers_share_a_port_their_counters_and_the_end(bundle, tmp_path):
    with start(bundle, tmp_path, "--workers", 2) as server:
        pids: set[int] = set()

        def both() -> bool:  # a new connection each time, for either to take
            pids.add(httpx.get(f"{server.url}/healthz").json()["pid"])
            return len(pids) == 2

        wait_until(both, 60, "both workers answer")
        assert server.process.pid not in pids
        for _ in range(50):
            assert httpx.post(f"{server.url}/predict", json=ONE).status_code == 200

        def rows() -> float:
            text = httpx.get(f"{server.url}/metrics").text
            (line,) = (it for it in text.splitlines() if it.startswith("andon_rows_total"))
            return float(line.split()[1])

        def all_say_so() -> bool:  # each of the two is asked several times
            return all(rows() == 50 for _ in range(20))

        wait_until(all_say_so, 60, "the rows of both are counted, and both know")
        os.kill(min(pids), signal.SIGKILL)
        wait_until(lambda: rows() == 50, 60, "what a dead worker counted is kept")
        assert server.stop() == 0
    ids = [row["id"] for row in logged(tmp_path / "inference")]
    assert len(set(ids)) == len(ids) == 50


def refuses(server: Server) -> bool:
    try:
        socket.create_connection(server.address, timeout=1).close()
    except OSError:
        return True
    return False


def test_sigkill_loses_the_last_moment_at_most(bundle, tmp_path):
    folder = tmp_path / "inference"
    with start(bundle, tmp_path) as server:
        traffic = Traffic(server.url)
        wait_until(lambda: len(logged(folder)) > 100, 60, "the log grows under traffic")
        # What is answered by now has to be in the log soon, whether or not it is closed.
        known = {id_ for _, id_ in traffic.answered}
        wait_until(lambda: known <= {it["id"] for it in logged(folder)}, 60, "the log keeps up")
        server.process.kill()
        killed = time.time()
        server.process.wait(60)
        traffic.end()
    found = {row["id"] for row in logged(folder)}
    assert known <= found
    lost = [killed - at for at, id_ in traffic.answered if id_ not in found]
    # A quarter of a second by design; the rest is for a machine that is busy with other things.
    assert max(lost, default=0.0) < 5.0


def fails(*options: object) -> tuple[int, str]:
    command = [sys.executable, "-m", "serving", *(str(part) for part in options)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.stdout == ""
    return run.returncode, run.stderr


def test_a_bundle_that_may_not_serve_ends_the_start_with_one_line(churn, tmp_path):
    churn.write(tmp_path)
    (tmp_path / "profile.json").write_bytes(b"[]")
    status, said = fails("--bundle", tmp_path, "--port", 0)
    assert status == 3
    assert "profile.json" in said
    assert said.count("\n") == 1
    churn.write(tmp_path, engines=["sklearn"])
    skops.io.dump(os.path.join, tmp_path / "model.skops")
    seal(tmp_path)
    status, said = fails("--bundle", tmp_path, "--port", 0)
    assert status == 3
    assert "posixpath.join" in said
    assert said.count("\n") == 1
    assert fails("--bundle", tmp_path / "nowhere", "--port", 0)[0] == 3


def test_a_taken_port_ends_the_start_with_one_line(bundle):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, said = fails("--bundle", bundle, "--port", port)
    assert status == 4
    assert str(port) in said
    assert said.count("\n") == 1


def test_answers_do_not_wait_for_a_delayed_acknowledgement():
    async def accepted_without_delay() -> int:
        options: asyncio.Queue[int] = asyncio.Queue()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            it = writer.get_extra_info("socket")
            options.put_nowait(it.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listener = listening_socket("127.0.0.1", 0)
        async with await asyncio.start_server(accept, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            writer.close()
            await writer.wait_closed()
            return await asyncio.wait_for(options.get(), 60)

    assert asyncio.run(accepted_without_delay()) == 1


def test_wrong_options_are_told():
    assert fails("--bundle", "x", "--environment", "../up")[0] == 2
    assert fails("--bundle", "x", "--max-rows", "0")[0] == 2
    assert fails("--bundle", "x", "--port", "65536")[0] == 2


IMPORTED = """
import sys
from pathlib import Path
from serving.__main__ import prepare
prepare()
import uvicorn
import serving.app
from serving.engine import load
model = load(Path(sys.argv[1]))
model.answer([{"paper": True}])
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""
HEAVY = {
    "prefect", "mlflow", "dvc", "pandas", "polars", "pyarrow", "pydantic", "fastapi",
    "sqlalchemy", "matplotlib", "great_expectations", "onnx", "skl2onnx",
}  # fmt: skip
OWN = {"linear": set(), "trees": {"onnxruntime"}, "sklearn": {"sklearn", "skops", "scipy"}}


@pytest.mark.parametrize("engine", OWN)
def test_the_server_imports_nothing_but_what_its_engine_needs(engine, tmp_path):
    author("trees" if engine == "trees" else "linear").write(tmp_path, engines=[engine])
    command = [sys.executable, "-c", IMPORTED, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    imported = set(run.stdout.split())
    assert {"serving", "msgspec"} | OWN[engine] <= imported
    others = set().union(*OWN.values()) - OWN[engine]
    assert not imported & ({"andon", "tasks", "flows", "deployments"} | HEAVY | others)
