"""Which aliases a model has, whatever was released; parameters and the card in short."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from andon.registered import ALIASES, LONGEST_VALUE, Known, aliases_wanted, in_short, parameters


@pytest.mark.parametrize(
    ("versions", "production", "staging", "wanted"),
    [
        ("", "", "", {}),
        ("1", "", "", {"candidate": "1"}),
        ("1", "", "1", {"candidate": "1", "staging": "1"}),
        ("1", "1", "1", {"staging": "1", "champion": "1"}),
        ("21", "1", "21", {"candidate": "2", "staging": "2", "champion": "1"}),
        ("21", "21", "21", {"staging": "2", "champion": "2", "previous": "1"}),
        ("21", "121", "21", {"staging": "2", "champion": "1"}),
        ("321", "2321", "321", {"staging": "3", "champion": "2", "previous": "1"}),
        ("321", "11", "1", {"candidate": "3", "staging": "1", "champion": "1"}),
    ],
)
def test_the_ledger_decides_which_version_has_which_alias(versions, production, staging, wanted):
    known = Known(tuple(versions), tuple(production), tuple(staging))
    assert aliases_wanted(known) == wanted


histories = st.lists(st.sampled_from("123456"), max_size=12).map(tuple)


@given(production=histories, staging=histories)
def test_aliases_never_contradict_each_other(production, staging):
    found = aliases_wanted(Known(tuple("654321"), production, staging))
    assert set(found) <= set(ALIASES)
    assert found.get("champion") == (production[0] if production else None)
    assert found.get("candidate") not in production
    assert "champion" not in found or found["champion"] != found.get("previous")
    # A rollback, and one more, go back and never forth.
    if "previous" in found:
        further = aliases_wanted(Known((), (found["previous"], *production), ()))
        assert further.get("previous") != production[0]


def test_parameters_are_short_and_the_same_in_every_process():
    pipeline = make_pipeline(
        StandardScaler(),
        FunctionTransformer(lambda x: x),
        HistGradientBoostingClassifier(categorical_features=["a" * 500], learning_rate=0.1),
    )
    found = parameters(pipeline.get_params(deep=True))
    assert found["histgradientboostingclassifier__learning_rate"] == "0.1"
    assert found["histgradientboostingclassifier__max_depth"] == "None"
    assert found["standardscaler"] == "StandardScaler"
    assert "lambda" in found["functiontransformer__func"]
    assert not any(" at 0x" in it for it in found.values())
    assert max(map(len, found.values())) == LONGEST_VALUE


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float64(0.5), "0.5"),
        (np.arange(9), "ndarray"),
        ({"C": [1, 2.5]}, "{C: [1, 2.5]}"),
        (object, "object"),
        ("", ""),
    ],
)
def test_values_of_any_kind_have_a_text(value: Any, text: str):
    assert parameters({"any (thing)": value}) == {"any _thing_": text}


@given(card=st.text())
def test_a_card_in_short_is_its_beginning(card):
    found = in_short(card, lines=3, characters=50)
    assert len(found.splitlines()) <= 3
    assert len(found) <= 50
    assert "\n".join(card.strip().splitlines()).startswith(found)
