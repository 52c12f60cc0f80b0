"""Quality on labels: how often it is wrong, how soon it sees a change, what it says.

Simulations have fixed seeds.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.labels import PATIENCE, Arrived, benchmark, evidence, judged, told
from andon.metrics import METRICS
from andon.spec import QualityMonitor
from andon.verdict import Outcome

BLOCK, WINDOW = 200, 2_000
MONITOR = QualityMonitor(kind="quality", margin=0.05)


def rows(metric: str, n: int, value: float, rng: np.random.Generator):
    """Truth and output of a model whose metric is `value` in the population."""
    y = (rng.random(n) < 0.4).astype(float)
    if metric == "accuracy":
        return y, np.where(rng.random(n) < value, y, 1 - y)
    if metric == "roc_auc":
        return y, rng.normal(size=n) + NormalDist().inv_cdf(value) * np.sqrt(2) * y
    truth = 3 * rng.normal(size=n)
    return truth, truth + value * rng.normal(size=n)


def alarm(metric: str, good: float, bad: float, before: int, after: int, seed: int) -> int | None:
    """Rows until the alarm, looked at after each block."""
    rng, info = np.random.default_rng(seed), METRICS[metric]
    parts = [rows(metric, before, good, rng), rows(metric, after, bad, rng)]
    y, said = (np.concatenate([it[k] for it in parts]) for k in (0, 1))
    worst = good - info.sign * 0.05
    for n in range(BLOCK, len(y) + 1, BLOCK):
        found = evidence(info, y[:n], said[:n], worst=worst, block=BLOCK, most=WINDOW // BLOCK)
        if found >= PATIENCE:
            return n - before
    return None


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc"])
def test_a_model_as_good_as_at_training_is_never_said_to_be_worse(metric):
    """200 looks, each at a new block; the promise is 5 % even at the margin."""
    assert [alarm(metric, 0.85, 0.85, 0, 200 * BLOCK, seed) for seed in range(3)] == [None] * 3


def test_at_the_margin_itself_an_alarm_is_rare():
    """50 times 40 blocks: 1 % are promised at most, 3 of 50 leave room for chance."""
    found = [alarm("accuracy", 0.85, 0.80, 0, 40 * BLOCK, seed) for seed in range(50)]
    assert sum(it is not None for it in found) <= 3


@pytest.mark.parametrize(
    ("metric", "bad", "within"),
    [("accuracy", 0.15, 1), ("accuracy", 0.70, 6), ("roc_auc", 0.15, 3), ("roc_auc", 0.70, 8)],
)
def test_a_change_is_found_however_long_all_was_well(metric, bad, within):
    found = [alarm(metric, 0.85, bad, 4_000, 2_000, seed) for seed in range(5)]
    assert all(it is not None and 0 < it <= within * BLOCK for it in found), found


@given(st.integers(0, BLOCK - 1), st.integers(0, 2**32 - 1))
def test_a_block_that_is_not_full_changes_nothing(more, seed):
    info, rng = METRICS["accuracy"], np.random.default_rng(seed)
    y, said = rows("accuracy", 2 * BLOCK + more, 0.7, rng)
    given_ = {"worst": 0.8, "block": BLOCK, "most": 10}
    whole = evidence(info, y[: 2 * BLOCK], said[: 2 * BLOCK], **given_)
    assert evidence(info, y, said, **given_) == whole


def judge(value: float, n: int, expected: float = 0.85, arrived: Arrived | None = None):
    y, said = rows("accuracy", n, value, np.random.default_rng(1))
    info = METRICS["accuracy"]
    return judged(info, y, said, MONITOR, expected=expected, arrived=arrived or Arrived())


def test_pass_fail_and_what_is_not_yet_beyond_doubt():
    assert judge(0.85, 2_000).outcome is Outcome.PASS
    bad = judge(0.6, 2_000)
    assert bad.outcome is Outcome.FAIL
    assert "beyond doubt" in bad.detail
    assert bad.evidence["detector"] >= PATIENCE
    assert judge(0.6, 199).outcome is Outcome.INCONCLUSIVE
    early = judge(0.74, 400)
    assert early.outcome is Outcome.INCONCLUSIVE
    assert "not yet beyond doubt" in early.detail


def test_only_the_newest_rows_count():
    """It was bad for long, and is good again: with the last bad block the alarm ends."""
    rng, info = np.random.default_rng(2), METRICS["accuracy"]
    old, new = rows("accuracy", 4_000, 0.5, rng), rows("accuracy", WINDOW, 0.85, rng)
    y, said = (np.concatenate([old[k], new[k]]) for k in (0, 1))
    found = judged(info, y, said, MONITOR, expected=0.85, arrived=Arrived())
    assert found.outcome is Outcome.PASS


def test_a_stated_value_is_held_without_a_margin():
    rng, info = np.random.default_rng(3), METRICS["accuracy"]
    y, said = rows("accuracy", 2_000, 0.85, rng)
    assert benchmark(info, y, said, MONITOR, 0.80).outcome is Outcome.PASS
    failed = benchmark(info, y, said, MONITOR, 0.95)
    assert failed.outcome is Outcome.FAIL
    assert "0.9500 stated as benchmark" in failed.detail
    assert benchmark(info, y, said, MONITOR, 0.86).outcome is Outcome.INCONCLUSIVE


def test_how_labels_came_is_told():
    days = tuple(np.linspace(0, 4 * 86_400, 101))
    found = told(Arrived(1_000, 250, 30, days, twice=5, changed=2, unknown=1, skewed=1, corrupt=3))
    assert "25 % of 1,000 predictions have a label, half of them after 2.0 d" in found
    assert "30 labels are of predictions too young to count" in found
    for n, what in ((2, "change an earlier"), (1, "did not give"), (1, "cannot be;"), (3, "read")):
        assert f"{n} labels" in found
        assert what in found + ";"
    assert told(Arrived()) == ""
