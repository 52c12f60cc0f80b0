"""A real browser for the pages that people look at: Chromium, headless, on this machine only.

python tests/e2e/browser.py URL FILE.png     look at a page by hand
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, ViewportSize, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",  # root in a container has no user namespaces
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # What a page shows must not hang on, or tell, anyone outside.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
WINDOW = ViewportSize(width=1440, height=900)


def executable() -> str | None:
    """The installed Chromium, if any: Playwright's own download is not used."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def open_page(seconds: float = 30.0) -> Iterator[Page]:
    """An empty page in a browser of its own; `seconds` is how long it waits for anything."""
    found = executable()
    if found is None:
        raise FileNotFoundError(f"no Chromium here: none of {', '.join(NAMES)} is on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        try:
            page = browser.new_page(viewport=WINDOW)
            page.set_default_timeout(seconds * 1000)
            yield page
        finally:
            browser.close()


def problems_of(page: Page) -> list[str]:
    """What goes wrong on the page from now on: exceptions, errors in the console, HTTP ≥ 400."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(f"exception: {error}"))
    page.on(
        "console",
        lambda said: found.append(f"console: {said.text}") if said.type == "error" else None,
    )
    page.on(
        "response",
        lambda got: found.append(f"HTTP {got.status}: {got.url}") if got.status >= 400 else None,
    )
    return found


def screenshot(page: Page, path: Path) -> Path:
    """The whole page, scrolled parts too, when its fonts are there and its pictures moved in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page.evaluate("() => document.fonts.ready.then(() => true)")
    page.screenshot(path=path, full_page=True, animations="disabled")
    return path


@pytest.fixture(name="page")
def page_fixture() -> Iterator[Page]:
    """`page`, where a conftest or a test module imports this; mark its tests `browser`."""
    if executable() is None:
        pytest.skip(f"no Chromium here: none of {', '.join(NAMES)} is on the PATH")
    with open_page() as opened:
        yield opened


def main(url: str, target: str) -> None:
    with open_page() as opened:
        problems = problems_of(opened)
        opened.goto(url, wait_until="load")
        opened.wait_for_timeout(3000)  # for a person: until it has drawn what it fetched
        print(f"{opened.title()!r} → {screenshot(opened, Path(target))}")
        for problem in problems:
            print(problem)


if __name__ == "__main__":
    main(*sys.argv[1:])
