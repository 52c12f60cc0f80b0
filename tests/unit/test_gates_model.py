"""Gates about pairs of answers, labels, memory and CPU."""

from __future__ import annotations

import pytest

from andon import model_checks
from andon.gates import Seen, judge
from andon.looks import Look, Pair, Side
from andon.ports import Traffic, Usage
from andon.spec import Limits
from andon.verdict import Outcome, Verdict

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
LIMITS = Limits(disagreement=0.2, correlation=0.5)
MB = 1_000_000


def pairs(n: int, differ: float, north: float | None = None, turned: bool = False) -> Look:
    """`differ`: the share that does; `north`: that of one slice of a fifth; scores go along."""
    made = []
    for i in range(n):
        in_north = north is not None and i % 5 == 0
        share = north if in_north and north is not None else differ
        champion = (37 * i % 100) / 100
        candidate = 1 - champion if turned else champion
        name = "region=north" if in_north else "region=south"
        made.append(Pair(i // 5 % 10 < 10 * share, candidate, champion, (name,)))
    return Look(0.0, Side(Traffic(n)), Side(Traffic(n)), tuple(made))


def agreed(*looks: Look, limits: Limits = LIMITS, n: int = 50) -> dict[str, Verdict]:
    found = Seen()
    for it in looks:
        found = found.add(it)
    return {it.check: it for it in judge(found, ("agreement",), limits, n)}


@pytest.mark.parametrize(("differ", "outcome"), [(0.0, PASS), (0.2, PASS), (0.3, INCONCLUSIVE),
                                                 (0.6, FAIL)])  # fmt: skip
def test_disagreement_fails_beyond_doubt_and_is_not_passed_above_its_limit(differ, outcome):
    assert agreed(pairs(100, differ))["disagreement"].outcome is outcome


def test_a_slice_that_disagrees_is_named():
    found = agreed(*[pairs(100, 0.0, north=0.9)] * 3)
    assert found["disagreement"].outcome is PASS
    worst = found["disagreement in a slice"]
    assert worst.outcome is FAIL
    assert worst.detail.startswith("region=north: 54 of 60 pairs of answers differ")
    assert worst.evidence["slice"] == "region=north"


def test_a_candidate_that_ranks_the_other_way_round_fails():
    turned, alike = agreed(pairs(100, 0.0, turned=True)), agreed(pairs(100, 0.0))
    assert turned["score correlation"].outcome is FAIL
    assert turned["score correlation"].value == -1.0
    assert turned["score correlation"].evidence["pearson"] == pytest.approx(-1)
    assert alike["score correlation"].outcome is PASS


@pytest.mark.parametrize(("limit", "turned", "outcome"),
                         [(-1.0, True, PASS), (1.0, False, PASS), (1.0, True, FAIL)])  # fmt: skip
def test_the_ends_of_the_limit_of_a_correlation(limit, turned, outcome):
    limits = Limits(correlation=limit)
    found = agreed(pairs(60, 0.0, turned=turned), limits=limits)
    assert found["score correlation"].outcome is outcome


def test_a_champion_that_always_says_the_same_has_no_correlation():
    look = Look(0.0, Side(Traffic(100)), Side(), tuple(Pair(False, 0.1, 0.5) for _ in range(100)))
    assert set(agreed(look)) == {"smoke", "requests", "disagreement"}


def test_no_pairs_are_no_agreement():
    found = agreed(Look(0.0, Side(Traffic(100))))["disagreement"]
    assert (found.outcome, found.n) == (INCONCLUSIVE, 0)
    assert agreed(Look(0.0, Side(Traffic(5))), n=0)["disagreement"].outcome is INCONCLUSIVE


def test_labels_that_have_not_come_are_told_and_hinder_nothing():
    found = Seen().add(Look(0.0, Side(Traffic(100)), Side(Traffic(100))))
    verdict = judge(found, ("labels",), LIMITS, 50)[1]
    assert (verdict.outcome, verdict.n) == (PASS, 0)
    assert verdict.detail == "nothing was tested: no labels yet"
    half = found.add(Look(0.0, Side(losses=(1.0,)), Side()))
    assert "1 labels of the candidate's rows, 0" in judge(half, ("labels",), LIMITS, 50)[1].detail


def test_a_loss_that_may_be_chance_says_so():
    found = Seen().add(Look(0.0, Side(losses=(1.0, 0.0)), Side(losses=(0.0,) * 5)))
    verdict = model_checks.labels(found, LIMITS, 0.05)[0]
    assert verdict.outcome is PASS
    assert "+0.500, more than 0.02, which may be chance" in verdict.detail


def measured(ours: list[Usage], theirs: list[Usage], n: int = 0, every: float = 1.0) -> Seen:
    found = Seen()
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        sides = Side(Traffic(n), usage=a), Side(Traffic(n), usage=b)
        found = found.add(Look(every * i, *sides))
    return found


def resources(found: Seen) -> dict[str, Outcome]:
    return {it.check: it.outcome for it in judge(found, ("resources",), Limits(), 0)}


def memory(*sizes: int, started: float = 1.0) -> list[Usage]:
    return [Usage(0.0, size * MB, started) for size in sizes]


@pytest.mark.parametrize(
    ("ours", "theirs", "outcome"),
    [
        (60, 20, PASS),
        (290, 100, PASS),
        (400, 100, FAIL),
        (700, 300, PASS),
    ],
)
def test_memory_fails_beyond_the_ratio_and_by_a_lot(ours, theirs, outcome):
    found = measured(memory(*[ours] * 5), memory(*[theirs] * 5))
    assert resources(found)["memory against champion"] is outcome


def test_memory_that_falls_again_is_no_failure():
    found = measured(memory(100, 900, 100, 900, 900), memory(*[100] * 5))
    assert resources(found)["memory against champion"] is PASS
    assert resources(measured(memory(900), memory(100)))["memory against champion"] is PASS


@pytest.mark.parametrize(
    ("sizes", "outcome"),
    [
        ([100 + 30 * i for i in range(12)], FAIL),
        ([100 + 5 * i for i in range(12)], PASS),  # 55 MB
        ([1_000 + 30 * i for i in range(12)], PASS),  # a third of its own size
        ([100, *[400] * 11], PASS),  # a cache that is filled once
        ([100 + 300 * (i % 2) for i in range(12)], PASS),
    ],
)
def test_memory_that_grows_and_grows_is_a_leak(sizes, outcome):
    found = measured(memory(*sizes), memory(*[2_000] * 12))
    assert resources(found)["memory growth"] is outcome


def test_another_process_begins_anew():
    sizes = [100 + 30 * i for i in range(8)]
    ours = memory(*sizes) + memory(*[400] * 4, started=2.0)
    assert resources(measured(ours, memory(*[400] * 12)))["memory growth"] is PASS


def cpu(ours: float, theirs: float, looks: int = 10) -> list[list[Usage]]:
    return [[Usage(each * i, MB, 1.0) for i in range(looks)] for each in (ours, theirs)]


@pytest.mark.parametrize(
    ("ours", "theirs", "n", "outcome"),
    [
        (0.9, 0.1, 50, FAIL),
        (0.4, 0.1, 50, PASS),
        (0.9, 0.1, 20, PASS),  # too few requests
        (0.09, 0.001, 50, PASS),  # less than a tenth of a processor
    ],
)
def test_cpu_fails_beyond_the_ratio_and_by_a_lot(ours, theirs, n, outcome):
    assert resources(measured(*cpu(ours, theirs), n=n))["CPU against champion"] is outcome


def test_what_nobody_can_measure_is_no_verdict():
    assert set(resources(Seen().add(Look(0.0, Side(Traffic(9)))))) == {"smoke", "requests"}
    alone = Seen().add(Look(0.0, Side(Traffic(9), usage=Usage(1.0, MB))))
    assert set(resources(alone)) == {"smoke", "requests", "memory growth"}
