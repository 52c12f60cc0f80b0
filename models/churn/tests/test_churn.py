"""What the pipeline has to take, and what the generator promises."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

HERE = Path(__file__).resolve().parents[1]
PIPELINE = runpy.run_path(str(HERE / "pipeline.py"))
GENERATOR = runpy.run_path(str(HERE / "generator.py"))
Drift = GENERATOR["Drift"]


def frame(rows: int) -> tuple[pd.DataFrame, np.ndarray]:
    table = GENERATOR["rows"](rows, seed=3)
    numbers = ["age", "monthly_charge", "support_calls", "satisfaction"]
    made = pd.DataFrame({name: table[name].cast(float).to_numpy() for name in numbers})
    for name in PIPELINE["CATEGORIES"]:
        made[name] = pd.Series(table[name].to_list(), dtype=object).where(
            table[name].is_not_null().to_numpy(), np.nan
        )
    return made, table["churned"].to_numpy()


def test_an_unknown_category_counts_as_a_missing_one() -> None:
    made, churned = frame(2_000)
    model = PIPELINE["pipeline"]().fit(made, churned)
    row = made.head(1)
    missing = model.predict_proba(row.assign(plan=pd.Series([np.nan], dtype=object)))
    unknown = model.predict_proba(row.assign(plan=pd.Series(["platinum"], dtype=object)))
    assert unknown.tolist() == missing.tolist()


def test_the_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    rows = GENERATOR["rows"]
    assert rows(500, seed=1).equals(rows(500, seed=1))
    assert not rows(500, seed=1).equals(rows(500, seed=2))


def test_breaks_of_the_schema() -> None:
    rows, plain = GENERATOR["rows"], set(GENERATOR["rows"](10, seed=1).columns)
    renamed = set(rows(10, seed=1, drift=Drift.RENAMED_COLUMN).columns)
    assert plain ^ renamed == {"monthly_charge", "monthly_fee"}
    assert plain - set(rows(10, seed=1, drift=Drift.MISSING_COLUMN).columns) == {"support_calls"}
    broken = rows(10, seed=1, drift=Drift.WRONG_TYPE)
    assert broken["age"].drop_nulls().str.ends_with(" years").all()


def test_labels_come_after_the_fact_by_about_the_delay() -> None:
    table = GENERATOR["rows"](2_000, seed=1)
    known = GENERATOR["label_times"](table, seed=1, days=14.0)
    delays = (known - table["observed_at"]).dt.total_seconds() / 86_400
    assert delays.min() > 0
    assert delays.mean() == pytest.approx(14.0, abs=1.0)
