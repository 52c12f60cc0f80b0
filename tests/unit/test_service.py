"""Whether the service is there: what one look shows, and what several do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from andon.service import Look, service, volume
from andon.spec import ServiceMonitor
from andon.verdict import Outcome, Verdict

MONITOR = ServiceMonitor(p95_ms=100.0, error_rate=0.01)
GOOD = Look(5, 0, 0, 400.0, 0.0, 4.0)
DEAD = Look(5, 5, 0, 0.0, 0.0, 0.0, "ConnectError: refused")


def judged(*looks: Look) -> dict[str, Verdict]:
    return {it.check.removeprefix("service: "): it for it in service(looks, MONITOR)}


def test_what_is_well_passes():
    assert {it.outcome for it in judged(GOOD, GOOD).values()} == {Outcome.PASS}


def test_one_bad_look_is_no_alarm_and_two_of_three_are():
    assert judged(DEAD, GOOD, GOOD)["answers"].outcome is Outcome.INCONCLUSIVE
    found = judged(DEAD, GOOD, DEAD)["answers"]
    assert found.outcome is Outcome.FAIL
    assert "5 of 5 requests had no answer; first: ConnectError: refused" in found.detail
    assert judged(GOOD, DEAD, DEAD)["answers"].outcome is Outcome.PASS, "it is back"


def test_a_wrong_answer_is_told_apart_from_none():
    wrong = Look(5, 0, 2, 400.0, 0.0, 0.0, "sample 1: expected a, found b")
    found = judged(wrong, wrong)
    assert found["answers"].outcome is Outcome.PASS
    assert found["right answers"].outcome is Outcome.FAIL
    assert judged(DEAD, DEAD)["right answers"].outcome is Outcome.INCONCLUSIVE


def test_shares_need_evidence():
    one_of_five = Look(5, 0, 0, 5.0, 1.0, 1.0)
    assert judged(one_of_five, one_of_five)["errors"].outcome is Outcome.FAIL, "20 % are not 1 %"
    assert judged(one_of_five, one_of_five)["latency p95"].outcome is Outcome.PASS
    few = Look(5, 0, 0, 100.0, 2.0, 0.0)
    assert judged(few, few)["errors"].outcome is Outcome.PASS
    many = Look(5, 0, 0, 10_000.0, 200.0, 800.0)
    assert judged(many, many)["errors"].outcome is Outcome.FAIL
    assert judged(many, many)["latency p95"].outcome is Outcome.FAIL


def test_without_counters_or_looks_it_cannot_tell():
    blind = Look(5, 0, 0)
    assert judged(blind)["errors"].outcome is Outcome.INCONCLUSIVE
    assert judged(blind)["answers"].outcome is Outcome.PASS
    assert {it.outcome for it in judged().values()} == {Outcome.INCONCLUSIVE}


def test_a_silence_that_is_unusual_at_this_hour_fails_and_a_weekend_does_not():
    week = [900.0, 950.0, 1_000.0, 980.0, 930.0, 120.0, 100.0]
    assert volume(15.0, week, MONITOR).outcome is Outcome.FAIL
    assert volume(0.0, week, MONITOR).detail.startswith("0 requests in the last hour")
    assert volume(95.0, week, MONITOR).outcome is Outcome.PASS
    assert volume(0.0, week[:6], MONITOR) is None, "six days are no week"
    assert volume(0.0, [*week[:6], 3.0], MONITOR) is None, "hours of three requests are usual"


counts = st.integers(0, 50)


@given(st.lists(st.tuples(counts, counts, counts, counts, counts, counts), max_size=6))
def test_a_fail_needs_a_bad_newest_look_and_never_comes_from_one(given_):
    looks = [
        Look(sent, min(failed, sent), wrong, n, min(errors, n), min(slow, n))
        for sent, failed, wrong, n, errors, slow in given_
    ]
    for it in service(looks, MONITOR):
        if it.outcome is Outcome.FAIL:
            assert len(looks) >= 2
    if looks and looks[0].failed == 0:
        assert judged(*looks)["answers"].outcome is not Outcome.FAIL
