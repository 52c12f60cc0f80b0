"""The server's page in a real browser: try it, see what is wrong, say what was true."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from server_kit import Author, Server, author, lines, start

sys.path.append(str(Path(__file__).parents[1] / "e2e"))
from browser import page_fixture, problems_of  # noqa: F401 - tests ask for `page`

pytestmark = pytest.mark.browser
OUTSIDE = """() => [...document.querySelectorAll('body *')]
  .filter(it => it.getBoundingClientRect().right > innerWidth + 1 && !it.closest('pre'))
  .map(it => it.tagName + ' ' + it.textContent.slice(0, 40))"""


@pytest.fixture(scope="module")
def churn() -> Author:
    return author("linear")


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def server(churn, logs, tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("bundle")
    churn.write(folder)
    with start(folder, logs) as it:
        yield it


def result(page: Page, selector: str) -> str:
    return page.locator(f"#result {selector}").first.inner_text()


@pytest.mark.parametrize("path", ["/docs", "/"])
def test_the_sample_is_tried_and_told_to_be_true(page, server, churn, logs, path):
    problems = problems_of(page)
    page.goto(server.url + path)
    expect(page.get_by_role("heading", level=1)).to_have_text("churn v3")
    page.get_by_role("button", name="Try it").click()
    page.wait_for_selector("#result .answer")
    scores = churn.expected[0]
    assert result(page, ".answer") == ("yes" if scores[1] > scores[0] else "no")
    shown = page.locator("#result .bars").first.locator(".number").all_inner_texts()
    assert [float(it) for it in shown] == pytest.approx(list(scores), rel=1e-4)
    expect(page.get_by_text("What counted most")).to_be_visible()
    before = len(lines(logs / "feedback"))
    page.get_by_label("What was true").select_option("no")
    page.get_by_role("button", name="This was true").click()
    expect(page.get_by_text("written down")).to_be_visible()
    assert [line["label"] for line in lines(logs / "feedback")[before:]] == ["no"]
    assert problems == []


@pytest.mark.parametrize("path", ["/production/olddocs/", "/production/olddocs/docs"])
def test_it_works_behind_a_gateways_prefix(page, server, path):
    prefix = "/production/olddocs"
    page.route(f"**{prefix}/**", lambda it: it.continue_(url=it.request.url.replace(prefix, "", 1)))
    problems = problems_of(page)
    page.goto(server.url + path)
    page.get_by_role("button", name="Try it").click()
    page.wait_for_selector("#result .answer")
    page.get_by_text("The same by curl").click()
    expect(page.get_by_text(f"{server.url}{prefix}/predict?explain=")).to_be_visible()
    assert problems == []


def test_a_mistake_is_told_at_its_field(page, server):
    page.goto(f"{server.url}/docs")
    field = page.get_by_label("visits")
    field.fill("many")
    page.get_by_role("button", name="Try it").click()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#field-1-wrong")).to_contain_text("a whole number")
    field.fill("3")
    page.get_by_role("button", name="Try it").click()
    page.wait_for_selector("#result .answer")
    expect(field).not_to_have_attribute("aria-invalid", "true")


def test_an_unknown_category_that_the_pipeline_refuses_is_told(page, server):
    page.goto(f"{server.url}/docs")
    page.get_by_label("region").fill("<b>nowhere</b>")
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("#result .wrong").first).to_contain_text("<b>nowhere</b>")


def test_nothing_is_not_told_as_a_true_value_of_zero(page, tmp_path):
    author("regression").write(tmp_path / "bundle")
    with start(tmp_path / "bundle", tmp_path) as server:
        page.goto(f"{server.url}/docs")
        page.get_by_role("button", name="Try it").click()
        page.wait_for_selector("#result .answer")
        page.get_by_role("button", name="This was true").click()
        expect(page.get_by_role("status")).to_contain_text("found null")
        page.get_by_label("What was true").fill("2.5")
        page.get_by_role("button", name="This was true").click()
        expect(page.get_by_role("status")).to_contain_text("written down")
    assert [line["label"] for line in lines(tmp_path / "feedback")] == [2.5]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_is_readable_on_a_phone_and_on_a_desktop(page, server, width, scheme, tmp_path):
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{server.url}/docs")
    page.get_by_role("button", name="Try it").click()
    page.wait_for_selector("#result .answer")
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert page.evaluate(OUTSIDE) == []
    lines_of_text = "Math.min(...[...document.querySelectorAll('td')].map(it => it.clientWidth))"
    assert page.evaluate(lines_of_text) > 100  # no column of single letters
