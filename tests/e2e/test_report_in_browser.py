"""The demo's summary in a real browser: whole, readable, on a phone and on a desktop."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from browser import page_fixture, problems_of  # noqa: F401 - tests ask for `page`
from demo_stories import BEGAN, HOSTILE, good_story, with_text
from playwright.sync_api import Page

from deployments.demo.report import write
from deployments.demo.story import Story

LONG = "_no_end_in_sight" * 12
STORIES = {
    "good": good_story,
    "empty": lambda: Story("churn", BEGAN),
    "hostile": lambda: with_text(good_story(), HOSTILE),
    "long": lambda: with_text(good_story(), LONG),
}
WIDTHS = (1280, 390)
OPEN_ALL = "document.querySelectorAll('details').forEach(it => it.open = true)"
# Everything with text of its own, and the numbers on the plot.
OUTSIDE = """() => [...document.querySelectorAll('main *')]
  .filter(it => [...it.childNodes].some(c => c.nodeType === 3 && c.data.trim()))
  .map(it => [it.className + ': ' + it.textContent.slice(0, 40), it.getBoundingClientRect()])
  .filter(([, box]) => box.width && (box.left < 0 || box.right > innerWidth))
  .map(([name]) => name)"""
OVERLAPS = """selector => {
  const found = [...document.querySelectorAll(selector)].map(it => it.getBoundingClientRect())
  const over = (a, b) => a.left < b.right - 1 && b.left < a.right - 1
                      && a.top < b.bottom - 1 && b.top < a.bottom - 1
  return found.filter((a, i) => found.some((b, k) => k > i && over(a, b))).length
}"""
# WCAG 2.2's contrast of text with the nearest background that is painted behind it.
FAINT = """() => {
  const parts = text => text.match(/[\\d.]+/g).map(Number)
  const light = ([r, g, b]) => [r, g, b]
    .map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0)
  const behind = it => {
    for (; it; it = it.parentElement) {
      const colour = parts(getComputedStyle(it).backgroundColor)
      if (colour[3] === undefined || colour[3] > 0) return colour
    }
    return [255, 255, 255]
  }
  return [...document.querySelectorAll('main *')]
    .filter(it => [...it.childNodes].some(c => c.nodeType === 3 && c.data.trim()))
    .map(it => {
      const pair = [light(parts(getComputedStyle(it).color)), light(behind(it))]
      return [(Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05), it]
    })
    .filter(([ratio]) => ratio < 4.5)
    .map(([ratio, it]) => `${ratio.toFixed(2)} ${it.className}: ${it.textContent.slice(0, 30)}`)
}"""


def shown(page: Page, story: Story, folder: Path, width: int) -> list[str]:
    """Opens the story's page; returns what goes wrong on it, now and later."""
    path = folder / "a new folder" / "demo.html"
    write(story, path)
    problems = problems_of(page)
    page.on("request", lambda it: problems.append(it.url) if it.url != path.as_uri() else None)
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(path.as_uri())
    page.evaluate(OPEN_ALL)
    return problems


@pytest.mark.browser
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", STORIES)
def test_nothing_goes_wrong_and_nothing_is_cut_off(
    page: Page, tmp_path: Path, kind: str, width: int
) -> None:
    problems = shown(page, STORIES[kind](), tmp_path, width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OUTSIDE) == []
    assert [it for it in problems if not it.startswith("data:")] == []
    assert page.get_by_role("heading", level=1).is_visible()


@pytest.mark.browser
@pytest.mark.parametrize("width", WIDTHS)
def test_marks_and_numbers_do_not_cover_each_other(page: Page, tmp_path: Path, width: int) -> None:
    story = good_story()
    crowd = [(BEGAN + 60 + 2 * i, f"mark {i}") for i in range(9)]
    shown(page, replace(story, marks=[*story.marks, *crowd]), tmp_path, width)
    assert page.locator(".mark b").count() == 14
    assert page.evaluate(OVERLAPS, ".mark b, .axis-name") == 0
    assert page.evaluate(OVERLAPS, ".plot em") == 0
    assert page.evaluate(OVERLAPS, ".row > .label, .row > .track, .row > .values span") == 0
    assert page.evaluate(OVERLAPS, "main > header, section, .column > section") == 0


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_by_day_and_by_night(page: Page, tmp_path: Path, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    story = good_story()
    story.sent[7] = replace(story.sent[7], failed="ConnectError: refused")
    story.checks[0] = replace(story.checks[0], seen=False)
    shown(page, story, tmp_path, 1280)
    dark = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0] < 100"
    assert page.evaluate(dark) == (scheme == "dark")
    assert page.evaluate(FAINT) == []
