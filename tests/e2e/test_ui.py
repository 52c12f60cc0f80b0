"""What a person does in the Prefect UI, in a real browser."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from browser import page_fixture  # noqa: F401
from line_under_test import LineUnderTest

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def _newest_run(line: LineUnderTest, deployment: str) -> str:
    body = {
        "sort": "START_TIME_DESC", "limit": 1, "deployments": {"id": {"any_": [deployment]}},
    }  # fmt: skip
    url = f"{line.settings.prefect_api_url}/flow_runs/filter"
    return httpx.post(url, json=body, timeout=30).raise_for_status().json()[0]["id"]


@pytest.mark.timeout(400)
def test_a_model_is_delivered_from_the_form_and_the_run_tells_what_happened(
    line: LineUnderTest, page: Any
):
    ui = f"http://127.0.0.1:{line.settings.prefect_port}"
    api = line.settings.prefect_api_url
    found = httpx.get(f"{api}/deployments/name/deliver/deliver", timeout=30).raise_for_status()
    deployment = found.json()["id"]
    page.goto(f"{ui}/deployments/deployment/{deployment}/run")
    page.locator("textarea").first.fill("tumor")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**tab=Runs**")
    page.goto(f"{ui}/runs/flow-run/{_newest_run(line, deployment)}")
    page.get_by_text("Completed", exact=True).first.wait_for(timeout=240_000)
    assert line.champion("tumor") is not None

    page.get_by_text("Artifacts", exact=True).click()
    for what in ("validation", "metrics", "evaluation", "release-production", "delivery"):
        page.get_by_text(f"tumor-{what}", exact=True).first.wait_for()


def test_a_model_that_cannot_be_one_is_refused_by_the_form(line: LineUnderTest, page: Any):
    ui = f"http://127.0.0.1:{line.settings.prefect_port}"
    url = f"{line.settings.prefect_api_url}/deployments/name/deliver/deliver"
    deployment = httpx.get(url, timeout=30).raise_for_status().json()["id"]
    page.goto(f"{ui}/deployments/deployment/{deployment}/run")
    page.locator("textarea").first.fill("Not A Model!")
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("does not match").or_(page.get_by_text("Validation failed")).first.wait_for()
