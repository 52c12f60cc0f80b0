import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.splits import is_test

KEYS = [f"customer-{i}" for i in range(20_000)]


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
def test_about_the_share_is_held_out(share: float) -> None:
    found = is_test(KEYS, share, seed=0).mean()
    assert abs(found - share) < 4 * np.sqrt(share * (1 - share) / len(KEYS))


def test_a_known_split_never_changes() -> None:
    """Another release of the line must hold out the same rows, or it would test on seen ones."""
    found = is_test(["a", "b", "c", "d", "ä", "", "a"], 0.5, seed=7).tolist()
    assert found == [False, False, False, True, True, False, False]


@given(st.lists(st.text(max_size=8)), st.lists(st.text(max_size=8)), st.integers(-99, 99))
def test_more_rows_move_no_row(old: list[str], new: list[str], seed: int) -> None:
    before = is_test(old, 0.3, seed)
    after = is_test(old + new, 0.3, seed)
    assert after[: len(old)].tolist() == before.tolist()
    assert len(after) == len(old) + len(new)


def test_a_larger_share_keeps_what_was_held_out() -> None:
    small, large = is_test(KEYS, 0.1, seed=3), is_test(KEYS, 0.4, seed=3)
    assert (large | ~small).all()


def test_seeds_split_independently() -> None:
    one, other = is_test(KEYS, 0.2, seed=1), is_test(KEYS, 0.2, seed=2)
    assert 0.03 < (one & other).mean() < 0.05
