"""From a snapshot to rows to learn from and rows held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from andon import leakage, splits
from andon.adapters import tables
from andon.errors import DataError
from andon.spec import GroupSplit, ModelSpec, TimeSplit
from andon.verdict import Outcome, Verdict
from serving.bundle import Signature

ROWS_AT_ONCE = 250_000


@dataclass(frozen=True)
class Parts:
    """Both parts of a table, with all its columns; the signature is of the rows to learn from."""

    learn: pl.DataFrame
    held_out: pl.DataFrame
    signature: Signature
    how: str
    verdicts: list[Verdict]


def split(table: pl.DataFrame, spec: ModelSpec) -> Parts:
    """Hold rows out as the spec says; raises DataError if a column for it is missing or has nulls.

    Both parts keep the order of the rows.
    """
    if spec.time is not None and spec.time not in table.columns:
        raise DataError(f"time: the data has no column {spec.time!r}")
    held, how = _held_out(table, spec)
    mask = pl.Series(held)
    learn, out = table.filter(~mask), table.filter(mask)
    both = Outcome.PASS if learn.height and out.height else Outcome.FAIL
    detail = f"{learn.height:,} rows to learn from, {out.height:,} held out, {how}"
    verdicts = [Verdict(check="both parts have rows", outcome=both, n=len(held), detail=detail)]
    signature = tables.signature(learn, spec)
    if both is Outcome.PASS:
        verdicts += _leaks(learn, out, [it.name for it in signature.columns], spec)
    return Parts(learn, out, signature, how, verdicts)


def _leaks(
    learn: pl.DataFrame, out: pl.DataFrame, features: list[str], spec: ModelSpec
) -> list[Verdict]:
    rule, by_time = spec.leakage, isinstance(spec.split, TimeSplit)
    found = [
        leakage.duplicates(learn, out, [*features, spec.target], rule),
        leakage.target_like(learn, out, features, spec.target, spec.task, rule),
    ]
    if spec.time is not None:
        found.append(leakage.time_travel(learn, out, features, spec.time, by_time=by_time))
    return found


def _held_out(table: pl.DataFrame, spec: ModelSpec) -> tuple[splits.Held, str]:
    plan = spec.split
    if isinstance(plan, TimeSplit):
        return _by_time(table, spec, plan)
    if isinstance(plan, GroupSplit):
        role, column = f"{spec.name}: split.column", plan.column
        return _by_hash(table, spec, lambda it: tables.texts(it, column, role)), (
            f"by the hash of {column}"
        )
    held = _by_hash(table, spec, lambda it: tables.keys(it, spec))
    return held, f"by the hash of {spec.key or 'the row'}"


def _by_hash(
    table: pl.DataFrame, spec: ModelSpec, keys: Callable[[pl.DataFrame], list[str]]
) -> splits.Held:
    """Some rows at a time: millions of Python texts would take more memory than the table."""
    parts = [
        splits.by_hash(keys(part), spec.split.share, spec.seed)
        for part in table.iter_slices(ROWS_AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.empty(0, dtype=bool)


def _by_time(table: pl.DataFrame, spec: ModelSpec, plan: TimeSplit) -> tuple[splits.Held, str]:
    if spec.time is None:
        raise DataError(f"{spec.name}: split.by: time needs `time`, the column that orders rows")
    column = table[spec.time]
    if column.null_count():
        raise DataError(f"{spec.name}: time: {column.null_count()} rows have no {spec.time}")
    if column.dtype not in (pl.Date, pl.Datetime):
        raise DataError(f"{spec.name}: time: {spec.time} is {column.dtype}, split.by needs dates")
    times = column.cast(pl.Datetime("us")).cast(pl.Int64).to_numpy()
    held = splits.by_time(times, plan.share, _microseconds(plan.since) if plan.since else None)
    first = times[held].min() if held.any() else None
    since = np.datetime64(int(first), "us") if first is not None else plan.since
    return held, f"from {since} on"


def _microseconds(moment: datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1e6)
