"""Columns that no longer go together, each alone being as it was. Fixed seeds."""

from __future__ import annotations

import numpy as np

from andon.joint import CHECK, apart, together
from andon.verdict import Outcome

LIMITS = {"floor": 0.55, "alpha": 0.01, "min_rows": 500, "need": 2}


def rows(n: int, seed: int, goes_with: float = 0.6) -> np.ndarray:
    """6 columns, of which the second goes with the first; all are normal, some are null."""
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(n, 6))
    found[:, 1] = goes_with * found[:, 0] + np.sqrt(1 - goes_with**2) * found[:, 1]
    found[rng.random(n) < 0.02, 3] = np.nan
    return found


TRAINING = rows(2_000, 1)


def test_the_same_is_not_told_apart():
    """8 windows; by chance one in a hundred has p under 0.01, and none an AUC of 0.55."""
    found = [apart(TRAINING, rows(1_500, seed)) for seed in range(10, 18)]
    assert all(it.auc < 0.55 or it.p > 0.01 for it in found)


def test_columns_that_no_longer_go_together_are():
    new = rows(1_500, 2, 0.0)
    found = apart(TRAINING, new)
    assert found.auc > 0.55
    assert found.p < 1e-6
    verdict = together(TRAINING, [new, rows(1_500, 3, 0.0)], **LIMITS)
    assert (verdict.check, verdict.outcome) == (CHECK, Outcome.FAIL)


def test_it_has_to_last_and_needs_rows():
    new, old = rows(1_500, 2, 0.0), rows(1_500, 3)
    assert together(TRAINING, [new, old], **LIMITS).outcome is Outcome.INCONCLUSIVE
    assert together(TRAINING, [old, new], **LIMITS).outcome is Outcome.PASS
    assert together(TRAINING, [rows(499, 2)], **LIMITS).outcome is Outcome.INCONCLUSIVE
    assert together(TRAINING, [], **LIMITS).outcome is Outcome.INCONCLUSIVE


def test_the_same_rows_give_the_same_answer():
    assert apart(TRAINING, rows(700, 5)) == apart(TRAINING, rows(700, 5))
