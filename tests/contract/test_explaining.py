"""What a fitted pipeline looks at: measured on real pipelines, and on odd data."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from PIL import Image
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from andon import training
from andon.adapters import explaining, report, tables
from andon.adapters.attribution import attribution
from andon.adapters.dependence import dependences
from andon.adapters.plots.binary import wilson
from andon.adapters.plots.style import MISSING, number, safe, short, tick
from andon.errors import LineError
from andon.explanation import Explanation
from andon.spec import ModelSpec
from serving.archive import dump

NOWHERE = Path("nowhere")  # no project is needed, but for a metric of its own


def make(folder: Path, table: pl.DataFrame, pipeline: Any, **given: Any) -> tuple[Path, ModelSpec]:
    """A build's folder, as training leaves it: three quarters of the rows are learned from."""
    spec = ModelSpec(name="x", data="x", **{"target": "y", **given})
    cut = table.height * 3 // 4
    learn, held_out = table[:cut], table[cut:]
    signature = tables.signature(learn, spec)
    y = tables.target(learn, spec)
    classes, positive = training.classes_of(y, spec.task, spec.positive)
    model = training.fit(pipeline, tables.training_frame(learn, signature.columns), y)
    folder.mkdir()
    held_out.write_parquet(folder / "held_out.parquet")
    dump(model, folder / "model.skops")
    (folder / "signature.json").write_bytes(msgspec.json.encode(signature))
    facts = {"classes": classes, "positive": positive}
    (folder / "facts.json").write_text(json.dumps(facts))
    return folder, spec


def subject(folder: Path, spec: ModelSpec, rows: int = 2_000) -> explaining.Subject:
    return report.subject(folder, spec, NOWHERE, rows)


def noise(n: int, columns: int = 1, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(n, columns))


def lined(n: int = 800, columns: int = 4) -> pl.DataFrame:
    """y = 3 a + b + chance; the others tell nothing."""
    x = noise(n, columns)
    names = ["a", "b", *(f"c{i}" for i in range(columns - 2))]
    y = 3 * x[:, 0] + x[:, 1] + noise(n, seed=1)[:, 0]
    return pl.DataFrame({**{name: x[:, i] for i, name in enumerate(names)}, "y": y})


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


# --- pictures, on odd data


def odd(name: str) -> tuple[pl.DataFrame, Any, dict[str, Any]]:
    n = 400
    x, rng = noise(n, 3), np.random.default_rng(5)
    yes = x[:, 0] + noise(n, seed=3)[:, 0] > 0
    filled = make_pipeline(SimpleImputer(keep_empty_features=True), LogisticRegression())
    plain = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": yes})
    cases: dict[str, Any] = {
        "one feature": lambda: (plain.select("a", "y"), LogisticRegression(), {"task": "binary"}),
        "constant and all null": lambda: (
            plain.with_columns(
                one=pl.lit(1.0), nothing=pl.lit(None, pl.Float64), none=pl.lit(None, pl.String)
            ).drop("none"),
            filled,
            {"task": "binary"},
        ),
        "one class is not held out": lambda: (
            pl.concat([plain[:300], plain.filter(~pl.col("y"))[:80]]),
            LogisticRegression(),
            {"task": "binary"},
        ),
        "a class that was never learned": lambda: (
            plain.with_columns(
                y=pl.Series(["u", "v", "w"] * 99 + ["u", "v", "w", *["new", "u"] * 50])
            ),
            LogisticRegression(),
            {"task": "multiclass"},
        ),
        "30 classes": lambda: (
            plain.with_columns(
                y=pl.Series([f"a class with a long name, {i % 30}" for i in range(n)])
            ),
            HistGradientBoostingClassifier(max_iter=2),
            {"task": "multiclass"},
        ),
        "names": lambda: (
            pl.DataFrame(
                {
                    "größe <b>$x_1$": x[:, 0],
                    "a | b\n`c` \\ \x07": x[:, 1],
                    "😀 名称 {0} %s": x[:, 2],
                    "целевой": np.where(yes, "はい", "$no|<i>"),
                }
            ),
            LogisticRegression(),
            {"task": "binary", "target": "целевой", "positive": "はい"},
        ),
        "few rows": lambda: (plain[:16], LogisticRegression(), {"task": "binary"}),
        "huge numbers": lambda: (
            pl.DataFrame({"a": x[:, 0] * 1e12, "y": np.exp(3 * x[:, 0]) * 1e9}),
            make_pipeline(StandardScaler(), Ridge()),
            {"task": "regression"},
        ),
        "one value": lambda: (
            pl.DataFrame({"a": x[:, 0], "y": np.full(n, 7.0)}),
            Ridge(),
            {"task": "regression"},
        ),
        "booleans, dates and integers": lambda: (
            pl.DataFrame(
                {
                    "f": rng.random(n) > 0.5,
                    "d": pl.Series(rng.integers(0, 20_000, n)).cast(pl.Date),
                    "i": rng.integers(0, 3, n),
                    "y": x[:, 0] + 5,
                }
            ),
            Ridge(),
            {"task": "regression"},
        ),
    }
    table, pipeline, given = cases[name]()
    return table, pipeline, given


ODD = (
    "one feature", "constant and all null", "one class is not held out",
    "a class that was never learned", "30 classes", "names", "few rows", "huge numbers",
    "one value", "booleans, dates and integers",
)  # fmt: skip


def explained(folder: Path, spec: ModelSpec, into: Path, champion: Any = None) -> Explanation:
    found = report.measured(folder, spec, NOWHERE)
    into.mkdir()
    report.write(*report.explain(folder, spec, NOWHERE, found, champion), into)
    return report.read(into)


@pytest.mark.parametrize("name", ODD)
def test_odd_data_is_explained_and_drawn(tmp_path, name):
    table, pipeline, given = odd(name)
    folder, spec = make(tmp_path / "b", table, pipeline, **given)
    found = explained(folder, spec, tmp_path / "out")
    assert len(found.importances.features) == table.width - 1
    assert {"importance", "scores"} <= {it.name for it in found.pictures}
    sizes = []
    for it in found.pictures:
        path = tmp_path / "out" / it.file
        sizes.append(path.stat().st_size)
        with Image.open(path) as image:
            assert (image.format, image.width) == ("PNG", 780), "twice a phone's width"
            assert len(set(image.convert("L").getdata())) > 10, "something is drawn"
        assert it.title
        assert any(sign.isdigit() for sign in it.alt), "its words have figures"
    assert max(sizes) < 150_000
    assert sum(sizes) < 600_000


def test_equal_builds_have_equal_pictures(tmp_path):
    folder, spec = make(tmp_path / "b", lined(), LinearRegression(), task="regression")
    for out in ("one", "two"):
        explained(folder, spec, tmp_path / out)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_the_champion_is_drawn_if_it_can_score_the_rows(tmp_path):
    table, pipeline, given = odd("constant and all null")
    folder, spec = make(tmp_path / "b", table, pipeline, **given)
    theirs, _ = make(tmp_path / "c", table.select("a", "y"), LogisticRegression(), **given)
    other, _ = make(tmp_path / "d", table.rename({"a": "gone"}), pipeline, **given)
    drawn = explained(folder, spec, tmp_path / "drawn", ("champion v3", theirs))
    assert "champion v3 has 0." in {it.name: it.alt for it in drawn.pictures}["roc"]
    for at, lost in enumerate((other, tmp_path / "nowhere")):
        found = explained(folder, spec, tmp_path / f"not drawn {at}", ("champion v3", lost))
        assert "champion v3 has" not in {it.name: it.alt for it in found.pictures}["roc"]
        assert any(it.startswith("champion v3 is not drawn: ") for it in found.notes)


def test_masked_values_are_not_shown(tmp_path):
    table, pipeline, given = odd("one feature")
    given = {**given, "reports": {"mask": ["a"]}}
    folder, spec = make(tmp_path / "b", table, pipeline, **given)
    found = explained(folder, spec, tmp_path / "out")
    assert found.dependence == ()
    assert "masked, so without a partial dependence: a" in found.notes
    hidden = spec.model_copy(update={"reports": spec.reports.model_copy(update={"mask": ("y",)})})
    found = explained(folder, hidden, tmp_path / "hidden")
    assert {it.name for it in found.pictures} == {"importance"}
    assert any("the target y is masked" in it for it in found.notes)


def test_columns_that_tell_the_same_are_named(tmp_path):
    twice = lined().with_columns(again=pl.col("a") * 2 + 1)
    folder, spec = make(tmp_path / "b", twice, Ridge(), task="regression")
    assert explaining.alike(subject(folder, spec)) == [("a", "again", pytest.approx(1))]
    (note,) = explained(folder, spec, tmp_path / "out").notes
    assert "a and again (1.00)" in note


def test_a_folder_that_is_no_build_is_an_error_of_ours(tmp_path):
    spec = SimpleNamespace(explanation=SimpleNamespace(rows=50), seed=0)
    with pytest.raises(LineError, match="nowhere"):
        report.measured(tmp_path / "nowhere", spec, NOWHERE)


def test_text_is_safe_to_draw():
    assert safe("größe $x$") == "größe $x$"
    assert safe("a\x07\ud800") == f"a{MISSING * 2}"
    assert short("a" * 30 + "b" * 30, 11) == "aaaaaaa…bbb"
    assert len(short("x" * 99, 20)) == 20


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0"), (0.12345, "0.123"), (123.4, "123"), (2_500_000, "2.5 million"), (np.nan, "unknown")],
)
def test_numbers_are_short(value, written):
    assert number(value) == written


def test_ticks_have_no_factor():
    assert [tick(it) for it in (0, 2.5e6, -3e5, 12_000, 0.05)] == [
        "0", "2.5 M", "\N{MINUS SIGN}300 k", "12,000", "0.05",
    ]  # fmt: skip


def test_wilson_s_interval_is_the_published_one():
    """Newcombe, Statistics in Medicine 17, 1998, table I: 81 of 263, 15 of 148, 0 of 20."""
    low, high = wilson(np.array([81 / 263, 15 / 148, 0]), np.array([263, 148, 20]))
    assert low == pytest.approx([0.2553, 0.0624, 0], abs=1e-4)
    assert high == pytest.approx([0.3662, 0.1605, 0.1611], abs=1e-4)
