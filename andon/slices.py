"""Named parts of the held-out rows: does a challenger do harm on any?

All tests of an evaluation together alarm falsely in at most 5 % (Holm): one alarm stops a release,
so it is the chance of any that has to be small, and not the share of false ones among many
(Benjamini & Hochberg).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from andon import evidence
from andon.cuts import Coded
from andon.metrics import MetricInfo
from andon.paired import gain
from andon.resampling import RESAMPLES, Normal, Resampled
from andon.verdict import Outcome, Verdict

Array = NDArray[Any]
ALPHA = 0.05
_FEW_RESAMPLES = 200  # of metrics that are slow: enough for a spread, too few for tails


@dataclass(frozen=True)
class Rows:
    """The truth, and what each model says of it, as the metric takes them."""

    y: Array
    challenger: Array
    champion: Array | None = None

    def part(self, chosen: Array) -> Rows:
        """Some of the rows."""
        before = None if self.champion is None else self.champion[chosen]
        return Rows(self.y[chosen], self.challenger[chosen], before)


def named(
    info: MetricInfo,
    rows: Rows,
    columns: Iterable[Coded],
    *,
    margin: float,
    min_rows: int,
    seed: int,
) -> list[evidence.Slice]:
    """Every value of these columns with at least `min_rows` rows, worst first.

    With a champion, each is tested: fail if it is worse by more than `margin` (Holm's adjusted p
    value < 5 %), pass if its interval is above -`margin`, else inconclusive.
    """
    found = [
        measured(info, rows.part(chosen), [(it.name, value)], margin=margin, seed=seed)
        for it in columns
        for value, chosen in _values(it, min_rows)
    ]
    adjusted = iter(holm([it.p for it in found if it.p is not None]))
    judged = [it if it.p is None else _judged(it, next(adjusted), margin) for it in found]
    return sorted(judged, key=lambda it: _badness(info, it))


def _values(column: Coded, min_rows: int) -> Iterable[tuple[str, Array]]:
    counts = np.bincount(column.codes[column.codes >= 0], minlength=len(column.values))
    for code, value in enumerate(column.values):
        if counts[code] >= min_rows:
            yield value, np.flatnonzero(column.codes == code)


def _judged(it: evidence.Slice, p: float, margin: float) -> evidence.Slice:
    low = it.gain.low if it.gain else None
    safe = low is not None and low > -margin
    outcome = "fail" if p < ALPHA else "pass" if safe else "inconclusive"
    return msgspec.structs.replace(it, p=p, outcome=outcome)


def _badness(info: MetricInfo, it: evidence.Slice) -> tuple[float, float]:
    worst = float("inf")
    by_gain = it.gain.value if it.gain and it.gain.value is not None else worst
    return by_gain, worst if it.challenger is None else info.sign * it.challenger


def measured(
    info: MetricInfo,
    rows: Rows,
    conditions: Sequence[tuple[str, str]],
    *,
    margin: float,
    seed: int,
) -> evidence.Slice:
    """A slice with its p value of "not worse by more than the margin", if there is a champion."""
    value = info.of(rows.y, rows.challenger)
    champion, interval, p = None, None, None
    if rows.champion is not None:
        draws = RESAMPLES if info.rows is not None else _FEW_RESAMPLES
        seen = gain(info, rows.y, rows.champion, rows.challenger, seed=seed, resamples=draws)
        if seen is not None:
            law = seen.law
            if isinstance(law, Resampled) and draws < RESAMPLES:
                law = Normal(seen.value, float(law.draws.std()))
            champion, interval = seen.first, evidence.Interval(seen.value, *law.interval())
            p = 1 - law.at_most(-margin)
    return evidence.Slice(
        conditions=[evidence.Condition(*it) for it in conditions],
        named=True,
        n=len(rows.y),
        challenger=value if np.isfinite(value) else None,
        champion=champion,
        gain=interval,
        p=p,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values: below alpha are those that Holm rejects (Scand. J. Statist. 6, 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def verdict(found: list[evidence.Slice], *, margin: float, min_rows: int) -> Verdict:
    """No harm on the named slices: fails on evidence; inconclusive if none could be tested."""
    check, tested = "no harm on named slices", [it for it in found if it.p is not None]
    if not tested:
        detail = f"no named slice has {min_rows} rows on which the metric is defined"
        return Verdict(check=check, outcome=Outcome.INCONCLUSIVE, limit=-margin, detail=detail)
    failed = [it for it in tested if it.outcome == "fail"]
    unclear = sum(it.outcome == "inconclusive" for it in tested)
    worst_one = (failed or tested)[0]
    seen = worst_one.gain
    told = "worst" if not failed else f"{len(failed)} of {len(tested)} are worse; first"
    detail = (
        f"{told}: {text(worst_one)}, gain {seen.value if seen else float('nan'):+.4f} on "
        f"{worst_one.n:,} rows (adjusted p {worst_one.p:.3g}); {len(tested)} tested"
    )
    if unclear:
        detail += f", {unclear} of them too small to be told from the margin"
    return Verdict(
        check=check,
        outcome=Outcome.FAIL if failed else Outcome.PASS,
        value=seen.value if seen else None,
        limit=-margin,
        n=worst_one.n,
        detail=detail,
        evidence={"tested": len(tested), "inconclusive": unclear, "p": worst_one.p},
    )


def text(it: evidence.Slice) -> str:
    """`region = north and age = below 30`."""
    return " and ".join(f"{one.column} = {one.value}" for one in it.conditions)
