"""A build's pipeline is only of trusted types, and the one that was fitted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from andon.adapters.builds import keep_fitted, read_fitted
from andon.adapters.files import file_hash
from andon.errors import DataError, LineError

CODE = "models/m/pipeline.py"


class Mine(LogisticRegression):
    """A class of the project's own."""


class Harm:
    """What a crafted file would hold."""


def fitted(*steps):
    x = np.arange(20.0).reshape(-1, 1)
    return make_pipeline(*steps).fit(x, x[:, 0] > 9)


@pytest.fixture
def folder(tmp_path) -> Path:
    """As the station leaves it."""
    made = tmp_path / "build"
    made.mkdir()
    keep_fitted(fitted(StandardScaler(), LogisticRegression()), made / "model.skops", CODE)
    facts = {"sha256": file_hash(made / "model.skops")}
    (made / "facts.json").write_text(json.dumps(facts))
    return made


@pytest.mark.parametrize(
    ("steps", "named"),
    [
        ((Mine(),), r"test_untrusted\.Mine"),
        ((FunctionTransformer(lambda x: x), LogisticRegression()), "lambda|<locals>"),
        ((FunctionTransformer(shutil.rmtree), Mine()), "rmtree|Mine"),
    ],
)
def test_a_type_that_is_not_trusted_stops_the_line_with_its_name(tmp_path, steps, named):
    pipeline = make_pipeline(*steps)
    with pytest.raises(LineError, match=named) as caught:
        keep_fitted(pipeline, tmp_path / "model.skops", CODE)
    assert str(caught.value).startswith(f"{CODE}: ")
    assert "use the classes of scikit-learn" in str(caught.value)


def test_what_was_fitted_is_read_again(folder):
    assert isinstance(read_fitted(folder), type(make_pipeline(None)))


def test_a_file_that_was_swapped_is_refused_before_it_is_loaded(folder):
    """One that would load, too: it is not what was evaluated."""
    for other in (fitted(LogisticRegression(C=9)), Harm()):
        skops.io.dump(other, folder / "model.skops")
        with pytest.raises(DataError, match=r"the one that was fitted has .* deliver again"):
            read_fitted(folder)


def test_a_build_of_an_earlier_andon_has_no_hash_and_still_only_trusted_types(folder):
    (folder / "facts.json").write_text("{}")
    assert read_fitted(folder)
    skops.io.dump(Harm(), folder / "model.skops")
    with pytest.raises(Exception, match=r"not trusted.*Harm"):
        read_fitted(folder)
