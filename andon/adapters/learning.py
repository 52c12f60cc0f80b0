"""The rows that a retraining learns from: labelled live ones, and the project's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from andon.adapters import dvc
from andon.adapters.inference_log import Spans, Window, read_labelled
from andon.errors import DataError
from andon.recency import chosen
from andon.settings import Settings
from andon.spec import ModelSpec

if TYPE_CHECKING:
    import polars as pl

LIVE = "live-"  # keys of live rows begin so


class TooFewLabels(DataError):
    """There are not as many labelled live rows as the spec wants."""


@dataclass(frozen=True)
class Gathered:
    """Rows to learn from, and what they are, for the snapshot's provenance."""

    table: pl.DataFrame
    told: str


def gather_rows(
    settings: Settings, spec: ModelSpec, environment: str, *, since: float, live: Spans,
    without: Sequence[tuple[float, float]] = (),
) -> Gathered:  # fmt: skip
    """The rows that `retraining.window` names, in order of time; `since`: when the drift began.

    `without`: times (epoch seconds) of which no row is taken. Raises TooFewLabels if there are not
    enough, DataError if the log lacks masked columns.
    """
    rules = spec.retraining
    whole = rules.window != "since_drift"
    window = _sound(
        read_labelled(settings, environment, spec.name, since=0.0 if whole else since, live=live),
        without,
    )
    fresh = [it for it in window.rows if it["time"] >= since]
    _demand(window, len(fresh), spec)
    base = _own(settings, spec)
    rows = live_table(spec, window, base.collect_schema())
    if rules.window == "sliding":
        rows = rows.tail(rules.sliding_rows)
    many = f"{rows.height:,} labelled live rows, {len(fresh):,} of them since {since:.0f}"
    if rules.window in ("since_drift", "sliding"):
        return Gathered(rows, f"window {rules.window}: {many}")
    table = _together(spec, base, rows)
    told = f"window {rules.window}: {many}, and {table.height - rows.height:,} of the project's own"
    if rules.window == "weighted":
        table = table.filter(chosen(table.height, rules.sliding_rows, spec.seed))
        told += f"; {table.height:,} taken, half as often if {rules.sliding_rows:,} rows older"
    return Gathered(table, told)


def _sound(window: Window, without: Sequence[tuple[float, float]]) -> Window:
    rows = tuple(
        it for it in window.rows if not any(begin <= it["time"] <= end for begin, end in without)
    )
    return replace(window, rows=rows)


def _demand(window: Window, fresh: int, spec: ModelSpec) -> None:
    if window.masked:
        raise DataError(
            f"live rows lack the columns that model.yaml's logging.mask leaves out of the log "
            f"({', '.join(sorted(window.masked))}), so nothing can be learned from them; deliver "
            "with new data instead, and let the monitors' action be notify"
        )
    if fresh < spec.retraining.min_rows or not window.rows:
        raise TooFewLabels(
            f"{fresh:,} labelled live rows since the alert's window began; "
            f"retraining.min_rows wants {spec.retraining.min_rows:,}"
        )


def _own(settings: Settings, spec: ModelSpec) -> pl.LazyFrame:
    from andon.adapters import tables

    return tables.read(dvc.fetch(settings.project, Path("models") / spec.name / spec.data))


def live_table(spec: ModelSpec, window: Window, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Labelled live rows, with those columns of a schema that were logged, target, key and time."""
    import polars as pl

    from andon.adapters import tables

    rows = [
        {
            **row["inputs"],
            spec.target: window.labels[row["id"]],
            **({spec.key: f"{LIVE}{row['id']}"} if spec.key else {}),
        }
        for row in window.rows
    ]
    # Versions may have other columns: of each a row.
    logged = {
        name
        for it in {row["version"]: row for row in window.rows}.values()
        for name in it["inputs"]
    }
    known = {name: it for name, it in schema.items() if name in {*logged, spec.target}}
    if spec.key:
        known[spec.key] = pl.String()
    table = tables.from_records(rows, known)
    if spec.time:
        times = pl.Series(spec.time, [row["time"] * 1e6 for row in window.rows]).cast(pl.Int64)
        table = table.with_columns(times.cast(pl.Datetime("us")))
    return table


def _together(spec: ModelSpec, base: pl.LazyFrame, live: pl.DataFrame) -> pl.DataFrame:
    """The project's own rows before the live ones, by time if they have one."""
    import polars as pl

    own = base.with_columns(pl.col(spec.key).cast(pl.String)) if spec.key else base
    if spec.time:
        own = own.sort(spec.time, nulls_last=False, maintain_order=True)
    return pl.concat([own.collect(), live], how="diagonal_relaxed")
