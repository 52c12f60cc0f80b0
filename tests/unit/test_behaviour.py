"""Each test of behaviour finds the model that has the fault, and passes the one that has not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from andon import behaviour
from andon.behaviour import Subject, directional, functional, invariant, robust
from andon.spec import Directional, Functionality, Invariance
from andon.verdict import Outcome, Verdict
from serving.bundle import Column

N = 300
COLUMNS = [Column("age", "number"), Column("income", "number"), Column("city", "category")]


def rows(n: int = N, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.uniform(20, 80, n),
            "income": rng.normal(3_000, 500, n),
            "city": pd.Series(rng.choice(["Bern", "Zürich"], n), dtype=object),
        }
    )


def sound(frame: pd.DataFrame) -> np.ndarray[Any, Any]:
    """Rises with age, looks at nothing else, and is never nonsense."""
    age = frame["age"].fillna(50).to_numpy(dtype=float)
    p = 1 / (1 + np.exp(-np.clip((age - 50) / 10, -50, 50)))
    return np.column_stack([1 - p, p])


def subject(scores: Callable[[pd.DataFrame], Any] = sound) -> Subject:
    def labels(frame: pd.DataFrame) -> np.ndarray[Any, Any]:
        return np.where(scores(frame)[:, 1] > 0.5, "yes", "no")

    return Subject(scores, labels, 1, COLUMNS)


def by_check(found: list[Verdict]) -> dict[str, Verdict]:
    return {it.check: it for it in found}


def failed(scores: Callable[[pd.DataFrame], Any]) -> set[str]:
    found = robust(subject(scores), rows(), seed=0)
    return {it.check for it in found if it.outcome is not Outcome.PASS}


def test_a_sound_model_passes_everything() -> None:
    assert failed(sound) == set()


def test_what_depends_on_its_neighbours_is_found() -> None:
    def ranked(frame: pd.DataFrame) -> Any:
        p = frame["age"].rank(pct=True).to_numpy() * 0.9
        return np.column_stack([1 - p, p])

    assert "a row alone as in a batch" in failed(ranked)


def test_what_depends_on_the_order_of_columns_is_found() -> None:
    def positional(frame: pd.DataFrame) -> Any:
        p = np.array([0.9 if isinstance(it, float) else 0.1 for it in frame.iloc[:, 0]])
        return np.column_stack([1 - p, p])

    assert failed(positional) == {"the order of rows and columns does not matter"}


@pytest.mark.parametrize("column", ["age", "city"])
def test_nonsense_for_what_was_never_seen_is_found(column: str) -> None:
    def garbage(frame: pd.DataFrame) -> Any:
        odd = frame[column].isin([behaviour.UNSEEN, 1e12]).to_numpy()
        p = np.where(odd, 17.0, 0.5)
        return np.column_stack([1 - p, p])

    name = "unseen categories" if column == "city" else "numbers out of any range"
    assert failed(garbage) == {name}


def test_a_refusal_is_an_answer_and_is_told() -> None:
    def strict(frame: pd.DataFrame) -> Any:
        if frame["city"].eq(behaviour.UNSEEN).any():
            raise ValueError("Found unknown categories")
        if (frame["age"] > 200).any():
            return np.full((len(frame), 2), np.nan)
        return sound(frame)

    found = by_check(robust(subject(strict), rows(), seed=0))
    assert {it.outcome for it in found.values()} == {Outcome.PASS}
    assert "Found unknown categories" in found["unseen categories"].detail
    assert "refused" in found["numbers out of any range"].detail


def test_no_columns_of_a_kind_is_no_test_of_it() -> None:
    only = replace(subject(), columns=COLUMNS[:2])
    assert "unseen categories" not in by_check(robust(only, rows().drop(columns="city"), seed=0))


@pytest.mark.parametrize(("column", "good"), [("age", False), ("city", True)])
def test_invariance(column: str, good: bool) -> None:
    found = invariant(subject(), rows(), Invariance(columns=(column,)), seed=0)
    assert (found.outcome is Outcome.PASS) == good, found


@pytest.mark.parametrize(("expect", "good"), [("up", True), ("down", False)])
@pytest.mark.parametrize("change", [{"add": 10.0}, {"set": 99.0}])
def test_direction(expect: Any, change: Any, good: bool) -> None:
    rule = Directional(column="age", expect=expect, **change)
    found = directional(subject(), rows(), rule)
    assert (found.outcome is Outcome.PASS) == good, found


def test_a_few_rows_may_move_the_other_way() -> None:
    def mostly(frame: pd.DataFrame) -> Any:
        scores = sound(frame)
        scores[frame["age"].to_numpy() > 89.9] = 0.0  # those that were above 79.9
        return scores

    frame = rows()
    frame.loc[:4, "age"] = 79.95
    share = float((frame["age"] > 79.9).mean())
    for allowed in (share + 0.001, share - 0.001):
        rule = Directional(column="age", add=10.0, expect="up", share=allowed)
        found = directional(subject(mostly), frame, rule)
        assert (found.outcome is Outcome.PASS) == (allowed > share)
        assert found.value == pytest.approx(share)


@pytest.mark.parametrize(
    ("rule", "good"),
    [
        ({"row": {"age": 79}, "label": "yes"}, True),
        ({"row": {"age": 79}, "label": "no"}, False),
        ({"row": {"age": 79}, "at_least": 0.9}, True),
        ({"row": {"age": 79}, "at_most": 0.9}, False),
        ({"row": {"age": 20}, "at_least": 0.0, "at_most": 0.1}, True),
        ({"row": {"shoes": 44}, "label": "yes"}, False),
        ({"row": {"age": 79}}, False),
    ],
)
def test_functionality(rule: Any, good: bool) -> None:
    found = functional(subject(), rows(1), Functionality(name="old people", **rule))
    assert (found.outcome is Outcome.PASS) == good, found


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Directional(column="age", expect="up"), "either `add` or `set`"),
        (Directional(column="age", add=1, set=2, expect="up"), "either `add` or `set`"),
        (Directional(column="city", add=1, expect="up"), "no numbers"),
        (Directional(column="town", add=1, expect="up"), "found town, the features are age"),
    ],
)
def test_a_rule_that_makes_no_sense_says_so(rule: Directional, said: str) -> None:
    found = directional(subject(), rows(), rule)
    assert found.outcome is Outcome.FAIL
    assert said in found.detail


@pytest.mark.parametrize(("kept", "good"), [(1.0, True), (0.8, True), (0.1, False)])
def test_what_nulls_may_cost(kept: float, good: bool) -> None:
    """An accuracy of 0.9 before, a constant's of 0.5, and `kept` of the gain after."""
    rng = np.random.default_rng(0)
    before, after = rng.random(2_000) < 0.9, rng.random(2_000) < 0.5 + 0.4 * kept
    found = behaviour.keeps_its_gain(
        lambda it: before[it].mean(), lambda it: after[it].mean(), 2_000,
        constant=0.5, share=0.5, seed=0,
    )  # fmt: skip
    assert (found.outcome is Outcome.PASS) == good, found
    assert found.value == pytest.approx(kept, abs=0.1)


def test_nulls_are_spread_over_all_columns_and_keep_their_types() -> None:
    frame = rows()
    poked = behaviour.with_nulls(frame, seed=1)
    assert poked.dtypes.to_dict() == frame.dtypes.to_dict()
    assert (poked.isna().mean() - 0.1).abs().max() < 4 * np.sqrt(0.1 * 0.9 / N)
    assert poked.dropna().equals(frame.loc[poked.dropna().index])
