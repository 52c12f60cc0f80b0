"""A person approves a release in the Prefect UI, in a real browser."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from browser import page_fixture, screenshot  # noqa: F401
from line_under_test import LONG, LineUnderTest
from support import wait_until
from survival import ask_first, wait_for

from andon.rollout import Phase

pytestmark = [pytest.mark.slow, pytest.mark.browser]

MODEL = "tumor"


@pytest.mark.timeout(900)
def test_a_release_goes_on_when_its_form_is_filled_in(
    line: LineUnderTest, page: Any, tmp_path: Path
):
    ask_first(line, MODEL)
    run_id = line.runs.start("deliver", {"model": MODEL})
    wait_until(lambda: line.runs.state(run_id)["name"] == "Suspended", LONG, "a person is asked")
    began = time.time()
    page.goto(line.runs.link(run_id))
    page.get_by_text("Suspended", exact=True).first.wait_for()
    page.get_by_role("button", name="Resume").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("release-managers").first.wait_for()
    screenshot(page, tmp_path / "asked.png")
    print(tmp_path, dialog.inner_html())
