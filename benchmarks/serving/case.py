"""The case that every server is given: rows, three fitted pipelines, and what these answer.

15 mixed columns: nine numbers and three categories with nulls, two integers, a boolean. All of it
comes from fixed seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from serving.bundle import Column

TRAINING_ROWS = 20_000
EVALUATION_ROWS = 100_000
NULLS = 0.05
NUMBERS = (
    "age", "income", "balance", "monthly_fee", "usage_hours", "discount", "distance_km", "rating",
    "overdue",
)  # fmt: skip
INTEGERS = ("visits", "tickets")
FLAG = "paperless"
CATEGORIES = {
    "plan": ("basic", "family", "plus", "pro"),
    "region": tuple(f"region {number:02}" for number in range(12)),
    "channel": tuple(f"channel {number:02}" for number in range(30)),
}
COLUMNS = [
    *(Column(name, "number") for name in NUMBERS),
    *(Column(name, "integer", nullable=False) for name in INTEGERS),
    Column(FLAG, "boolean", nullable=False),
    *(Column(name, "category") for name in CATEGORIES),
]
KINDS = ("linear", "boosting", "forest")
Record = dict[str, Any]


@dataclass(frozen=True)
class Fitted:
    """A pipeline and its own answers on the evaluation rows: the truth for every server."""

    kind: str
    pipeline: Pipeline
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]


def rows(count: int, seed: int) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Rows as a practitioner has them in pandas, and their labels."""
    random = np.random.default_rng(seed)
    values: dict[str, Any] = {
        "age": random.uniform(18, 90, count).round(1),
        "income": random.lognormal(10.5, 0.6, count).round(2),
        "balance": random.normal(0, 2_000, count).round(2),
        "monthly_fee": random.gamma(3, 15, count).round(2),
        "usage_hours": random.exponential(20, count).round(3),
        "discount": random.beta(2, 8, count).round(4),
        "distance_km": (10 * random.weibull(1.2, count)).round(2),
        "rating": random.normal(3.5, 0.8, count).round(2),
        "overdue": random.pareto(3, count).round(4),
        "visits": random.poisson(4, count),
        "tickets": random.poisson(0.7, count),
        FLAG: random.random(count) < 0.6,
    }
    for name, known in CATEGORIES.items():
        values[name] = random.choice(np.array(known, dtype=object), count)
    signal = _signal(values)
    for name in (*NUMBERS, *CATEGORIES):
        values[name][random.random(count) < NULLS] = np.nan
    labels = (random.random(count) < 1 / (1 + np.exp(-signal))).astype(np.int64)
    frame = pd.DataFrame(values)
    return frame.astype(dict.fromkeys(CATEGORIES, "str")), labels


def _signal(values: dict[str, Any]) -> NDArray[np.float64]:
    plan = np.where(values["plan"] == "basic", 1.0, np.where(values["plan"] == "pro", -1.0, 0.0))
    region = np.array([int(it[-2:]) for it in values["region"]]) / 12
    late = np.log1p(values["overdue"]) * values["tickets"]
    habit = (values["usage_hours"] < 10) * (values["monthly_fee"] > 40)
    return (
        0.02 * (values["monthly_fee"] - 45) - 0.6 * (values["rating"] - 3.5) + plan + late
        + 1.2 * habit - 0.4 * values[FLAG] + np.sin(6 * region) - 0.1 * values["visits"] - 0.3
    )  # fmt: skip


def records(frame: pd.DataFrame) -> list[Record]:
    """Rows as a client sends them: null is None."""
    columns = [
        [None if value != value else value for value in frame[name].tolist()]  # noqa: PLR0124
        for name in frame.columns
    ]
    return [dict(zip(frame.columns, row, strict=True)) for row in zip(*columns, strict=True)]


def pipeline(kind: str) -> Pipeline:
    """As it is usually written; a null category is a category of its own."""
    counts = [*NUMBERS, *INTEGERS]
    hot = ("categories", OneHotEncoder(handle_unknown="ignore"), list(CATEGORIES))
    if kind == "linear":
        scaled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        columns = [("numbers", scaled, counts), hot, ("flag", "passthrough", [FLAG])]
        return make_pipeline(ColumnTransformer(columns), LogisticRegression(max_iter=1_000))
    if kind == "forest":
        filled = SimpleImputer(strategy="median")
        columns = [("numbers", filled, counts), hot, ("flag", "passthrough", [FLAG])]
        model = RandomForestClassifier(200, min_samples_leaf=5, n_jobs=1, random_state=0)
        return make_pipeline(ColumnTransformer(columns), model)
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = [("codes", codes, list(CATEGORIES))]
    front = ColumnTransformer(columns, remainder="passthrough")
    return make_pipeline(front, HistGradientBoostingClassifier(random_state=0))


def fit(kind: str, training: Any, evaluation: pd.DataFrame) -> Fitted:
    """Train one of KINDS, and let it answer the evaluation rows."""
    frame, labels = training
    fitted = pipeline(kind).fit(frame, labels)
    return Fitted(kind, fitted, fitted.predict_proba(evaluation), fitted.predict(evaluation))
