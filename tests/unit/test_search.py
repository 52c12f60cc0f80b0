"""A search: what is tried, in how many rounds, and what is best."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.errors import SpecError
from andon.search import Tried, candidates, demand_parameters, described, ranked, rounds
from andon.spec import GridSearch, HalvingSearch, RandomSearch

CHOICES = {"line__C": (0.1, 1.0, 10.0), "scale": ("passthrough", None)}
GRID = GridSearch(kind="grid", parameters=CHOICES)


def test_a_grid_is_every_combination_once():
    found = candidates(GRID, 0)
    assert len(found) == 6
    assert len({described(it) for it in found}) == 6
    assert candidates(None, 0) == [{}]


def test_a_random_search_draws_with_the_seed_and_never_twice_the_same():
    search = RandomSearch(kind="random", parameters={"a": tuple(range(50))}, iterations=20)
    assert candidates(search, 3) == candidates(search, 3) != candidates(search, 4)
    assert len({it["a"] for it in candidates(search, 3)}) == 20
    whole = RandomSearch(kind="random", parameters=CHOICES, iterations=100)
    assert candidates(whole, 3) == candidates(GRID, 0)


def test_lists_of_yaml_are_tuples_for_scikit_learn():
    search = GridSearch(kind="grid", parameters={"text__ngram_range": ([1, 1], [1, 2])})
    assert [it["text__ngram_range"] for it in candidates(search, 0)] == [(1, 1), (1, 2)]


def test_a_parameter_that_is_not_there_is_named_with_what_is_close():
    search = GridSearch(kind="grid", parameters={"line__c": (1,), "line__C": (1,), "zzz": (1,)})
    with pytest.raises(SpecError) as caught:
        demand_parameters(["line", "line__C", "scale"], search, "models/m/model.yaml")
    assert str(caught.value) == (
        "models/m/model.yaml: training.search.parameters: the pipeline has no such parameter: "
        "found 'line__c', close to it: line__C, line; "
        "found 'zzz', close to it: line, line__C, scale"
    )
    demand_parameters([], None, "")


@given(count=st.integers(1, 500), rows=st.integers(10, 1_000_000), factor=st.floats(1.1, 10))
def test_halving_ends_with_all_rows_and_never_begins_with_too_few(count, rows, factor):
    search = HalvingSearch(kind="halving", parameters=CHOICES, factor=factor)
    plan = rounds(search, count, rows)
    assert plan[0].candidates == count
    assert plan[-1].share == 1.0
    assert len(plan) == 1 or plan[0].share * rows >= 99.9
    for before, after in itertools.pairwise(plan):
        assert after.candidates < before.candidates
        assert after.share == pytest.approx(before.share * factor)


def test_halving_by_three_of_nine():
    search = HalvingSearch(kind="halving", parameters=CHOICES)
    plan = rounds(search, 9, 9_000)
    assert [(it.candidates, round(9_000 * it.share)) for it in plan] == [
        (9, 1_000), (3, 3_000), (1, 9_000),
    ]  # fmt: skip
    assert len(rounds(GRID, 9, 9_000)) == 1


def test_the_best_is_first_and_of_equals_the_one_that_was_first():
    tried = [Tried({"i": i}, (score, score), 0.0) for i, score in enumerate([0.5, 0.9, 0.9, 0.1])]
    assert [it.parameters["i"] for it in ranked(tried, greater_is_better=True)] == [1, 2, 0, 3]
    assert [it.parameters["i"] for it in ranked(tried, greater_is_better=False)] == [3, 0, 1, 2]
    assert Tried({}, (1.0, 3.0), 0.0).spread == pytest.approx(2**0.5)
