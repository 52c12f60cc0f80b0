"""Checks of a release: quantiles from buckets, fixed limits, the same answer."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon import gates
from andon.checks import quantile, same_answer, smoke
from andon.looks import Probe
from andon.ports import Traffic
from andon.seen import Seen
from andon.spec import Limits
from andon.verdict import Outcome, Verdict, gate

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, inf)
NOTHING = Traffic(buckets=dict.fromkeys(BOUNDS, 0.0))


def counted(seconds: list[float], errors: int = 0, before: Traffic = NOTHING) -> Traffic:
    """The counters of a gateway after these requests."""
    return Traffic(
        requests=before.requests + len(seconds),
        errors=before.errors + errors,
        buckets={b: before.buckets[b] + sum(s <= b for s in seconds) for b in BOUNDS},
    )


times = st.lists(st.floats(0.0, 2.4), min_size=1, max_size=80)


@given(times, st.floats(0.01, 1.0))
def test_a_quantile_is_in_the_bucket_of_the_true_one(seconds, q):
    found = quantile(counted(seconds), q)
    true = np.quantile(seconds, q, method="inverted_cdf")
    bucket = int(np.searchsorted(BOUNDS, true))
    low = BOUNDS[bucket - 1] if bucket else 0.0
    assert low <= found <= BOUNDS[bucket]


@given(times, times)
def test_a_quantile_is_of_the_requests_between_two_readings(earlier, later):
    before = counted(earlier)
    assert quantile(counted(later, before=before).since(before), 0.95) == pytest.approx(
        quantile(counted(later), 0.95)
    )


def test_a_quantile_is_interpolated_in_its_bucket():
    assert quantile(counted([0.06] * 100), 0.95) == pytest.approx(0.05 + 0.95 * 0.05)
    mixed = counted([0.001] * 90 + [0.2] * 10)
    assert quantile(mixed, 0.95) == pytest.approx(0.1 + 0.5 * 0.15)


def test_a_quantile_above_every_bound_can_be_anything():
    assert quantile(counted([60.0] * 10), 0.95) == inf
    assert quantile(counted([60.0] * 4 + [0.01] * 96), 0.95) <= 0.01


@pytest.mark.parametrize(("limit", "outcome"), [(300, FAIL), (2_500, FAIL), (5_000, INCONCLUSIVE)])
def test_a_latency_above_every_bound_never_passes(limit, outcome):
    verdict = http(counted([60.0] * 100), Limits(p95_ms=limit), 100)[1]
    assert verdict.outcome is outcome
    assert verdict.value == 2_500
    assert "above 2500 ms" in verdict.detail


def test_without_requests_or_buckets_a_quantile_is_0():
    assert quantile(NOTHING, 0.95) == 0.0
    assert quantile(Traffic(requests=9.0), 0.95) == 0.0
    assert quantile(counted([0.06] * 100), 0.95) > 0.05, "a server's first requests"


def http(traffic: Traffic, limits: Limits, min_requests: int) -> list[Verdict]:
    """Error rate and p95 of a candidate without a champion."""
    return gates.judge(Seen(traffic), ("errors", "latency"), limits, min_requests)[1:]


def outcomes(verdicts: list[Verdict]) -> tuple[Outcome, ...]:
    return tuple(it.outcome for it in verdicts)


def judge(seconds: list[float], errors: int = 0, min_requests: int = 100) -> list[Verdict]:
    limits = Limits(error_rate=0.02, p95_ms=300)
    return http(counted(seconds, errors), limits, min_requests)


@pytest.mark.parametrize(
    ("seconds", "errors", "expected"),
    [
        ([0.01] * 100, 0, (PASS, PASS)),
        ([0.01] * 100, 2, (PASS, PASS)),
        ([0.01] * 100, 3, (INCONCLUSIVE, PASS)),
        ([0.01] * 100, 12, (FAIL, PASS)),
        ([0.4] * 100, 0, (PASS, FAIL)),
        ([0.01] * 99, 0, (INCONCLUSIVE, INCONCLUSIVE)),
        ([0.4] * 99, 0, (INCONCLUSIVE, INCONCLUSIVE)),
        ([], 0, (INCONCLUSIVE, INCONCLUSIVE)),
    ],
)
def test_error_rate_and_latency_against_their_limits(seconds, errors, expected):
    assert outcomes(judge(seconds, errors)) == expected


def test_enough_errors_fail_before_there_are_enough_requests():
    """2 errors of 2 requests are no chance where 2 % are allowed; one may be."""
    assert outcomes(judge([0.01] * 2, errors=2))[0] is FAIL
    assert outcomes(judge([0.01], errors=1))[0] is INCONCLUSIVE


@given(st.integers(1, 200), st.integers(0, 200))
def test_a_rate_within_its_limit_never_fails_and_one_above_it_never_passes(n, errors):
    errors = min(errors, n)
    found = judge([0.01] * n, errors, min_requests=1)[0].outcome
    assert found is PASS if errors / n <= 0.02 else found is not PASS


def test_a_limit_of_no_errors_fails_at_the_first():
    verdict = http(counted([0.01], errors=1), Limits(error_rate=0.0), 50)[0]
    assert verdict.outcome is FAIL
    assert "1 of 1 requests failed" in verdict.detail


@pytest.mark.parametrize(
    ("probe", "outcome"),
    [
        (Probe(sent=20), PASS),
        (Probe(sent=19), INCONCLUSIVE),
        (Probe(), INCONCLUSIVE),
        (Probe(sent=20, wrong=1), FAIL),
        (Probe(sent=1, failed=1), FAIL),
    ],
)
def test_smoke_allows_no_wrong_answer(probe, outcome):
    assert smoke(probe, 20).outcome is outcome


def test_probes_add_up_and_keep_the_first_example():
    total = Probe(1) + Probe(1, failed=1, example="HTTP 500") + Probe(1, wrong=1, example="other")
    assert total == Probe(3, 1, 1, "HTTP 500")
    assert smoke(total, 3).detail.endswith("1 failed, 1 wrong; first: HTTP 500")


@pytest.mark.parametrize(
    ("expected", "found", "same"),
    [
        ({"label": "yes"}, {"id": "x", "label": "yes"}, True),
        ({"label": "yes"}, {"id": "x", "label": "no"}, False),
        ({"label": "yes"}, {"id": "x"}, False),
        ({"value": 1.0}, {"value": 1.0 + 5e-10}, True),
        ({"value": 1.0}, {"value": 1.0 + 5e-9}, False),
        ({"value": 1e6}, {"value": 1e6 + 1e-4}, True),
        ({"value": 0.0}, {"value": 1e-10}, True),
        ({"value": 2.0}, {"value": 2}, True),
        ({"value": 1.0}, {"value": True}, False),
        ({"value": 1.0}, {"value": "1.0"}, False),
        ({"value": 1.0}, {"value": None}, False),
        ({"value": 1.0}, {"value": float("nan")}, False),
        ({"probabilities": {"a": 0.5}}, {"probabilities": {"a": 0.5, "b": 0.5}}, False),
        ({"probabilities": {"a": 0.5, "b": 0.5}}, {"probabilities": {"a": 0.5}}, False),
        ({"probabilities": {"a": 0.5}}, {"probabilities": 0.5}, False),
        ({"probabilities": {"a": 0.5}}, {"probabilities": {"a": 0.5}}, True),
    ],
)
def test_the_same_answer(expected, found, same):
    assert same_answer(expected, found) is same


def test_a_gate_passes_only_if_everything_does_and_something_was_measured():
    def of(*outcomes: Outcome) -> Outcome:
        return gate([Verdict(check="c", outcome=it) for it in outcomes])

    assert of(PASS, PASS) is PASS
    assert of(PASS, INCONCLUSIVE) is INCONCLUSIVE
    assert of(INCONCLUSIVE, FAIL, PASS) is FAIL
    assert of() is INCONCLUSIVE
