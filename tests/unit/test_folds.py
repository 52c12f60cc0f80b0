"""Folds: each row is scored once, what hangs together stays, nothing is learned from later."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.errors import DataError
from andon.folds import Folding, folds_of, share_of

RNG = np.random.default_rng(0)
Y = np.array(["a", "b", "b"])[np.arange(120) % 3]
GROUPS = RNG.integers(0, 17, 120)
TIMES = RNG.integers(0, 50, 120).astype(np.int64)


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 8))
@settings(max_examples=30, deadline=None)
def test_each_row_is_scored_once_and_never_learned_from_there(seed, count):
    for by in (Folding(), Folding(groups=GROUPS)):
        for classes in (True, False):
            folds = folds_of(Y, by, count, seed, classes=classes)
            assert len(folds) == count
            assert sorted(np.concatenate([scored for _, scored in folds])) == list(range(120))
            for learn, scored in folds:
                assert sorted([*learn, *scored]) == list(range(120))
                if by.groups is not None:
                    assert not set(GROUPS[learn]) & set(GROUPS[scored])


@pytest.mark.parametrize("by", [Folding(), Folding(groups=GROUPS)])
def test_the_seed_decides(by):
    def scored(seed: int) -> list[list[int]]:
        return [it.tolist() for _, it in folds_of(Y, by, 4, seed, classes=True)]

    assert scored(1) == scored(1)
    assert scored(1) != scored(2)


def test_classes_have_equal_shares():
    for _, scored in folds_of(Y, Folding(), 4, 0, classes=True):
        assert (Y[scored] == "a").sum() == 10


def test_by_time_the_past_is_learned_from_and_the_future_scored():
    folds = folds_of(Y, Folding(times=TIMES), 5, 0, classes=True)
    for learn, scored in folds:
        assert TIMES[learn].max() <= TIMES[scored].min()
    last = folds[-1]
    assert len(last[0]) + len(last[1]) == 120


@pytest.mark.parametrize(
    ("y", "by", "says"),
    [
        (Y[:7], Folding(), "found 7 rows to learn from, too few for 4"),
        (Y, Folding(groups=np.arange(120) % 3), "found 3 groups to learn from, wanted 4"),
        (np.array(["a"] * 3 + ["b"] * 20), Folding(), "only 3 rows to learn from are a"),
    ],
)
def test_too_few_rows_are_said_to_be_too_few(y, by, says):
    with pytest.raises(DataError, match=says):
        folds_of(y, by, 4, 0, classes=True)


@pytest.mark.parametrize("times", [None, TIMES])
def test_a_larger_share_holds_the_smaller(times):
    fold = (np.arange(100), np.arange(100, 120))
    parts = [share_of(fold, share, 7, latest=times) for share in (0.1, 0.3, 1.0)]
    assert [len(learn) for learn, _ in parts] == [10, 30, 100]
    for small, large in itertools.pairwise(parts):
        assert set(small[0]) <= set(large[0])
    if times is not None:
        assert times[parts[0][0]].min() >= np.sort(times[:100])[-10]
