"""The simulation behind the evaluation's table, with fewer trials; and that its page shows it.

Tolerances: a share of 2.5 % is above 7.5 % in 200 trials with a chance of 0.1 % or less, and one of
95 % below 90 % likewise; so is one of 84 % (what the margins are made for) below 75 %.
"""

from __future__ import annotations

import importlib.util
import json
import sys

import pytest
from support import REPOSITORY

_PATH = REPOSITORY / "benchmarks" / "evaluation" / "simulate.py"
_spec = importlib.util.spec_from_file_location("simulate_evaluation", _PATH)
assert _spec is not None
assert _spec.loader is not None
simulate = importlib.util.module_from_spec(_spec)
sys.modules["simulate_evaluation"] = simulate  # its dataclass looks itself up
_spec.loader.exec_module(simulate)

METRICS = ("accuracy", "roc_auc", "rmse", "log_loss")
TRIALS = 200


@pytest.mark.parametrize("metric", METRICS)
def test_a_challenger_is_judged_right_as_often_as_promised(metric):
    n = 300
    at = simulate.margin(metric, n)
    equal, worse, better = (
        simulate.compared(metric, n, TRIALS, it, seed=11) for it in (0.0, -at, at)
    )
    assert equal["better"] <= 0.075
    assert worse["passed"] <= 0.075
    assert equal["passed"] >= 0.75
    assert better["better"] >= 0.75
    assert min(it["covered"] for it in (equal, worse, better)) >= 0.9
    assert simulate.alone(metric, n, TRIALS, seed=12) >= 0.9


def test_the_page_shows_the_results_that_are_kept_and_they_keep_the_promises():
    found = json.loads(simulate.RESULTS.read_text(encoding="utf-8"))
    page = (REPOSITORY / "docs" / "statistics.md").read_text(encoding="utf-8")
    assert "\n".join(simulate.table(found)) in page
    assert found["trials"] >= 1_000
    assert {(it["metric"], it["n"]) for it in found["rows"]} == {
        (metric, n) for metric in METRICS for n in (200, 1_000, 5_000)
    }
    for it in found["rows"]:
        assert it["better_if_equal"] <= 0.05, it
        assert it["passed_if_worse"] <= 0.05, it
        assert it["passed_if_equal"] >= 0.8, it
        assert it["better_if_better"] >= 0.8, it
        assert it["slices_alarm"] is None or it["slices_alarm"] <= 0.065, it  # 5 % and chance
