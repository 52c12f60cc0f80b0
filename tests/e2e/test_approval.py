"""A person is asked in mid-release: the run goes away, a guard watches, and the answer counts."""

from __future__ import annotations

import itertools
import time
from contextlib import suppress
from functools import partial
from typing import Any

import httpx
import psutil
import pytest
from line_under_test import LONG, LineUnderTest
from support import wait_until
from survival import (
    Steady,
    all_well,
    ask_first,
    hurry,
    kill_program,
    kill_run,
    rewrite,
    visits,
    wait_for,
)

from andon.adapters.ledger import Release, Run
from andon.adapters.local import local_driver
from andon.rollout import Phase, answer
from deployments.platform.up import processes

pytestmark = pytest.mark.slow

MODEL = "tumor"
CODES = itertools.chain(("C=0.5,",), (f"C={0.2 + n / 100:.2f}," for n in itertools.count()))
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
    assert state(line, run_id) == "Suspended", line.runs.state(run_id)["message"]
    release = line.ledger.unfinished(*PLACE)
    assert release is not None and release.run_id == run_id
    return run_id, release


def state(line: LineUnderTest, run_id: str) -> str:
    return str(line.runs.state(run_id)["name"])


def on_ledger(line: LineUnderTest, run_id: str) -> Run:
    (run,) = [it for it in line.ledger.runs(MODEL) if it.id == run_id]
    return run


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
    assert on_ledger(line, run_id).outcome == "waiting"
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
    run = on_ledger(line, run_id)
    assert (run.outcome, run.message) == ("completed", "")


@pytest.mark.timeout(900)
def test_a_no_brings_the_champion_back_and_says_who_and_why(asked):
    line = asked
    champion = line.champion(MODEL)
    run_id, release = set_up(line)
    say(line, run_id, approve=False, name="bob", note="not on a Friday")
    wait_for(line, run_id, "FAILED")
    assert "rejected by bob: not on a Friday" in line.runs.state(run_id)["message"]
    assert line.ledger.release(release.seq).rollout.phase is Phase.ROLLED_BACK
    run = on_ledger(line, run_id)
    assert run.outcome == "stopped"
    assert line.champion(MODEL) == champion


@pytest.mark.timeout(900)
def test_an_answer_by_another_way_ends_the_run_that_asked(asked):
    line = asked
    run_id, release = set_up(line)
    watched(line)
    driver = local_driver(line.settings, line.ledger)
    assert driver.command(*PLACE, partial(answer, approved=True, by="eve"))
    wait_for(line, run_id, "COMPLETED")
    assert line.ledger.release(release.seq).rollout.phase is Phase.PROMOTED


@pytest.mark.timeout(900)
def test_a_candidate_that_dies_while_a_person_is_waited_for_is_rolled_back(asked):
    """And the run that asked says so; it does not wait for ever."""
    line = asked
    champion = line.champion(MODEL)
    with Steady(line, MODEL) as steady:
        run_id, release = set_up(line)
        watched(line)
        wait_until(lambda: harmed(line, release), LONG, "the candidate is dead for good")
        wait_for(line, run_id, "FAILED")
    assert "was rolled back" in line.runs.state(run_id)["message"]
    assert line.ledger.release(release.seq).rollout.phase is Phase.ROLLED_BACK
    assert line.champion(MODEL) == champion
    assert steady.failures == []


def harmed(line: LineUnderTest, release: Release) -> bool:
    """Kill it whenever it is there, until the line has seen it."""
    name = f"serve-production-{MODEL}-v{release.version}"
    for pid in [it.pid for it in processes(line.settings) if it.name == name and it.pid]:
        with suppress(psutil.Error):
            psutil.Process(pid).kill()
    return line.ledger.release(release.seq).rollout.ended


@pytest.mark.timeout(900)
def test_whatever_is_killed_meanwhile_the_approval_still_works(asked):
    """The worker and the guard die: nobody watches, until reconcile finds another guard."""
    line = asked
    run_id, release = set_up(line)
    first = watched(line)
    kill_program(line.settings, "worker")
    wait_until(lambda: all_well(line.settings), LONG, "another worker is there")
    kill_run(line, first)
    line.runs.start("reconcile", {})
    wait_until(lambda: {it["id"] for it in guards(line)} - {first}, LONG, "another guard watches")
    assert state(line, run_id) == "Suspended"
    say(line, run_id, approve=True, name="ada")
    wait_for(line, run_id, "COMPLETED")
    assert line.ledger.release(release.seq).rollout.phase is Phase.PROMOTED


@pytest.mark.timeout(900)
def test_a_guard_that_dies_right_before_the_answer_is_not_missed(asked):
    line = asked
    run_id, release = set_up(line)
    kill_run(line, watched(line))
    say(line, run_id, approve=True, name="ada")
    wait_for(line, run_id, "COMPLETED")
    assert line.ledger.release(release.seq).rollout.phase is Phase.PROMOTED


@pytest.mark.timeout(900)
def test_a_newer_version_waits_for_the_answer_and_is_compared_with_the_one_approved(asked):
    line = asked
    run_id, release = set_up(line)
    next_code(line)
    newer = line.runs.start("deliver", {"model": MODEL})
    wait_until(lambda: is_at(line, newer, "release to production"), LONG, "it waits")
    assert state(line, run_id) == "Suspended"
    say(line, run_id, approve=True, name="ada")
    wait_for(line, run_id, "COMPLETED")
    wait_until(lambda: state(line, newer) in ("Suspended", "Failed"), LONG, "the newer one asks")
    assert state(line, newer) == "Suspended", line.runs.state(newer)["message"]
    judged = [it.station for it in visits(line, newer) if it.station == "evaluate"]
    assert len(judged) == 2, "compared again, with the version that was approved meanwhile"
    say(line, newer, approve=True, name="ada")
    wait_for(line, newer, "COMPLETED")
    last = line.ledger.champion(*PLACE)
    assert last.run_id == newer
    assert last.rollout.champion == f"production-{MODEL}-v{release.version}"
    built = line.ledger.built(newer)
    assert built["evaluated"]["champion"] == release.version


@pytest.mark.timeout(900)
def test_a_newer_version_ends_the_one_that_waits_where_the_plan_says_so(asked):
    line = asked
    ask_first(line, MODEL, newer="supersede")
    run_id, release = set_up(line)
    newer, following = set_up(line)
    wait_for(line, run_id, "FAILED")
    why = f"superseded by version {following.version}"
    assert why in line.runs.state(run_id)["message"]
    assert line.ledger.release(release.seq).rollout.reason == why
    say(line, newer, approve=True, name="ada")
    wait_for(line, newer, "COMPLETED")
    assert line.champion(MODEL) == following.version


@pytest.mark.timeout(900)
def test_a_plan_may_ask_twice_and_a_rollback_without_a_version_leads_to_the_champion(asked):
    line = asked
    champion = line.champion(MODEL)
    two = [{"approve": it, "within": 600} for it in ("developers", "managers")]
    ask_first(line, MODEL, steps=[*two, {"weight": 100, "seconds": 0, "min_requests": 20}])
    run_id, release = set_up(line)
    watched(line)
    say(line, run_id, approve=True, name="ada")
    second = f"approval-{release.seq}-1"
    wait_until(lambda: pause_key(line, run_id) == second, LONG, "the managers are asked")
    assert line.ledger.release(release.seq).rollout.approval.approve == "managers"
    line.andon("rollback", MODEL)
    wait_for(line, run_id, "FAILED")
    assert "a rollback was asked for" in line.runs.state(run_id)["message"]
    assert line.champion(MODEL) == champion


def is_at(line: LineUnderTest, run_id: str, station: str) -> bool:
    return any((it.station, it.state) == (station, "Running") for it in visits(line, run_id))


def pause_key(line: LineUnderTest, run_id: str) -> str | None:
    found = line.runs.state(run_id)
    return found["state_details"]["pause_key"] if found["name"] == "Suspended" else None
