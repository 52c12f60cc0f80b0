"""The simulation behind the table of the gates, with fewer rollouts; and that the page shows it.

Tolerance: of 20 rollouts that may fail in 5 % of cases, 5 or more do with a chance of 0.3 %.
"""

from __future__ import annotations

import importlib.util
import json
import sys

import pytest
from support import REPOSITORY

from andon.spec import Step

_PATH = REPOSITORY / "benchmarks" / "release" / "simulate.py"
_spec = importlib.util.spec_from_file_location("simulate_release", _PATH)
assert _spec is not None
assert _spec.loader is not None
simulate = importlib.util.module_from_spec(_spec)
sys.modules["simulate_release"] = simulate  # its dataclasses look themselves up
_spec.loader.exec_module(simulate)

ROLLOUTS = 20
STEPS = (Step(weight=25), Step(weight=50))
Acts, Case = simulate.Acts, simulate.Case


def test_a_candidate_that_is_as_good_is_hardly_ever_rolled_back():
    found = simulate.row(Case("as good", steps=STEPS, looks=15), ROLLOUTS, seed=101)
    assert found["rolled_back"] < 5 / ROLLOUTS


@pytest.mark.parametrize(
    ("case", "check"),
    [
        (Case("errors", candidate=Acts(0.2), steps=STEPS), "errors against champion"),
        (Case("slow", candidate=Acts(slower=4.0), steps=STEPS), "latency against champion"),
        (
            Case("slice", limits=simulate.BOUND, steps=simulate.SHADOW, worst=0.5),
            "disagreement in a slice",
        ),
    ],
)
def test_a_bad_candidate_is_rolled_back_by_the_check_that_is_about_it(case, check):
    found = simulate.row(case, 5, seed=102)
    assert found["rolled_back"] == 1.0
    assert check in found["checks"]


def test_the_page_shows_the_results_that_are_kept_and_they_keep_the_promises():
    found = json.loads(simulate.RESULTS.read_text(encoding="utf-8"))
    assert "\n".join(simulate.table(found)) in simulate.PAGE.read_text(encoding="utf-8")
    assert found["rollouts"] >= 1_000
    rows = found["rows"]
    assert [it["name"] for it in rows] == [it.name for it in simulate.CASES]
    fair = len(simulate.IDENTICAL) + 3
    for it in rows[:fair]:
        assert it["rolled_back"] <= 0.05, it
    caught = {it["name"]: it["rolled_back"] for it in rows[fair:]}
    assert caught["errors 1 % → 2 %, half and half"] >= 0.95
    assert caught["mean score 0.3 → 0.5, limit 0.1"] >= 0.95
    assert caught["4 times as slow"] >= 0.95
