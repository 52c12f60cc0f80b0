"""Sequential tests: invariants, known values, and how often they are wrong.

Simulations have fixed seeds. Of 400 runs 20 false alarms are promised at most at 5 %; 33 leave room
for chance (0.3 %).
"""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from andon.sequential import (
    GRID,
    Comparison,
    Counts,
    Mean,
    beyond_p,
    block_scores,
    harm_p,
    ratio_estimate,
    ratio_interval,
)

ALPHA = 0.05
RUNS, ALARMS = 400, 33

sides = st.integers(10, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))
means = st.integers(1, 500).flatmap(lambda n: st.builds(Mean, st.floats(0, n), st.just(n)))
alphas = st.floats(1e-5, 0.5)


@given(sides, sides, alphas)
def test_p_is_a_probability_and_the_interval_holds_the_estimate(one, other, alpha):
    scores = block_scores(Counts(*one, *other))
    low, high = ratio_interval(scores, alpha)
    assert 0 <= harm_p(scores) <= 1
    assert low <= ratio_estimate(scores) <= high


@given(sides, sides)
def test_swapped_sides_turn_the_ratio_round(one, other):
    there, back = block_scores(Counts(*one, *other)), block_scores(Counts(*other, *one))
    assert there[::-1] - there.max() == pytest.approx(back - back.max(), abs=1e-6)


@given(sides, sides)
def test_the_more_is_tolerated_the_less_is_harm(one, other):
    scores = block_scores(Counts(*one, *other))
    found = [harm_p(scores, it) for it in (1.0, 1.5, 3.0, 20.0)]
    if ratio_estimate(scores) <= 1.0:
        assert found == pytest.approx([1.0] * 4)
    assert found[-1] >= found[0] - 1e-9


@given(st.integers(10, 60), sides)
def test_more_failures_of_the_candidate_are_more_evidence(n, champion):
    odds = [ratio_estimate(block_scores(Counts(n, k, *champion))) for k in range(n + 1)]
    if 0 < champion[1] < champion[0]:
        assert all(a >= b - 1e-9 for a, b in zip(odds[1:], odds[:-1], strict=True))


def test_one_failure_of_two_equal_sides_is_a_coin():
    scores = block_scores(Counts(10, 1, 10, 0))
    assert scores == pytest.approx(GRID - np.log1p(np.exp(GRID)) - log(10))


def test_a_block_waits_until_both_sides_have_answered_enough():
    seen = Comparison().look(Counts(100, 3, 9, 0))
    assert seen.pending == seen.total == Counts(100, 3, 9, 0)
    assert not seen.scores.any()
    seen = seen.look(Counts(0, 0, 1, 1))
    assert seen.pending == Counts()
    assert seen.scores == pytest.approx(block_scores(Counts(100, 3, 10, 1)))


@given(means, alphas)
@example(Mean(5e-324, 2), 0.05)
def test_an_interval_of_a_mean_holds_it_and_agrees_with_its_p(it, alpha):
    low, high = it.interval(alpha)
    assert 0 <= low <= it.value + 1e-12
    assert it.value - 1e-12 <= high <= 1
    if 1e-6 < low < it.value:
        assert it.above_p(low) == pytest.approx(alpha, rel=1e-3)
        assert it.above_p(low / 2) < alpha
    assert it.above_p(it.value) == 1.0


@given(means, means, st.floats(0.0, 0.5))
@example(Mean(5e-324, 1), Mean(0.0, 1), 0.0)
def test_a_difference_is_less_sure_the_more_is_allowed(ours, theirs, margin):
    p = beyond_p(ours, theirs, margin)
    assert 0 <= p <= beyond_p(ours, theirs, margin + 0.1) <= 1
    if p < 1:
        assert beyond_p(theirs, ours, margin) == 1


@given(means, means)
def test_a_difference_has_the_least_favourable_pair_of_means(ours, theirs):
    """No pair that is allowed explains what was seen better than the one that decides."""

    def ratio(b: float) -> float:
        a, b = min(b + 0.1, 1 - 1e-9), max(b, 1e-9)
        likely = ours.total * log(a) + (ours.n - ours.total) * log(1 - a)
        return likely + theirs.total * log(b) + (theirs.n - theirs.total) * log(1 - b)

    p = beyond_p(ours, theirs, 0.1)
    mixed = ours._mixed() + theirs._mixed()
    best = max(ratio(float(b)) for b in np.linspace(0.0, 0.9, 91))
    if p < 1:
        assert log(max(p, 1e-300)) >= min(0.0, best - mixed) - 1e-6


def test_impossible_counts_are_refused():
    for wrong in (
        lambda: Counts(1, 2),
        lambda: Mean(2, 1),
        lambda: Mean(1, 2).interval(0),
        lambda: harm_p(np.zeros(241), 0.0),
    ):
        with pytest.raises(ValueError, match="found"):
            wrong()


def test_nothing_seen_says_nothing():
    assert Mean().interval(ALPHA) == (0.0, 1.0)
    assert Mean().above_p(0.0) == beyond_p(Mean(), Mean(5, 5), 0.0) == 1.0
    assert Mean(1, 5).above_p(0.0) == 0.0, "one failure is too many where none is allowed"


@pytest.mark.parametrize(("ours", "theirs"), [(25, 25), (3, 47)])
def test_equal_odds_are_rarely_told_apart_at_any_look(ours, theirs):
    rng = np.random.default_rng(1)
    failed = 0
    for _ in range(RUNS):
        seen, bad = Comparison(), False
        for _ in range(50):
            k, m = int(rng.binomial(ours, 0.05)), int(rng.binomial(theirs, 0.05))
            seen = seen.look(Counts(ours, k, theirs, m))
            bad = bad or harm_p(seen.scores) <= ALPHA
        failed += bad
    assert failed <= ALARMS


def test_a_mean_at_its_limit_and_a_difference_at_its_margin_rarely_fail_at_any_look():
    rng = np.random.default_rng(2)
    one = two = 0
    for _ in range(RUNS):
        ours, theirs, above, beyond = Mean(), Mean(), False, False
        for _ in range(60):
            ours += Mean(float(rng.binomial(10, 0.2)), 10)
            theirs += Mean(float(rng.binomial(10, 0.1)), 10)
            above = above or ours.above_p(0.2) <= ALPHA
            beyond = beyond or beyond_p(ours, theirs, 0.1) <= ALPHA
        one, two = one + above, two + beyond
    assert 0 < one <= ALARMS
    assert two <= ALARMS


def test_what_is_worse_is_found():
    assert harm_p(Comparison().look(Counts(50, 25, 50, 0)).scores) < 1e-4
    assert Mean(25, 50).above_p(0.1) < 1e-4
    assert beyond_p(Mean(40, 50), Mean(5, 50), 0.1) < 1e-4
