"""The process that drives a release is killed -9, on real parts, under load: another finishes."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from functools import partial

import pytest
from open_load import OpenLoad
from release_kit import PRODUCTION, Asked, Place, place, plan
from support import wait_until

from andon.adapters.driver import driven
from andon.rollout import abort, answer, pause, proceed

pytestmark = [pytest.mark.slow]
LONG = 90.0
SHORT = {"for": 0.3, "min_requests": 20}
ASKS = [{"weight": 20, **SHORT}, {"approve": "managers"}, {"weight": 100, **SHORT}]


@pytest.fixture(scope="module")
def here() -> Iterator[Place]:
    with place(versions=2) as made:
        yield made


@pytest.fixture(scope="module")
def load(here) -> Iterator[OpenLoad]:
    """One load through all that is done to the place here."""
    with here.load() as running:
        yield running
    running.check(at_least=int(0.9 * running.rate * running.seconds))


@pytest.fixture
def start(here, load) -> Iterator[str]:
    """v1 serves; no request has failed when the test ends, nor right after it."""
    if here.champion() != "1":
        here.run(Asked("1", kind="rollback"))
    here.settled()
    yield f"run-{time.monotonic_ns()}"
    seen = len(load.sent())
    wait_until(lambda: len(load.sent()) > seen + 50, LONG, "traffic goes on")
    assert not load.failures()


def killed(here: Place, asked: Asked) -> None:
    """Run it until it kills itself."""
    run = here.spawn(asked)
    run.communicate(timeout=LONG)
    assert run.returncode == -signal.SIGKILL


def end(here: Place, asked: Asked) -> list[str]:
    """The same run, as another process."""
    run = here.spawn(asked)
    said, _ = run.communicate(timeout=LONG)
    assert run.returncode == 0
    return json.loads(said)


MOMENTS = {
    "before anything is started": ("starting", "start"),
    "the first share is written down, not routed": ("step 1/3", "apply"),
    "the first share is routed": ("step 1/3", "traffic"),
    "the second is written down, not routed": ("step 2/3", "apply"),
    "in the second": ("step 2/3", "traffic"),
    "the last is written down, not routed": ("step 3/3", "apply"),
    "in the last": ("step 3/3", "traffic"),
    "promoted, not routed": ("promoted", "apply"),
    "promoted, the one before not stopped": ("promoted", "names"),
    "promoted, the one before is being stopped": ("promoted", "stop"),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_canary_killed_at_any_state_is_finished_by_its_next_run(here, start, moment):
    asked = Asked("2", run_id=start)
    killed(here, Asked("2", run_id=start, kill=MOMENTS[moment]))
    version, phase, reason = end(here, asked)
    assert (version, phase) == ("2", "promoted"), reason
    assert here.champion() == "2"
    here.settled()
    assert here.process("1") is None


@pytest.mark.parametrize("call", ["apply", "stop"])
def test_a_rollback_killed_after_it_was_written_down_is_done_by_the_next_run(here, start, call):
    with here.fault("2", "500"):
        asked = Asked("2", run_id=start)
        killed(here, Asked("2", run_id=start, kill=("rolled back", call)))
        version, phase, _ = end(here, asked)
    assert (version, phase) == ("2", "rolled_back")
    assert here.champion() == "1"
    here.settled()
    assert here.process("2") is None


@pytest.mark.parametrize(
    "moment", [("starting", "start"), ("step 1/1", "apply"), ("promoted", "stop")]
)
def test_a_rollback_to_an_older_version_that_is_killed_is_done_by_the_next(here, start, moment):
    here.run(Asked("2", plan=plan("all_at_once", keep_warm=60)))
    killed(here, Asked("1", run_id=start, kind="rollback", kill=moment))
    assert end(here, Asked("1", run_id=start, kind="rollback"))[:2] == ["1", "promoted"]
    here.settled()


def says(here: Place, change) -> None:
    assert here.driver().command(PRODUCTION, "churn", change) is not None


def test_killed_while_paused_it_stays_paused_until_somebody_says_to_go_on(here, start):
    asked = Asked("2", run_id=start, plan=plan(steps=[{"weight": 20, "for": 60}, ASKS[-1]]))
    run = here.spawn(asked)
    wait_until(lambda: here.state().startswith("step 1/2"), LONG, "the first step")
    says(here, partial(pause, reason="wait"))
    wait_until(lambda: here.state().endswith("paused"), LONG, "it pauses")
    run.kill()
    run.communicate()
    again = here.spawn(Asked(kind="carry_on"))
    wait_until(lambda: driven(here.ledger, PRODUCTION, "churn"), LONG, "another drives")
    # It was written down, and perhaps not routed yet, when the first one was killed.
    wait_until(lambda: here.weights() == {"1": 80, "2": 20}, LONG, "the split is there")
    assert here.state().endswith("paused")
    says(here, partial(proceed, reason="go on"))
    says(here, partial(abort, reason="enough"))
    assert json.loads(again.communicate(timeout=LONG)[0]) == ["2", "rolled_back", "enough"]
    here.settled()


@pytest.mark.parametrize("approved", [True, False])
def test_killed_while_a_person_is_waited_for_the_answer_still_counts(here, start, approved):
    asked = Asked("2", run_id=start, plan=plan(steps=ASKS))
    run = here.spawn(asked)
    wait_until(lambda: "waits for managers" in here.state(), LONG, "it asks")
    run.kill()
    run.communicate()
    assert here.weights() == {"1": 80, "2": 20}
    says(here, partial(answer, approved=approved, by="ada"))  # nobody drives meanwhile
    version, phase, reason = end(here, Asked(kind="carry_on") if approved else asked)
    assert (version, phase) == ("2", "promoted" if approved else "rolled_back"), reason
    here.settled()
