"""A candidate that goes wrong in mid-canary, under load, is rolled back, and no client sees it."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from release_kit import GENEROUS, Asked, Place, place, plan
from support import wait_until

pytestmark = [pytest.mark.slow]
LONG = 40.0
# Long enough that whatever ends it is no step that has passed.
STEPS = [{"weight": 30, "for": "120s", "min_requests": 100}, {"weight": 100}]


@pytest.fixture(scope="module")
def here() -> Iterator[Place]:
    with place(versions=2) as made:
        yield made


@contextmanager
def signalled(here: Place, number: int, again: bool = False) -> Iterator[None]:
    """The candidate gets a signal: once, or each new process of it as soon as there is one."""
    ended = threading.Event()

    def send() -> None:
        while not ended.wait(0.1):
            here.signal("2", number)

    assert here.signal("2", number)
    thread = threading.Thread(target=send) if again else None
    if thread:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if thread:
            thread.join()


FAULTS = {
    "killed again and again": lambda here: signalled(here, signal.SIGKILL, again=True),
    "stopped": lambda here: signalled(here, signal.SIGSTOP),
    "answers 500": lambda here: here.fault("2", "500"),
    "takes 2.5 s": lambda here: here.fault("2", "slow 2.5"),
    "takes 1.5 s": lambda here: here.fault("2", "slow 1.5"),
    "leaks memory": lambda here: here.fault("2", "leak 0.5"),
    "answers NaN": lambda here: here.fault("2", "nan"),
    "answers other labels": lambda here: here.fault("2", "labels"),
}
# Beyond what the machine's other work does to a good candidate; the rest is as in any plan.
LIMITS = {**GENEROUS, "p95_ms": 1_000.0, "shift": 0.2, "memory_ratio": 3.0, "memory_growth": 0.5}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_candidate_that_goes_wrong_is_rolled_back_and_no_client_sees_it(here, fault):
    asked = Asked("2", plan=plan(steps=STEPS, on_inconclusive="abort"), limits=LIMITS)
    with here.load() as load:
        run = here.spawn(asked)
        try:
            wait_until(lambda: here.weights() == {"1": 70, "2": 30}, LONG, "the split")
            wait_until(lambda: answered(load.sent()[-200:], "2") > 20, LONG, "its share")
            began = time.time()
            with FAULTS[fault](here):
                wait_until(lambda: not here.weights(), LONG, f"rolled back: it {fault}")
                switched = time.time() - began
                version, phase, reason = json.loads(run.communicate(timeout=LONG)[0])
        finally:
            run.kill()
            run.wait()
        assert (version, phase) == ("2", "rolled_back"), reason
        after = len(load.sent())
        wait_until(lambda: len(load.sent()) > after + 200, LONG, "traffic goes on")
    sent = load.check(at_least=int(0.9 * load.rate * load.seconds))
    assert {it.version for it in sent[-150:]} == {"1"}
    assert here.champion() == "1"
    here.settled()
    wait_until(lambda: here.process("2") is None, LONG, "the candidate is stopped")
    print(f"it {fault}: switched back {switched:.1f} s after: {reason[:160]!r}")


def answered(sent, version: str) -> int:
    return sum(it.version == version for it in sent)
