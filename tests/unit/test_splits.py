import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.splits import by_hash, by_time

KEYS = [f"customer-{i}" for i in range(20_000)]


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_about_the_share_is_held_out(share: float) -> None:
    found = by_hash(KEYS, share, seed=0).mean()
    assert abs(found - share) < 4 * np.sqrt(share * (1 - share) / len(KEYS))


def test_a_known_split_never_changes() -> None:
    """Another release of the line must hold out the same rows, or it would test on seen ones."""
    found = by_hash(["a", "b", "c", "d", "ä", "", "a"], 0.5, seed=7).tolist()
    assert found == [False, False, False, True, True, False, False]


@given(st.lists(st.text(max_size=8)), st.lists(st.text(max_size=8)), st.integers(-99, 99))
def test_more_rows_move_no_row(old: list[str], new: list[str], seed: int) -> None:
    before = by_hash(old, 0.3, seed)
    after = by_hash(old + new, 0.3, seed)
    assert after[: len(old)].tolist() == before.tolist()
    assert len(after) == len(old) + len(new)


def test_a_larger_share_keeps_what_was_held_out() -> None:
    small, large = by_hash(KEYS, 0.1, seed=3), by_hash(KEYS, 0.4, seed=3)
    assert (large | ~small).all()


def test_seeds_split_independently() -> None:
    one, other = by_hash(KEYS, 0.2, seed=1), by_hash(KEYS, 0.2, seed=2)
    assert 0.03 < (one & other).mean() < 0.05


@given(st.lists(st.integers(-(10**15), 10**15), min_size=1), st.floats(0.05, 0.95))
def test_by_time_the_latest_are_held_out(times: list[int], share: float) -> None:
    found = by_time(np.array(times), share, None)
    assert found.any()
    late, early = np.array(times)[found], np.array(times)[~found]
    assert not len(early) or early.max() < late.min(), "and rows of one moment stay together"


@given(st.lists(st.integers(0, 10**6)), st.integers(0, 10**6))
def test_from_a_moment_on_more_rows_move_no_row(times: list[int], since: int) -> None:
    assert by_time(np.array(times, dtype=np.int64), 0.2, since).tolist() == [
        it >= since for it in times
    ]
