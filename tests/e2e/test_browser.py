"""The browser that other tests look through sees what a person would see."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browser import page_fixture, problems_of, screenshot  # noqa: F401 - tests ask for `page`

HTML = """<!doctype html><title>A page</title><body style="margin:0">
<div id="drawn" style="height: 2000px"></div>
<script>
  fetch("data.json").then(it => it.json()).then(it => drawn.textContent = it.text)
  if (location.search) { console.error("said"); fetch("absent"); setTimeout(() => thrown()) }
</script>"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "index.html").write_text(HTML)
    (tmp_path / "data.json").write_text('{"text": "fetched"}')
    (tmp_path / "favicon.ico").touch()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.mark.browser
def test_a_page_runs_its_scripts_and_is_pictured_whole(page, url, tmp_path):
    problems = problems_of(page)
    page.goto(url)
    page.get_by_text("fetched").wait_for()
    picture = screenshot(page, tmp_path / "shots" / "page.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert struct.unpack(">II", picture[16:24]) == (1440, 2000)
    assert problems == []


@pytest.mark.browser
def test_what_goes_wrong_on_a_page_is_not_overlooked(page, url):
    problems = problems_of(page)
    page.goto(f"{url}?break")
    page.wait_for_function("() => performance.getEntriesByName(new URL('absent', location)).length")
    page.get_by_text("fetched").wait_for()
    seen = "\n".join(problems)
    assert "console: said" in seen
    assert "HTTP 404" in seen
    assert "thrown is not defined" in seen


@pytest.mark.browser
def test_only_this_machine_is_asked(page, url):
    """Chromium itself would find *.localhost here; that name stands for any other."""
    page.goto(url)
    elsewhere = url.replace("127.0.0.1", "elsewhere.localhost")
    fetch = "url => fetch(url, {mode: 'no-cors'}).then(() => 'answered', error => error.message)"
    assert page.evaluate(fetch, url) == "answered"
    assert page.evaluate(fetch, elsewhere) == "Failed to fetch"
