"""Several releases at once, and rollbacks in the middle of one, on real parts under load."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from release_kit import PRODUCTION, Asked, Place, place, plan
from support import wait_until

from andon.rollout import pause

pytestmark = [pytest.mark.slow]
LONG = 90.0
MODELS = ("churn", "tumor")
SHORT = {"for": 0.3, "min_requests": 20}
HELD = {"for": 120, "min_requests": 20}
MIRROR = {"gate": ["errors", "latency"]}


@pytest.fixture(scope="module")
def here() -> Iterator[Place]:
    with place(versions=3, models=MODELS) as made:
        yield made


def said(run: Any) -> list[str]:
    out, errors = run.communicate(timeout=LONG)
    assert run.returncode == 0, errors
    return json.loads(out)


def test_two_models_are_released_at_once(here):
    with ExitStack() as stack:
        loads = [stack.enter_context(here.load(100, model)) for model in MODELS]
        runs = [here.spawn(Asked("2", model=model, plan=plan())) for model in MODELS]
        assert [said(it)[:2] for it in runs] == [["2", "promoted"]] * 2
        for model in MODELS:
            here.settled(model)
    for load in loads:
        load.check(at_least=int(0.9 * load.rate * load.seconds))


@pytest.mark.parametrize("same", [True, False], ids=["of one version", "of two versions"])
def test_two_processes_release_one_model_and_one_waits_for_the_other(here, same):
    back(here)
    with here.load() as load:
        versions = ["2", "2" if same else "3"]
        runs = [here.spawn(Asked(it, plan=plan())) for it in versions]
        assert sorted(said(it)[:2] for it in runs) == [[it, "promoted"] for it in versions]
        here.settled()
    load.check(at_least=int(0.9 * load.rate * load.seconds))
    found = here.ledger.releases("churn", limit=2)
    if same:
        assert found[0].version == "2"
        assert found[1].version == "1"
    else:
        first, second = found[::-1]
        assert {first.version, second.version} == {"2", "3"}
        assert first.ended_at <= second.started_at or first.ended_at <= second.ended_at
        assert second.rollout.champion.endswith(f"-v{first.version}")


def back(here: Place, version: str = "1") -> None:
    if here.champion() != version:
        here.run(Asked(version, kind="rollback"))
    here.settled()


def pauses(here: Place) -> None:
    assert here.driver().command(PRODUCTION, "churn", partial(pause, reason="wait"))


# How the release of v3 is held in a state, and what that state is told as.
STATES = {
    "mirror": ([{"mirror": 50, **MIRROR, **HELD}, {"weight": 100}], "step 1/2 mirrors 50 %"),
    "a share": ([{"weight": 30, **HELD}, {"weight": 100}], "step 1/2 at 30 %"),
    "paused": ([{"weight": 30, **HELD}, {"weight": 100}], "step 1/2 at 30 %, paused"),
    "approval": (
        [{"weight": 30, **SHORT}, {"approve": "managers"}, {"weight": 100}],
        "step 2/3 waits for managers",
    ),
    "all of it": ([{"weight": 100, **HELD}], "step 1/1 at 100 %"),
}


@pytest.mark.parametrize("state", STATES)
def test_a_rollback_in_the_middle_of_any_state_wins(here, state):
    """v2 serves, v3 is on its way, and v1 is called back by another process."""
    back(here)
    here.run(Asked("2", plan=plan("all_at_once")))
    steps, told = STATES[state]
    with here.load() as load:
        run = here.spawn(Asked("3", plan=plan(steps=steps)))
        if state == "paused":
            wait_until(lambda: here.state() == told.removesuffix(", paused"), LONG, "its share")
            pauses(here)
        wait_until(lambda: here.state() == told, LONG, told)
        began = time.time()
        rollback = here.spawn(Asked("1", kind="rollback"))
        assert said(rollback)[:2] == ["1", "promoted"]
        took = time.time() - began
        assert said(run) == ["3", "rolled_back", "a rollback was asked for"]
        assert here.champion() == "1"
        here.settled()
        seen = len(load.sent())
        wait_until(lambda: len(load.sent()) > seen + 100, LONG, "traffic goes on")
    sent = load.check(at_least=int(0.9 * load.rate * load.seconds))
    assert {it.version for it in sent[-50:]} == {"1"}
    wait_until(lambda: here.process("3") is None, LONG, "the candidate is stopped")
    print(f"a rollback while {told}: {took:.1f} s, a new process included")
