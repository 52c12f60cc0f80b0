"""A person is asked in mid-release: the run goes away, a guard watches, and the answer counts."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from line_under_test import LONG, LineUnderTest
from support import wait_until
from survival import ask_first, hurry, kill_program, kill_run, rewrite, wait_for

from andon.adapters.ledger import Release
from andon.rollout import Phase

pytestmark = pytest.mark.slow

MODEL = "tumor"
CODES = iter([f"C={it}," for it in (0.5, 0.25, 0.3, 0.35, 0.4, 0.45, 0.55, 0.6)])
PLACE = "production", MODEL


@pytest.fixture(scope="module")
def asked(line: LineUnderTest) -> LineUnderTest:
    """Version 1 serves; from now on a person decides."""
    hurry(line, MODEL)
    next_code(line)
    line.andon("deliver", MODEL)
    ask_first(line, MODEL)
    return line


_CODE = ["C=0.5,"]


def next_code(line: LineUnderTest) -> None:
    """Another build."""
    new = next(CODES)
    if new != _CODE[0]:
        rewrite(line, MODEL, _CODE[0], new)
    _CODE[0] = new


def set_up(line: LineUnderTest) -> tuple[str, Release]:
    """A new version comes as far as the question: its run, and its release."""
    next_code(line)
    run_id = line.runs.start("deliver", {"model": MODEL})
    wait_until(lambda: state(line, run_id) in ("Suspended", "Failed"), LONG, "a person is asked")
    assert state(line, run_id) == "Suspended", line.runs.state(run_id)
    release = line.ledger.unfinished(*PLACE)
    assert release is not None and release.run_id == run_id
    return run_id, release


def state(line: LineUnderTest, run_id: str) -> str:
    return str(line.runs.state(run_id)["name"])


def say(line: LineUnderTest, run_id: str, **form: Any) -> dict[str, Any]:
    """What the form of the Prefect UI sends."""
    url = f"{line.settings.prefect_api_url}/flow_runs/{run_id}/resume"
    answer = httpx.post(url, json={"run_input": form}, timeout=30, trust_env=False)
    return dict(answer.raise_for_status().json())


def guards(line: LineUnderTest) -> list[dict[str, Any]]:
    """Runs of guard, the newest first."""
    body = {"flows": {"name": {"any_": ["guard"]}}, "sort": "START_TIME_DESC"}
    url = f"{line.settings.prefect_api_url}/flow_runs/filter"
    found = httpx.post(url, json=body, timeout=30, trust_env=False).raise_for_status().json()
    return [it for it in found if it["state_type"] == "RUNNING"]


def watched(line: LineUnderTest) -> str:
    """The guard's run, once there is one."""
    wait_until(lambda: guards(line), LONG, "a guard watches")
    return str(guards(line)[0]["id"])


@pytest.mark.timeout(900)
def test_an_answer_needs_a_yes_or_no_and_a_name_and_lets_the_release_go_on(asked):
    line = asked
    run_id, release = set_up(line)
    assert [it for it in line.ledger.runs(MODEL) if it.id == run_id][0].outcome == "waiting"
    for form in ({}, {"approve": True}, {"name": "ada"}, {"approve": True, "name": " "}):
        assert say(line, run_id, **form)["status"] == "REJECT", form
    began = time.time()
    assert say(line, run_id, approve=True, name="ada", note="looks good")["status"] == "ACCEPT"
    wait_for(line, run_id, "COMPLETED")
    found = line.ledger.release(release.seq)
    assert (found.rollout.phase, found.run_id) == (Phase.PROMOTED, run_id)
    (given,) = found.rollout.answers
    assert (given.approved, given.by, given.note) == (True, "ada", "looks good")
    assert began <= given.at <= time.time()
    told = [it.what for it in line.ledger.transitions(release.seq)]
    assert "step 3/3 at 100 %: approved by ada: looks good" in told
    assert line.champion(MODEL) == release.version
    (run,) = [it for it in line.ledger.runs(MODEL) if it.id == run_id]
    assert (run.outcome, run.message) == ("completed", "")
