"""Intervals and p values of two models on the same rows, against slow references."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from andon.errors import LineError
from andon.metrics import METRICS, MetricInfo
from andon.paired import Tango, delong, gain, level, mcnemar, more_rows, wilson
from andon.resampling import Normal, Resampled, of_means, of_rows
from andon.scorers import named

RNG = np.random.default_rng(0)


def scores(n: int, seed: int = 0, rounded: int = 9) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    shared = rng.normal(size=n)
    one, two = (np.round(y + shared + rng.normal(0, 0.5, n), rounded) for _ in range(2))
    return y, one, two


def slow_delong(y: np.ndarray, one: np.ndarray, two: np.ndarray) -> tuple[float, float]:
    """DeLong, DeLong & Clarke-Pearson 1988, equations 3 to 5, pair by pair."""
    kernels = []
    for score in (one, two):
        x, z = score[y == 1][:, None], score[y == 0][None, :]
        kernels.append((x > z) + 0.5 * (x == z))
    v10 = np.array([it.mean(axis=1) for it in kernels])
    v01 = np.array([it.mean(axis=0) for it in kernels])
    covariance = np.cov(v10) / v10.shape[1] + np.cov(v01) / v01.shape[1]
    contrast = np.array([-1.0, 1.0])
    aucs = [it.mean() for it in kernels]
    return aucs[1] - aucs[0], float(np.sqrt(contrast @ covariance @ contrast))


@pytest.mark.parametrize("rounded", [9, 1, 0])
@pytest.mark.parametrize("n", [30, 301])
def test_delong_is_the_slow_one_also_with_ties(n, rounded):
    y, one, two = scores(n, seed=n, rounded=rounded)
    law = delong(y.astype(bool), one, two)
    assert isinstance(law, Normal)
    assert (law.value, law.error) == pytest.approx(slow_delong(y, one, two), abs=1e-12)


def test_delong_agrees_with_the_bootstrap():
    y, one, two = scores(500)
    of = METRICS["roc_auc"].of
    drawn = of_rows(500, lambda rows: of(y[rows], two[rows]) - of(y[rows], one[rows]), seed=0)
    fast = delong(y.astype(bool), one, two)
    assert fast.interval() == pytest.approx(drawn.interval(), abs=0.004)
    assert fast.at_most(0.01) == pytest.approx(drawn.at_most(0.01), abs=0.03)


def test_models_that_rank_alike_are_equal_and_perfect_ones_are_only_as_sure_as_there_are_rows():
    y, one, _ = scores(200)
    assert delong(y.astype(bool), one, np.exp(one)).interval() == (0.0, 0.0)
    perfect = [y + RNG.random(200) / 2 for _ in range(2)]
    low, high = delong(y.astype(bool), *perfect).interval()
    fewest = min(np.bincount(y))
    assert (low, high) == (
        pytest.approx(-(1 - 0.025 ** (1 / fewest))), pytest.approx(1 - 0.025 ** (1 / fewest)),
    )  # fmt: skip
    assert delong(np.ones(50, bool), one[:50], one[:50]) is None


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_exact_binomial_test(won, lost):
    expected = binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert mcnemar(won, lost) == pytest.approx(expected)


@given(st.integers(30, 300), st.integers(0, 15), st.integers(0, 15))
def test_tangos_p_value_is_where_its_interval_ends(n, won, lost):
    law = Tango(n, won, lost)
    low, high = law.interval()
    assert law.at_most(low) == pytest.approx(0.025, abs=1e-4)
    assert law.at_most(high) == pytest.approx(0.975, abs=1e-4)


@pytest.mark.parametrize(("bias", "skew"), [(0.0, 0.0), (0.1, 0.0), (-0.1, 0.05)])
def test_the_p_value_of_resamples_is_where_their_interval_ends(bias, skew):
    law = Resampled(np.sort(RNG.normal(size=20_000)), bias, skew)
    low, high = law.interval()
    assert law.at_most(low) == pytest.approx(0.025, abs=2e-3)
    assert law.at_most(high) == pytest.approx(0.975, abs=2e-3)


def test_p_values_go_on_beyond_the_draws():
    law = Resampled(np.sort(np.random.default_rng(0).normal(size=200)))
    assert law.at_most(-6.0) == pytest.approx(norm.cdf(-6.0), rel=20)
    assert law.at_most(-6.0) < 1e-6 < law.at_most(-3.0) < law.at_most(-1.0)
    assert 1 - law.at_most(6.0) < 1e-6


def test_a_mean_has_the_interval_that_the_books_give_and_a_skewed_one_leans():
    x = RNG.normal(size=(400, 1))
    low, high = of_means(x, lambda m: m[..., 0], seed=0).interval()
    half = 1.96 * x.std(ddof=1) / 20
    assert (low, high) == (
        pytest.approx(x.mean() - half, abs=0.02), pytest.approx(x.mean() + half, abs=0.02),
    )  # fmt: skip
    skewed = RNG.exponential(size=(60, 1)) ** 2
    low, high = of_means(skewed, lambda m: m[..., 0], seed=0).interval()
    assert high - skewed.mean() > 1.2 * (skewed.mean() - low)


def test_many_rows_have_the_normal_law_and_it_is_the_same():
    x = RNG.exponential(size=(25_000, 1))
    fast = of_means(x, lambda m: np.sqrt(m[..., 0]), seed=0)
    assert isinstance(fast, Normal)
    slow = of_rows(25_000, lambda rows: float(np.sqrt(x[rows].mean())), 0, 500)
    assert fast.error == pytest.approx(slow.draws.std(), rel=0.15)
    few = of_means(x[:2_500], lambda m: m[..., 0], seed=0)
    assert isinstance(few, Normal)
    assert isinstance(of_means(x[:2_500] ** 4, lambda m: m[..., 0], seed=0), Resampled)


def test_resamples_of_very_many_rows_are_smaller_and_scaled():
    x = RNG.normal(size=200_000)
    low, high = of_rows(200_000, lambda rows: float(x[rows].mean()), 0, 200).interval()
    assert high - low == pytest.approx(2 * 1.96 / np.sqrt(200_000), rel=0.25)
    assert low < x.mean() < high


def test_a_metric_that_raises_on_half_of_the_resamples_has_no_interval():
    def of(y, said):
        if y.sum() != 10:
            raise LineError("metrics.py:3: too few")
        return float(y.mean())

    info = MetricInfo(frozenset({"binary"}), True, "probability", of, "metrics.py:own")
    y = np.zeros(100)
    y[:10] = 1
    assert gain(info, y, y, y, seed=0) is None
    mean = dataclasses.replace(info, of=lambda y, said: float(said.mean()))
    found = gain(mean, y, y, y, seed=0)
    assert (found.value, found.equal_p) == (0.0, 1.0)


def test_labels_that_never_differ_leave_room_for_those_not_seen():
    """Of 100 rows without a difference up to 3 in 100 may differ: no proof of a margin of 1 %."""
    y = np.arange(100) % 2.0
    said = np.where(np.arange(100) % 7 == 0, 1 - y, y)
    found = gain(named("f1", "binary"), y, said, said, seed=0)
    low, high = found.law.interval()
    assert low < -0.02
    assert high > 0.02


@given(st.integers(1, 200), st.integers(0, 200))
def test_wilsons_interval_is_where_the_score_test_says_so(n, k):
    k = min(k, n)
    for edge in wilson(k, n):
        if 1e-9 < edge < 1 - 1e-9:
            assert abs(k / n - edge) / np.sqrt(edge * (1 - edge) / n) == pytest.approx(1.96, 1e-3)


@pytest.mark.parametrize("metric", METRICS)
def test_one_models_interval_holds_its_value_and_shrinks_with_rows(metric):
    info = METRICS[metric]
    y, one, _ = scores(2_000, seed=3)
    if info.uses == "probability":
        one = norm.cdf(one)
    truth, said = (y, (one > 0.5) * 1.0) if info.uses == "label" else (y.astype(float), one)
    widths = []
    for n in (200, 2_000):
        low, high = level(info, truth[:n], said[:n], seed=0)
        assert low < info.of(truth[:n], said[:n]) < high
        widths.append(high - low)
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(10), rel=0.35)


def test_perfect_models_have_an_interval_too():
    y = np.arange(60) % 2.0
    low, high = level(METRICS["roc_auc"], y, y, seed=0)
    assert (low, high) == (pytest.approx(0.025 ** (1 / 30)), 1.0)
    assert level(METRICS["accuracy"], y, y, seed=0)[0] == pytest.approx(60 / (60 + 1.96**2), 1e-4)
    assert level(METRICS["roc_auc"], np.ones(60), y, seed=0) is None


def test_so_many_more_rows_settle_it_in_four_of_five_cases():
    rng, n, margin, spread = np.random.default_rng(0), 200, 0.05, 1.0
    half = 1.959964 * spread / np.sqrt(n)
    more = more_rows(n, 0.0, (-half, half), margin)
    lows = [rng.normal(0, spread / np.sqrt(n + more)) for _ in range(4_000)]
    settled = np.mean(np.array(lows) - 1.959964 * spread / np.sqrt(n + more) > -margin)
    assert settled == pytest.approx(0.8, abs=0.02)
    assert more_rows(n, -margin, (-half, half), margin) is None
