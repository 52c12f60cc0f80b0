"""Gates of a release: what fails, what passes, what is not known, and what is never said."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import inf
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.gates import CHANCE, Seen, comparisons, judge
from andon.looks import Answers, Look, Pair, Probe, Side
from andon.ports import Traffic, Usage
from andon.spec import GateName, Limits
from andon.verdict import Outcome, Verdict, gate

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
ALL: tuple[GateName, ...] = get_args(GateName)
LIMITS = Limits(error_rate=0.1, shift=0.1, disagreement=0.2, correlation=0.5)
BOUNDS = (0.01, 0.02, 0.05, 0.1, 1.0, inf)


def traffic(n: int, errors: int = 0, invalid: int = 0, seconds: float = 0.008) -> Traffic:
    return Traffic(n, errors, invalid, {b: float(n * (seconds <= b)) for b in BOUNDS})


def answers(n: int, yes: int, score: float = 0.3) -> Answers:
    return Answers(n, Counter(yes=yes, no=n - yes), (score,) * n)


def seen(*looks: Look) -> Seen:
    found = Seen()
    for it in looks:
        found = found.add(it)
    return found


def often(candidate: Side, champion: Side | None, pairs: tuple[Pair, ...] = (), n: int = 6) -> Seen:
    """The same look, many times."""
    return seen(*(Look(float(i), candidate, champion, pairs) for i in range(n)))


def verdicts(found: Seen, *gates: GateName, n: int = 50) -> dict[str, Verdict]:
    return {it.check: it for it in judge(found, gates, LIMITS, n)}


GOOD = Side(traffic(100, 1), answers(100, 30))


def test_a_candidate_that_does_as_its_champion_passes_everything():
    pairs = tuple(Pair(False, i / 100, i / 100, ("a=1",)) for i in range(100))
    side = replace(GOOD, losses=(0.0, 1.0), usage=Usage(1.0, 10**8))
    found = verdicts(often(side, side, pairs), *ALL)
    assert {it.outcome for it in found.values()} == {PASS}
    assert set(comparisons(ALL)) <= set(found)
    assert all(it.detail for it in found.values())


def test_every_gate_says_what_chance_may_fail():
    assert set(CHANCE) == set(ALL)
    assert comparisons(("labels", "errors", "labels")) == (
        "loss on labels", "error rate", "errors against champion",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("gate_", "check", "candidate"),
    [
        ("errors", "error rate", Side(traffic(100, 40))),
        ("errors", "errors against champion", Side(traffic(100, 9))),
        ("inputs", "refused inputs against champion", Side(traffic(100, 0, 20))),
        ("latency", "latency p95", Side(traffic(100, seconds=0.9))),
        ("latency", "latency against champion", Side(traffic(100, seconds=0.09))),
        ("predictions", "sound predictions", Side(traffic(100), Answers(99, bad=1, example="NaN"))),
        ("predictions", "label shares against champion", Side(traffic(100), answers(100, 80))),
        ("predictions", "mean score against champion", Side(traffic(100), answers(100, 30, 0.9))),
        ("labels", "loss on labels", Side(traffic(100), losses=(1.0,) * 20)),
    ],
)
def test_a_candidate_that_does_worse_fails_by_the_check_that_is_about_it(gate_, check, candidate):
    champion = replace(GOOD, losses=(0.0,) * 20)
    found = verdicts(often(candidate, champion), gate_)
    assert found[check].outcome is FAIL
    assert found[check].evidence or check == "sound predictions"
    as_good = verdicts(often(champion, champion), gate_)
    assert as_good[check].outcome is PASS


def test_both_sides_stand_in_the_detail():
    detail = verdicts(often(Side(traffic(100, 9)), GOOD), "errors")["errors against champion"]
    assert "54 of 600 requests failed (9.00%), of the champion's 6 of 600 (1.00%)" in detail.detail
    assert detail.evidence["candidate_rate"] == 0.09
    assert detail.evidence["p"] <= detail.evidence["alpha"]


def test_a_slow_candidate_is_found_only_by_requests_after_the_bound_was_chosen():
    slow = Side(traffic(100, seconds=0.09))
    found = verdicts(often(slow, GOOD), "latency")["latency against champion"]
    assert found.evidence["bound_ms"] == 20.0, "the next above 2 times 9.5 ms"
    assert found.n == 500, "the first look chose it"
    first = verdicts(often(slow, GOOD, n=1), "latency")["latency against champion"]
    assert (first.outcome, first.n) == (PASS, 0)


@pytest.mark.parametrize("seconds", [0.6, 5.0])
def test_a_champion_that_is_slower_than_the_gateway_tells_apart_is_not_compared(seconds):
    side = Side(traffic(100, seconds=seconds))
    found = verdicts(often(side, side), "latency")["latency against champion"]
    assert found.detail.startswith("nothing was tested: the champion's p95 is")
    assert found.n == 0


def test_without_a_champion_there_are_only_fixed_limits():
    found = verdicts(often(GOOD, None), *ALL)
    assert not any("champion" in name for name in found)
    assert found["error rate"].outcome is found["latency p95"].outcome is PASS
    assert "nothing was tested" in found["loss on labels"].detail


def test_a_champion_that_nobody_asks_is_not_compared():
    found = verdicts(often(GOOD, Side()), "errors", "latency", "inputs")
    assert list(found) == ["smoke", "error rate", "latency p95"]


@pytest.mark.parametrize(
    ("errors", "n", "outcome"), [(0, 100, PASS), (11, 100, INCONCLUSIVE), (40, 100, FAIL)]
)
def test_a_rate_near_its_limit_is_neither_failed_nor_passed(errors, n, outcome):
    assert verdicts(often(Side(traffic(n, errors)), None, n=1), "errors")["error rate"].outcome is (
        outcome
    )


@pytest.mark.parametrize(
    ("seconds", "limit", "outcome"),
    [(0.06, 50, FAIL), (0.06, 99, PASS), (5.0, 900, FAIL), (5.0, 1_000, FAIL),
     (5.0, 3_000, INCONCLUSIVE), (0.5, 3_000, PASS)],
)  # fmt: skip
def test_latency_against_its_limit_also_above_every_bound(seconds, limit, outcome):
    found = judge(often(Side(traffic(100, seconds=seconds)), None), ["latency"],
                  Limits(p95_ms=limit), 50)  # fmt: skip
    assert {it.check: it.outcome for it in found}["latency p95"] is outcome


def test_a_first_version_with_a_limit_of_no_errors_fails_at_the_first():
    found = judge(often(Side(traffic(10, 1)), None, n=1), ["errors"], Limits(error_rate=0.0), 50)
    assert found[1].outcome is FAIL


def test_a_slow_start_is_no_failure_before_there_are_enough_requests():
    few = often(Side(traffic(10, seconds=0.9)), None, n=1)
    assert verdicts(few, "latency")["latency p95"].outcome is INCONCLUSIVE


looks = st.builds(
    lambda n, errors, bad, wrong, champion: Look(
        0.0,
        Side(traffic(n, min(n, errors)), Answers(n, Counter(yes=n), (0.5,) * n, bad)),
        Side(traffic(n), answers(n, n // 2)) if champion else None,
        probe=Probe(wrong, wrong=wrong),
    ),
    st.integers(0, 30),
    st.integers(0, 3),
    st.sampled_from([0, 0, 0, 1]),
    st.sampled_from([0, 0, 1]),
    st.booleans(),
)


@given(st.lists(looks, max_size=8), st.sets(st.sampled_from(ALL)), st.integers(1, 100))
def test_nothing_passes_before_there_are_enough_requests(given_looks, gates, least):
    found = seen(*given_looks)
    judged = judge(found, tuple(gates), LIMITS, least)
    if found.candidate.requests < least:
        assert gate(judged) is not PASS
        assert all(it.outcome is not PASS for it in judged if it.check != "smoke")
    assert judged[0].check == "smoke"
    if found.probe.wrong:
        assert judged[0].outcome is FAIL
    if found.bad and "predictions" in gates:
        assert gate(judged) is FAIL, "however few requests there were"


@given(st.lists(looks, max_size=8), st.sampled_from(ALL))
def test_a_failure_holds_its_evidence(given_looks, name):
    """A comparison fails by its p alone, which is no larger than its own share of alpha."""
    for it in judge(seen(*given_looks), (name,), LIMITS, 0, alpha=0.05):
        if it.check in comparisons((name,)) and "p" in it.evidence:
            share = 0.05 / len(comparisons((name,)))
            assert it.evidence["alpha"] == pytest.approx(share)
            assert (it.outcome is FAIL) == (it.evidence["p"] <= it.evidence["alpha"])


def test_no_gate_and_no_requests_are_no_verdict_and_no_gate_waits_for_requests():
    assert judge(Seen(), (), LIMITS, 0) == []
    few, enough = often(Side(traffic(10)), None, n=1), often(GOOD, None, n=1)
    assert [it.outcome for it in judge(few, (), LIMITS, 50)] == [PASS, INCONCLUSIVE]
    assert [it.check for it in judge(enough, (), LIMITS, 50)] == ["smoke", "requests"]
    assert gate(judge(enough, (), LIMITS, 50)) is PASS


def test_what_is_missing_is_inconclusive_for_its_gate_until_a_look_has_it():
    missing = Look(9.0, missing={"errors": "the gateway cannot be read", "labels": "no file"})
    found = often(GOOD, GOOD).add(missing)
    judged = verdicts(found, "errors", "latency")
    assert judged["errors measured"].outcome is INCONCLUSIVE
    assert "the gateway cannot be read" in judged["errors measured"].detail
    assert "labels measured" not in judged, "nobody asked for it"
    assert judged["latency p95"].outcome is PASS
    again = verdicts(found.add(Look(10.0, GOOD, GOOD)), "errors", "latency")
    assert {it.outcome for it in again.values()} == {PASS}


def test_a_gateway_that_began_anew_makes_no_verdict():
    """Its counters fall to 0 in between; what it counted since is all that a look gets."""
    before, after = traffic(1_000, 10), traffic(40)
    fresh = after.since(before)
    found = often(GOOD, GOOD).add(Look(9.0, Side(fresh), Side(fresh)))
    assert found.candidate.requests == 640
    assert {it.outcome for it in judge(found, ("errors", "latency"), LIMITS, 50)} == {PASS}
