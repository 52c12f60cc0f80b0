"""CPU, memory, file handles and disk: what is nearly used up, and what will be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from andon.spec import ResourceMonitor
from andon.trend import FEWEST, Trend, trend
from andon.verdict import Outcome, Verdict

FULL = 0.95  # of a limit: as good as used up


@dataclass(frozen=True)
class Series:
    """Readings of one figure, oldest first: (epoch seconds, value); `limit` in the same unit."""

    what: str
    readings: Sequence[tuple[float, float]]
    limit: float
    unit: str = "bytes"


def judge(series: Series, monitor: ResourceMonitor) -> Verdict:
    """Fails if it is used up by FULL, or grows beyond doubt and is used up within `full_within`."""
    check, n = f"resources: {series.what}", len(series.readings)
    if not n or not series.limit > 0:
        why = "no reading" if not n else "no limit is known"
        return Verdict(check=check, outcome=Outcome.INCONCLUSIVE, n=n, detail=why)
    times, values = (np.array(it, dtype=np.float64) for it in zip(*series.readings, strict=True))
    value = float(values[-1])
    share = value / series.limit
    found = trend(times, values)
    outcome, left = Outcome.PASS, math.inf
    detail = f"{_amount(value, series.unit)} of {_amount(series.limit, series.unit)}"
    if share >= FULL:
        outcome = Outcome.FAIL
        detail += ": as good as used up"
    elif found is None:
        detail += f"; {n} readings, a trend takes {FEWEST}"
    elif found.grows:
        left = found.seconds_left(value, series.limit)
        slowest = Trend(found.n, found.low, found.low, found.high, found.steady)
        if slowest.seconds_left(value, series.limit) < monitor.full_within:
            outcome = Outcome.FAIL
        detail += f"; grows, and is used up in {_time(left)}"
    evidence = {} if math.isinf(left) else {"seconds_left": left}
    return Verdict(
        check=check, outcome=outcome, value=share, limit=FULL, n=n, detail=detail,
        evidence=evidence,
    )  # fmt: skip


def _amount(value: float, unit: str) -> str:
    if unit != "bytes":
        return f"{value:,.0f} {unit}"
    for size, name in ((2**30, "GB"), (2**20, "MB")):
        if value >= size:
            return f"{value / size:,.1f} {name}"
    return f"{value / 1024:,.0f} kB"


def _time(seconds: float) -> str:
    for size, name in ((86_400, "days"), (3_600, "hours")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {name}"
    return f"{seconds / 60:,.0f} minutes"
