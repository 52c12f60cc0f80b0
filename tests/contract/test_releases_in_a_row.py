"""Release after release, and rollback after rollback, on real parts, under a steady load."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

import pytest
from open_load import Sent
from release_kit import Asked, Place, place, plan

from andon.rollout import Phase

pytestmark = [pytest.mark.slow]
TIMES, RATE = 20, 220.0


@pytest.fixture(scope="module")
def here() -> Iterator[Place]:
    with place(versions=4) as made:
        yield made


def following(here: Place) -> str:
    """A version that does not serve."""
    return str(int(here.champion()) % 4 + 1)


@pytest.mark.parametrize("strategy", ["canary", "blue_green", "all_at_once", "shadow_only"])
def test_twenty_releases_in_a_row_and_no_request_fails(here, strategy):
    began = time.time()
    with here.load(RATE) as load:
        for n in range(TIMES):
            before = here.champion()
            version = following(here)
            # Every other one keeps its predecessor warm.
            release = here.run(Asked(version, plan=plan(strategy, keep_warm=60 * (n % 2))))
            shadow = strategy == "shadow_only"
            phase = Phase.SHADOWED if shadow else Phase.PROMOTED
            assert release.rollout.phase is phase, release.rollout.reason
            assert here.champion() == (before if shadow else version)
            here.settled()
    took = time.time() - began
    sent = load.check(at_least=int(0.9 * RATE * load.seconds))
    print(f"{TIMES} x {strategy}: {took:.0f} s, {len(sent)} requests, 0 failed")


@pytest.mark.parametrize("kept", ["warm", "cold"])
def test_rollbacks_in_a_row_and_no_request_fails(here, kept):
    """There by a release that keeps the one before warm or not, and back again."""
    switched = []
    with here.load(RATE) as load:
        for _ in range(TIMES // 2):
            before, version = here.champion(), following(here)
            here.run(Asked(version, plan=plan("all_at_once", keep_warm=60 * (kept == "warm"))))
            assert (here.process(before) is not None) == (kept == "warm")
            began = time.time()
            release = here.run(Asked(before, kind="rollback"))
            assert release.rollout.phase is Phase.PROMOTED
            assert here.champion() == before
            here.settled()
            switched.append(switch_seconds(load.sent(), version, began))
    load.check(at_least=int(0.9 * RATE * load.seconds))
    tell(f"{len(switched)} rollbacks to a {kept} version", switched)


def switch_seconds(sent: list[Sent], left: str, began: float) -> float:
    """From the order to the last request that the version which is left still took."""
    return max(it.at for it in sent if it.version == left) - began


def tell(what: str, seconds: list[float]) -> None:
    """For the docs; no test depends on the machine's speed."""
    print(f"{what}: median {median(seconds):.2f} s, longest {max(seconds):.2f} s")
