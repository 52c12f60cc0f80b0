"""What a fitted pipeline looks at, measured on real pipelines."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from build_kit import NOWHERE, lined, make
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from andon.adapters import explaining, report
from andon.adapters.attribution import attribution
from andon.adapters.dependence import dependences
from andon.errors import LineError
from andon.spec import ModelSpec


def subject(folder: Path, spec: ModelSpec, rows: int = 2_000) -> explaining.Subject:
    return report.subject(folder, spec, NOWHERE, rows)


def test_importance_of_a_line_is_that_of_its_weights(tmp_path):
    folder, spec = make(tmp_path / "b", lined(4_000), LinearRegression(), task="regression")
    found = report.measured(folder, spec, NOWHERE)
    assert [it.name for it in found.features[:2]] == ["a", "b"]
    for it, weight in zip(found.features[:2], (3, 1), strict=True):
        assert it.value == pytest.approx(np.sqrt(1 + 2 * weight**2) - 1, rel=0.1)
    assert [it.matters for it in found.features] == [True, True, False, False]
    assert (found.rows, found.held_out, found.left_out) == (1_000, 1_000, ())
    assert report.measured(folder, spec, NOWHERE) == found, "the seed decides"
    other = report.measured(folder, spec.model_copy(update={"seed": 1}), NOWHERE)
    assert other != found


def test_of_many_columns_those_that_matter_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(explaining, "MOST", 8)
    folder, spec = make(tmp_path / "b", lined(1_600, 90), Ridge(50.0), task="regression")
    found = report.measured(folder, spec, NOWHERE)
    assert {"a", "b"} <= {it.name for it in found.features}
    assert len(found.features) <= 8
    assert found.rest is not None
    assert len(found.features) + len(found.rest_names) == 90
    assert found.rows == 200, "the half that did not choose"
    assert not found.rest.matters


def test_when_the_time_is_up_what_is_left_is_named(tmp_path):
    folder, spec = make(tmp_path / "b", lined(), LinearRegression(), task="regression")
    ticks = iter(range(1_000))
    found = explaining.importances(
        subject(folder, spec), seconds=3, clock=lambda: float(next(ticks))
    )
    assert [it.name for it in found.features] == ["a", "b"]
    assert found.left_out == ("c0", "c1")


def test_a_sample_is_a_part_of_the_rows_in_their_order(tmp_path):
    path = tmp_path / "held_out.parquet"
    pl.DataFrame({"at": range(200_000)}).write_parquet(path)
    rows, total = explaining.sample(path, 500, 7, columns=1)
    assert (rows.height, total) == (500, 200_000)
    assert rows["at"].is_sorted()
    assert rows["at"].n_unique() == 500
    assert rows.equals(explaining.sample(path, 500, 7, columns=1)[0])
    assert not rows.equals(explaining.sample(path, 500, 8, columns=1)[0])
    few, _ = explaining.sample(path, 100_000, 7, columns=40_000)
    assert few.height == 100, "of very many columns, fewer rows"


def test_dependence_of_a_line_is_the_line(tmp_path):
    folder, spec = make(tmp_path / "b", lined(), LinearRegression(), task="regression")
    it = subject(folder, spec)
    (found,) = dependences(it, ["a"])
    slope = np.polyfit(np.array(found.grid, dtype=float), found.mean[0], 1)[0]
    assert slope == pytest.approx(it.model.coef_[0])
    assert all(low <= mean <= high for low, mean, high in
               zip(found.low[0], found.mean[0], found.high[0], strict=True))  # fmt: skip


def test_categories_are_by_frequency_and_null_is_one(tmp_path):
    values = ["rare"] * 40 + ["often"] * 500 + [None] * 260
    table = lined().with_columns(
        pl.Series(
            "k", np.random.default_rng(0).permutation(np.array(values, dtype=object)).tolist()
        )
    )
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["k"]), remainder="passthrough"
    )
    folder, spec = make(
        tmp_path / "b", table, make_pipeline(encode, LinearRegression()), task="regression"
    )
    (found,) = dependences(subject(folder, spec), ["k"])
    assert found.grid == ("often", None, "rare")
    assert sum(found.share) == pytest.approx(1)


def test_shap_of_a_line_is_exact_and_by_column_of_the_data(tmp_path):
    kind = np.random.default_rng(2).choice(["u", "v"], 800).tolist()
    table = lined().with_columns(pl.Series("k", kind))
    encode = make_column_transformer(
        (OneHotEncoder(), ["k"]), (StandardScaler(), ["a", "b", "c0", "c1"])
    )
    folder, spec = make(
        tmp_path / "b", table, make_pipeline(encode, LinearRegression()), task="regression"
    )
    it = subject(folder, spec)
    found = attribution(it)
    assert (found.why, found.unit) == ("", "in the target's unit")
    assert {name for name, _ in found.values} == {"a", "b", "c0", "c1", "k"}
    assert found.values[0][0] == "a"
    scale, line = it.model[0].named_transformers_["standardscaler"], it.model[-1]
    by_hand = line.coef_[2] / scale.scale_[0] * (it.frame["a"] - it.frame["a"].mean())
    assert dict(found.values)["a"] == pytest.approx(np.abs(by_hand).mean())


def test_where_columns_are_mixed_there_are_no_shap_values(tmp_path):
    folder, spec = make(
        tmp_path / "b", lined(), make_pipeline(PCA(3), LinearRegression()), task="regression"
    )
    found = attribution(subject(folder, spec))
    assert found.values == ()
    assert "mixes columns" in found.why


def test_shap_of_trees_needs_its_package(tmp_path):
    forest = RandomForestRegressor(20, random_state=0)
    folder, spec = make(tmp_path / "b", lined(), forest, task="regression")
    found = attribution(subject(folder, spec))
    if found.why:
        assert "extra `shap`" in found.why
    else:
        assert [name for name, _ in found.values[:2]] == ["a", "b"]


def test_a_folder_that_is_no_build_is_an_error_of_ours(tmp_path):
    spec = SimpleNamespace(explanation=SimpleNamespace(rows=50), seed=0)
    with pytest.raises(LineError, match="nowhere"):
        report.measured(tmp_path / "nowhere", spec, NOWHERE)
