"""Calibration: what is well calibrated has no error beyond chance, and what is not has its own."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from andon.calibration import calibration


def world(n: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.beta(2, 3, n) * 0.8 + 0.1
    return (rng.random(n) < p).astype(float), np.clip(p + shift, 0, 1)


def test_bins_are_scikit_learns_with_equally_many_rows():
    y, score = world(3_000, 0)
    shares, means = calibration_curve(y, score, n_bins=15, strategy="quantile")
    found = calibration(y, score, seed=0)
    assert [it.share for it in found.bins] == pytest.approx(shares)
    assert [it.score for it in found.bins] == pytest.approx(means)
    assert sum(it.n for it in found.bins) == 3_000
    assert all(it.share_low < it.share < it.share_high for it in found.bins)


def test_brier_is_reliability_minus_resolution_plus_uncertainty_where_bins_are_scores():
    rng = np.random.default_rng(0)
    score = rng.choice([0.2, 0.5, 0.9], 2_000)
    y = (rng.random(2_000) < score - 0.1).astype(float)
    it = calibration(y, score, seed=0)
    assert it.brier == pytest.approx(it.reliability - it.resolution + it.uncertainty)


@pytest.mark.parametrize("n", [200, 1_000, 5_000])
def test_the_error_is_neither_made_by_chance_nor_lost_in_it(n):
    """Well calibrated: 0 in about half of the cases, whatever n. Shifted by 0.1: 0.1 on average."""
    calm = [calibration(*world(n, seed), seed=0).error.value for seed in range(100)]
    assert np.mean(np.array(calm) == 0) > 0.4
    off = [calibration(*world(n, seed, 0.1), seed=0).error.value for seed in range(100)]
    assert np.sqrt(np.mean(np.square(off))) == pytest.approx(0.1, abs=0.01)


def test_the_interval_of_the_error_holds_the_truth():
    """95 % in theory; 200 trials, and from 88 % on (p < 0.001 for less)."""
    for shift in (0.0, 0.1):
        errors = [calibration(*world(1_000, seed, shift), seed=0).error for seed in range(200)]
        held = np.mean([it.low - 1e-9 <= shift <= it.high + 1e-9 for it in errors])
        assert held >= 0.88


def test_few_rows_or_one_score_are_no_trouble():
    assert calibration(np.ones(39), np.full(39, 0.5), seed=0) is None
    one = calibration(np.arange(100) % 2.0, np.full(100, 0.5), seed=0)
    assert [it.n for it in one.bins] == [100]
    assert one.error.value == 0.0
