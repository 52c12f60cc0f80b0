"""The server of pages: what it gives, and what it never does."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from deployments.platform.pages import Pages


@pytest.fixture
def folder(tmp_path) -> Path:
    found = tmp_path / "pages"
    (found / "production" / "churn").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    return found


@pytest.fixture
def port(folder) -> Iterator[int]:
    handler = partial(Pages, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def get(port: int, path: str, method: str = "GET") -> tuple[int, str, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body, answer


def test_pages_are_given_with_a_strict_policy(folder, port):
    assert "Nothing has been watched yet" in get(port, "/")[1]
    (folder / "index.html").write_text("<p>é</p>")
    (folder / "metrics").write_text("andon 1\n")
    (folder / "production" / "churn" / "1.html").write_text("report")
    status, body, answer = get(port, "/")
    assert (status, body) == (200, "<p>é</p>")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert get(port, "/production/churn/1.html")[:2] == (200, "report")
    status, body, answer = get(port, "/metrics")
    assert (status, body) == (200, "andon 1\n")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert get(port, "/healthz")[:2] == (200, "ok\n")
    assert get(port, "/healthz", "HEAD")[:2] == (200, "")


@pytest.mark.parametrize(
    "path",
    ["/../secret", "/%2e%2e/secret", "/production/../../secret", "//secret", "/link", "/.hidden",
     "/production", "/production/", "/nothing", "/%00", "/\\..\\secret"],
)  # fmt: skip
def test_nothing_else_is_given(folder, port, path):
    (folder / "link").symlink_to(folder.parent / "secret")
    (folder / ".hidden").write_text("secret")
    status, body, _ = get(port, path)
    if status == 301:  # to the folder, which is not listed
        status, body, _ = get(port, f"{path}/")
    assert status == 404, body
    assert "secret" not in body.replace("/secret", "")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_sent(port, method):
    assert get(port, "/", method)[0] == 501
