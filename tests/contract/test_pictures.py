"""Explanations as they are written: pictures, notes and masks, on odd data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from build_kit import NOWHERE, lined, make, noise
from PIL import Image
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from andon.adapters import explaining, report
from andon.adapters.plots.binary import wilson
from andon.adapters.plots.style import MISSING, number, safe, short, tick
from andon.explanation import Explanation
from andon.spec import ModelSpec

# --- pictures, on odd data


def binary() -> dict[str, Any]:
    n = 400
    x, _rng = noise(n, 3), np.random.default_rng(5)
    yes = x[:, 0] + noise(n, seed=3)[:, 0] > 0
    plain = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": yes})
    filled = make_pipeline(SimpleImputer(keep_empty_features=True), LogisticRegression())
    return {
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
        "few rows": lambda: (plain[:16], LogisticRegression(), {"task": "binary"}),
    }


def classes() -> dict[str, Any]:
    n = 400
    x, _rng = noise(n, 3), np.random.default_rng(5)
    yes = x[:, 0] + noise(n, seed=3)[:, 0] > 0
    plain = pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": yes})
    return {
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
    }


def numbers() -> dict[str, Any]:
    n = 400
    x, rng = noise(n, 3), np.random.default_rng(5)
    yes = x[:, 0] + noise(n, seed=3)[:, 0] > 0
    pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "y": yes})
    return {
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


def odd(name: str) -> tuple[pl.DataFrame, Any, dict[str, Any]]:
    table, pipeline, given = {**binary(), **classes(), **numbers()}[name]()
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
    assert explaining.alike(report.subject(folder, spec, NOWHERE, 2_000)) == [
        ("a", "again", pytest.approx(1))
    ]
    (note,) = explained(folder, spec, tmp_path / "out").notes
    assert "a and again (1.00)" in note


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
