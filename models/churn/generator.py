"""Customers of a telephone company that does not exist, and whether they leave: seeded rows.

The rows look like a business: numbers with nulls, categories with a rare one, booleans, dates,
a time column. Nulls mean something here and there (who is unhappy does not answer surveys), and
the passing of time alone shifts no feature, so that a monitor which alarms without `drift` is
wrong. The same arguments give the same rows; floats are rounded, so that files are equal too.

    rows(1_000, seed=1)                                      # like the training data
    rows(1_000, seed=1, drift=Drift.COVARIATE)               # other customers, same reasons
    rows(1_000, seed=1, drift=Drift.CONCEPT)                 # same customers, other reasons
    rows(1_000, seed=1, drift=Drift.COVARIATE | Drift.CONCEPT)  # both: retraining helps
    label_times(table, seed=1, days=14)                      # when each label is known
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import Flag, auto
from typing import Any

import numpy as np
import polars as pl

START = datetime(2026, 1, 1)
STEP = timedelta(minutes=5)
REFERENCE = date(2026, 1, 1)

PLANS = ("basic", "standard", "premium", "legacy")
REGIONS = ("north", "east", "south", "west", "capital", "islands")
PAYMENTS = ("card", "transfer", "invoice", "wallet")


class Drift(Flag):
    """What has changed since the training data; kinds combine with `|`."""

    NONE = 0
    COVARIATE = auto()
    """Younger, newer customers on dearer plans, who use more data and rarely call."""
    CONCEPT = auto()
    """A rival's cheap data plan: price and data use decide now, support calls no longer."""
    RENAMED_COLUMN = auto()
    """`monthly_charge` is called `monthly_fee`."""
    MISSING_COLUMN = auto()
    """`support_calls` is gone."""
    WRONG_TYPE = auto()
    """`age` is text."""


def rows(
    n: int,
    *,
    seed: int,
    drift: Drift = Drift.NONE,
    start: datetime = START,
) -> pl.DataFrame:
    """`n` customers with their labels, one every five minutes from `start` on."""
    rng = np.random.default_rng(seed)
    shifted = Drift.COVARIATE in drift
    values = _people(rng, n, shifted) | _usage(rng, n, shifted)
    score = _new_reasons(values) if Drift.CONCEPT in drift else _reasons(values)
    noise = rng.random(n)
    churned = noise < 1.0 / (1.0 + np.exp(-score))
    _forget(rng, values, churned)
    table = _table(values, churned, seed=seed, start=start)
    return _broken(table, drift)


def label_times(table: pl.DataFrame, *, seed: int, days: float = 14.0) -> pl.Series:
    """When the label of each row becomes known: after `observed_at`, `days` on average."""
    rng = np.random.default_rng([seed, 1])
    delay = np.round(rng.gamma(4.0, days / 4.0, table.height) * 86_400).astype(np.int64)
    return (table["observed_at"] + pl.Series(delay * 1_000_000).cast(pl.Duration("us"))).alias(
        "label_at"
    )


def _people(rng: np.random.Generator, n: int, shifted: bool) -> dict[str, Any]:
    tenure = rng.gamma(1.6, 11.0 if shifted else 22.0, n)
    plans = [0.22, 0.33, 0.447, 0.003] if shifted else [0.45, 0.35, 0.197, 0.003]
    return {
        "age": np.clip(np.round(rng.normal(38 if shifted else 46, 14, n)), 18, 95),
        "region": rng.choice(6, n, p=[0.22, 0.18, 0.2, 0.15, 0.22, 0.03]),
        "tenure": np.clip(np.round(tenure * 30.4), 1, 6_000),
        "plan": rng.choice(4, n, p=plans),
        "payment": rng.choice(4, n, p=[0.45, 0.3, 0.17, 0.08]),
        "autopay": rng.random(n) < 0.6,
        "paperless": rng.random(n) < (0.75 if shifted else 0.55),
    }


def _usage(rng: np.random.Generator, n: int, shifted: bool) -> dict[str, Any]:
    charge = rng.normal(0, 1, n)
    data = rng.normal(0, 1, n)
    return {
        "charge_z": charge,
        "data_z": data,
        "charge": np.exp(3.6 + (0.2 if shifted else 0.0) + 0.35 * charge),
        "data": np.exp(2.2 + (0.5 if shifted else 0.0) + 0.8 * data),
        "calls": rng.poisson(0.8 if shifted else 1.4, n),
        "late": rng.poisson(0.5, n),
        "satisfaction": np.clip(rng.normal(3.6, 0.9, n), 1, 5),
        "devices": 1 + rng.poisson(0.9, n),
    }


def _reasons(v: dict[str, Any]) -> Any:
    """Log-odds of leaving: bad service, late payments, a short time with us."""
    return (
        -2.2
        + 0.85 * (v["calls"] - 1.4)
        - 1.3 * (v["satisfaction"] - 3.6)
        + 0.8 * (v["late"] - 0.5)
        - 0.6 * np.log(v["tenure"] / 700)
        + 0.3 * v["charge_z"]
        - 0.5 * v["autopay"]
        + np.array([0.3, 0.0, -0.3, 1.2])[v["plan"]]
        + np.array([0.0, 0.1, -0.1, 0.0, 0.2, -0.4])[v["region"]]
    )


def _new_reasons(v: dict[str, Any]) -> Any:
    """Log-odds of leaving once a rival sells data cheaply: price, data use, long contracts."""
    return (
        -1.8
        + 0.4 * (v["calls"] - 1.4)
        - 0.9 * (v["satisfaction"] - 3.6)
        + 0.4 * (v["late"] - 0.5)
        - 0.15 * np.log(v["tenure"] / 700)
        + 1.0 * v["charge_z"]
        + 1.3 * v["data_z"]
        - 0.03 * (v["age"] - 45)
        + np.array([-0.6, 0.0, 0.9, 1.2])[v["plan"]]
    )


def _forget(rng: np.random.Generator, v: dict[str, Any], churned: Any) -> None:
    """Adds a mask of nulls for each column that has some."""
    n = len(churned)
    v["no_age"] = rng.random(n) < 0.04
    v["no_data"] = rng.random(n) < 0.08
    v["no_satisfaction"] = rng.random(n) < np.where(v["satisfaction"] < 3.0, 0.4, 0.2)
    v["no_payment"] = rng.random(n) < 0.05
    v["no_autopay"] = rng.random(n) < 0.02


def _table(v: dict[str, Any], churned: Any, *, seed: int, start: datetime) -> pl.DataFrame:
    n = len(churned)
    signed = np.datetime64(REFERENCE, "D") - v["tenure"].astype("timedelta64[D]")
    return pl.DataFrame(
        {
            "customer_id": [f"C{seed:03d}-{i:07d}" for i in range(n)],
            "observed_at": pl.Series([start + STEP * i for i in range(n)], dtype=pl.Datetime("us")),
            "age": _nullable(v["age"].astype(np.int64), v["no_age"]),
            "region": pl.Series(np.array(REGIONS)[v["region"]]),
            "signed_on": pl.Series(signed),
            "plan": pl.Series(np.array(PLANS)[v["plan"]]),
            "payment": _nullable(np.array(PAYMENTS)[v["payment"]], v["no_payment"]),
            "autopay": _nullable(v["autopay"], v["no_autopay"]),
            "paperless": v["paperless"],
            "devices": v["devices"].astype(np.int64),
            "monthly_charge": np.round(v["charge"], 2),
            "data_gb": _nullable(np.round(v["data"], 2), v["no_data"]),
            "support_calls": v["calls"].astype(np.int64),
            "late_payments": v["late"].astype(np.int64),
            "satisfaction": _nullable(np.round(v["satisfaction"], 1), v["no_satisfaction"]),
            "churned": np.where(churned, "yes", "no"),
        }
    )


def _nullable(values: Any, missing: Any) -> pl.Series:
    return pl.select(
        pl.when(~pl.lit(pl.Series(missing))).then(pl.lit(pl.Series(values)))
    ).to_series()


def _broken(table: pl.DataFrame, drift: Drift) -> pl.DataFrame:
    if Drift.RENAMED_COLUMN in drift:
        table = table.rename({"monthly_charge": "monthly_fee"})
    if Drift.MISSING_COLUMN in drift:
        table = table.drop("support_calls")
    if Drift.WRONG_TYPE in drift:
        table = table.with_columns(pl.col("age").cast(pl.String) + " years")
    return table
