"""What is kept of the looks at a release: sums, whatever the looks were; never lists."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.looks import Answers, Look, Pair, Probe, Side
from andon.ports import Traffic, Usage
from andon.seen import LABELS_AT_MOST, RECENT, SLICES_AT_MOST, Seen
from andon.sequential import Counts, Mean

numbers = st.floats(0, 1)


@st.composite
def traffics(draw) -> Traffic:
    fast, slow = draw(st.integers(0, 40)), draw(st.integers(0, 5))
    n = fast + slow
    return Traffic(
        n, draw(st.integers(0, n)), draw(st.integers(0, n)), {0.1: float(fast), inf: float(n)}
    )


@st.composite
def sides(draw) -> Side:
    labels = Counter(draw(st.lists(st.sampled_from("abc"), max_size=8)))
    scores = tuple(draw(st.lists(numbers, max_size=8)))
    answers = Answers(labels.total(), labels, scores, draw(st.integers(0, 2)))
    return Side(draw(traffics()), answers, tuple(draw(st.lists(numbers, max_size=4))))


pairs = st.builds(Pair, st.booleans(), numbers, numbers, st.sampled_from([(), ("a=1",), ("a=2",)]))
looks = st.builds(
    Look,
    at=st.just(0.0),
    candidate=sides(),
    champion=sides(),
    pairs=st.lists(pairs, max_size=5).map(tuple),
    probe=st.builds(Probe, st.integers(0, 5), st.integers(0, 5)),
)


def together(one: Look, other: Look) -> Look:
    """Both as if seen at one look."""
    assert one.champion is not None
    assert other.champion is not None
    return Look(
        other.at,
        both(one.candidate, other.candidate),
        both(one.champion, other.champion),
        one.pairs + other.pairs,
        one.probe + other.probe,
    )


def both(one: Side, other: Side) -> Side:
    a, b = one.answers, other.answers
    answers = Answers(a.rows + b.rows, a.labels + b.labels, a.scores + b.scores, a.bad + b.bad)
    return Side(one.traffic + other.traffic, answers, one.losses + other.losses)


def sums(seen: Seen) -> list[float]:
    agreement = seen.agreement
    means = [
        seen.scores.candidate, seen.scores.champion, seen.losses.candidate, seen.losses.champion,
        agreement.differ, agreement.ranked, *(it for _, it in sorted(agreement.slices.items())),
    ]  # fmt: skip
    return [
        *(it for mean in means for it in (mean.total, mean.n)),
        *agreement.sums,
        *vars(seen.errors.total).values(),
        *vars(seen.refused.total).values(),
        *(it for each in (seen.candidate, seen.champion) for it in each.buckets.values()),
        seen.rows,
        seen.bad,
        seen.probe.sent,
    ]


@given(st.lists(looks, min_size=1, max_size=6), st.data())
def test_looks_in_any_grouping_give_the_same_sums(given_looks, data):
    apart = Seen()
    for it in given_looks:
        apart = apart.add(it)
    grouped = list(given_looks)
    while len(grouped) > 1 and data.draw(st.booleans()):
        i = data.draw(st.integers(0, len(grouped) - 2))
        grouped[i : i + 2] = [together(grouped[i], grouped[i + 1])]
    at_once = Seen()
    for it in grouped:
        at_once = at_once.add(it)
    assert sums(at_once) == pytest.approx(sums(apart))


@given(looks)
def test_a_look_changes_nothing_that_was_there(look):
    before = Seen().add(look)
    copy = sums(before)
    before.add(look)
    assert sums(before) == copy


def test_without_a_champion_only_the_candidate_is_counted():
    traffic = Traffic(10, 1, 0, {inf: 10.0})
    seen = Seen().add(Look(0.0, Side(traffic, losses=(1.0,))))
    assert seen.candidate == traffic
    assert seen.errors.total == Counts()
    assert seen.losses.candidate == Mean()


def test_more_errors_than_requests_are_as_many():
    side = Side(Traffic(3, 5, 4))
    assert Seen().add(Look(0.0, side, side)).errors.total == Counts(3, 3, 3, 3)


def test_a_label_is_counted_from_the_look_after_the_one_it_came_up_in():
    side = Side(answers=Answers(10, Counter(yes=4, no=6)))
    new = Side(answers=Answers(10, Counter(yes=4, never=6)))
    seen = Seen().add(Look(0.0, side, side)).add(Look(1.0, new, side))
    assert list(seen.labels) == ["no", "yes", "never"]
    assert seen.labels["yes"].candidate == Mean(4, 10)
    assert seen.labels["no"].candidate == Mean(0, 10)
    assert seen.labels["never"].candidate == Mean()
    assert seen.add(Look(2.0, new, side)).labels["never"].candidate == Mean(6, 10)


def test_names_that_never_end_are_not_all_kept():
    seen = Seen()
    for i in range(3):
        names = [f"{i}-{j}" for j in range(90)]
        side = Side(answers=Answers(90, Counter(names)))
        made = tuple(Pair(False, 0.5, 0.5, (name,)) for name in names)
        seen = seen.add(Look(i, side, side, made))
    assert len(seen.labels) == LABELS_AT_MOST
    assert len(seen.agreement.slices) == SLICES_AT_MOST
    assert seen.agreement.differ.n == 270


def test_twos_of_pairs_are_ranked_across_looks_and_only_if_the_champion_ranks_them():
    def of(*scores: tuple[float, float]) -> tuple[Pair, ...]:
        return tuple(Pair(False, ours, theirs) for ours, theirs in scores)

    seen = Seen().add(Look(0.0, pairs=of((0.1, 0.1))))
    assert seen.agreement.ranked == Mean()
    seen = seen.add(Look(1.0, pairs=of((0.2, 0.3), (0.5, 0.1), (0.4, 0.2))))
    assert seen.agreement.ranked == Mean(1.0, 2)
    seen = seen.add(Look(2.0, pairs=of((0.5, 0.2), (0.5, 0.3), (0.1, 0.7), (0.2, 0.7))))
    assert seen.agreement.ranked == Mean(1.5, 3)


@given(st.lists(st.tuples(numbers, numbers), min_size=3, max_size=40))
def test_the_correlation_is_pearsons(scores):
    found = Seen().add(Look(0.0, pairs=tuple(Pair(False, a, b) for a, b in scores))).agreement
    x, y = np.array(scores).T
    if min(x.std(), y.std()) > 1e-3:
        assert found.correlation == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-6)


def test_the_usual_latency_is_taken_once_and_before_what_is_compared_with_it():
    side = Side(Traffic(30, buckets={0.1: 30.0, inf: 30.0}))
    seen = Seen().add(Look(0.0, side, side))
    assert seen.usual is None
    seen = seen.add(Look(1.0, side, side))
    assert seen.usual == (seen.candidate, seen.champion)
    assert seen.add(Look(2.0, side, side)).usual == seen.usual


def using(at: float, memory: int, cpu: float = 0.0, started: float = 1.0, n: int = 0) -> Look:
    return Look(at, Side(Traffic(n), usage=Usage(cpu, memory, started)))


def test_a_process_that_started_again_is_another_one():
    seen = Seen().add(using(0.0, 100, 5.0, n=7)).add(using(1.0, 200, 6.0, n=7))
    assert seen.process is not None
    assert (seen.process.cpu, seen.process.requests) == (1.0, 7)
    seen = seen.add(using(2.0, 50, 0.1, started=2.0, n=7))
    assert seen.process is not None
    assert (seen.process.first.memory_bytes, seen.process.cpu, seen.process.requests) == (50, 0, 0)


def test_what_lasts_is_the_least_of_recent_readings_and_rises_are_new_peaks():
    seen = Seen()
    for i, size in enumerate((100, 300, 200, 300, 400, 400, 500)):
        seen = seen.add(using(float(i), size * 1_000_000))
    assert seen.process is not None
    assert seen.process.lasting == 300_000_000
    assert seen.process.rises == 3
    assert len(seen.process.recent) == RECENT
    kept = seen.add(replace(using(9.0, 0), candidate=Side(Traffic(5))))
    assert kept.process is not None
    assert kept.process.requests == 5
