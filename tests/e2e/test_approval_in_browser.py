"""A person approves a release in the Prefect UI, in a real browser."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from browser import page_fixture, screenshot  # noqa: F401
from line_under_test import LONG, LineUnderTest
from support import wait_until
from survival import ask_first

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
    form = page.locator(".p-modal__card")
    form.get_by_text("release-managers").first.wait_for()
    form.locator(".p-toggle__control").first.click()
    form.get_by_role("button", name="Submit").click()
    form.get_by_text("'name' is a required property").wait_for()
    assert line.runs.state(run_id)["name"] == "Suspended", "nobody has answered"

    form.locator("textarea").first.fill("ada")
    form.locator("textarea").nth(1).fill("seen and liked")
    screenshot(page, tmp_path / "approval.png")
    form.get_by_role("button", name="Submit").click()
    page.get_by_text("Completed", exact=True).first.wait_for(timeout=LONG * 1000)
    release = line.ledger.champion("production", MODEL)
    assert release is not None and release.run_id == run_id
    assert release.rollout.phase is Phase.PROMOTED
    (given,) = release.rollout.answers
    assert (given.approved, given.by, given.note) == (True, "ada", "seen and liked")
    assert began <= given.at <= time.time()
