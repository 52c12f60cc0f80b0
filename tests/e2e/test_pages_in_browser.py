"""The pages of monitoring in a real browser: whole on a phone and a desktop, without network."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import page_fixture, problems_of, screenshot  # noqa: F401 - tests ask for `page`
from page_stories import AT, HOSTILE, drifted, places, quiet
from playwright.sync_api import Page

from andon.dashboard import dashboard
from andon.monitor_page import page as monitor_page
from andon.page import to_html

PAGES = {
    "drifted": lambda: to_html(monitor_page(drifted())),
    "quiet": lambda: to_html(monitor_page(quiet())),
    "hostile": lambda: to_html(monitor_page(drifted(HOSTILE))),
    "long": lambda: to_html(monitor_page(drifted("no_end_in_sight" * 20, story=40))),
    "dashboard": lambda: dashboard(places(), AT),
    "dashboard, hostile": lambda: dashboard(places(HOSTILE), AT),
    "dashboard, empty": lambda: dashboard([], AT),
}


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("kind", PAGES)
def test_nothing_goes_wrong_and_nothing_is_cut_off(
    page: Page, tmp_path: Path, kind: str, width: int
) -> None:
    path = tmp_path / "page.html"
    path.write_text(PAGES[kind](), encoding="utf-8")
    problems = problems_of(page)
    loaded: list[str] = []
    page.on("request", lambda it: loaded.append(it.url))
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(it => it.naturalWidth > 0)")
    assert not problems
    assert {it for it in loaded if not it.startswith("data:")} == {path.as_uri()}
    assert page.title() != "owned"
    assert screenshot(page, tmp_path / "page.png").stat().st_size > 1_000
