"""What grows for good is told from what wanders; simulations have fixed seeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.resources import Series, judge
from andon.spec import ResourceMonitor
from andon.trend import FEWEST, trend
from andon.verdict import Outcome

MONITOR = ResourceMonitor()
STEP = 300.0
MB = 2.0**20


def times(n: int) -> np.ndarray:
    return STEP * np.arange(n)


def judged(values: np.ndarray, limit: float = 2_000 * MB) -> Outcome:
    readings = list(zip(times(len(values)).tolist(), values.tolist(), strict=True))
    return judge(Series("memory", readings, limit), MONITOR).outcome


def noisy(n: int, seed: int) -> np.ndarray:
    return 400 * MB + 5 * MB * np.random.default_rng(seed).normal(size=n)


@pytest.mark.parametrize("n", [30, 100, 288])
def test_what_stays_the_same_never_alarms(n):
    """100 series of each kind."""
    for seed in range(100):
        assert judged(noisy(n, seed)) is Outcome.PASS
    assert judged(np.full(n, 400 * MB)) is Outcome.PASS


def test_what_wanders_hardly_ever_alarms():
    """A random walk looks like a trend: 200 of them, of which 5 % may be taken for one."""
    walks = [
        400 * MB + np.cumsum(0.5 * MB * np.random.default_rng(seed).normal(size=288))
        for seed in range(200)
    ]
    assert sum(judged(it) is Outcome.FAIL for it in walks) <= 10


@pytest.mark.parametrize("seed", range(5))
def test_a_leak_that_fills_the_machine_within_a_day_is_found(seed):
    """200 MB an hour, of 1,600 MB that are left."""
    leak = noisy(60, seed) + 200 * MB * times(60) / 3_600
    assert judged(leak) is Outcome.FAIL
    assert judged(leak, limit=100_000 * MB) is Outcome.PASS, "that takes weeks"


def test_what_began_anew_is_not_the_old_one():
    """It leaked, was restarted, and is steady since."""
    old = 400 * MB + 200 * MB * times(60) / 3_600
    assert judged(np.concatenate([old, noisy(40, 1)])) is Outcome.PASS
    young = np.concatenate([old, noisy(FEWEST - 1, 1)])
    assert trend(times(len(young)), young) is None


def test_what_is_nearly_full_fails_without_a_trend():
    assert judged(np.array([1_950 * MB])) is Outcome.FAIL
    assert judged(np.array([500 * MB])) is Outcome.PASS
    assert judge(Series("memory", [], 1.0), MONITOR).outcome is Outcome.INCONCLUSIVE
    assert judge(Series("memory", [(0.0, 1.0)], 0.0), MONITOR).outcome is Outcome.INCONCLUSIVE


def test_the_detail_is_in_words():
    leak = 400 * MB + 200 * MB * times(60) / 3_600
    readings = list(zip(times(60).tolist(), leak.tolist(), strict=True))
    found = judge(Series("memory", readings, 2_000 * MB), MONITOR)
    assert found.detail == "1.4 GB of 2.0 GB; grows, and is used up in 3 hours"
    files = judge(Series("file handles", [(0.0, 40.0)], 1_024, "files"), MONITOR)
    assert files.detail == "40 files of 1,024 files; 1 readings, a trend takes 24"


@given(st.floats(0.5, 1e6), st.integers(FEWEST, 120), st.integers(0, 2**32 - 1))
def test_the_slope_is_that_of_a_line(slope, n, seed):
    at = times(n)
    found = trend(at, 1e9 + slope * at)
    assert found is not None
    assert found.slope == pytest.approx(slope, rel=1e-6)
    assert found.low <= found.slope * (1 + 1e-9) and found.slope <= found.high * (1 + 1e-9)
    assert found.grows
