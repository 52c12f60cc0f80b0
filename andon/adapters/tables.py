"""Tables: from files to snapshots, frames, records and signatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from andon.adapters.scans import Part, culprit, kinds, read, read_parts
from andon.errors import DataError, first_line
from andon.profile import as_numbers
from andon.spec import ModelSpec
from serving.bundle import Column, Kind, Signature

if TYPE_CHECKING:
    import pandas as pd

SNAPSHOT = "data.parquet"
MANY_CATEGORIES = 1_000
# Fixed, so that one content has one sequence of bytes on any number of cores.
_ROW_GROUP, _MIN_ROW_GROUP, _CELLS = 50_000, 1_000, 4_000_000
__all__ = [
    "MANY_CATEGORIES",
    "SNAPSHOT",
    "Part",
    "SnapshotInfo",
    "from_records",
    "keys",
    "kinds",
    "read",
    "read_parts",
    "records",
    "row_count",
    "signature",
    "texts",
    "training_frame",
    "write",
    "write_parts",
    "write_snapshot",
]


@dataclass(frozen=True)
class SnapshotInfo:
    """A snapshot as written: canonical Parquet, its number of rows, and its columns' kinds."""

    path: Path
    rows: int
    columns: dict[str, Kind]


def write_snapshot(source: Path, folder: Path) -> SnapshotInfo:
    """Write `source` as canonical Parquet into `folder`; equal content gives equal bytes."""
    return write_parts([Part(source, str(source))], folder / SNAPSHOT)


def write_parts(parts: Sequence[Part], target: Path) -> SnapshotInfo:
    """Write files as one canonical Parquet file; equal rows give equal bytes, by any files.

    In bounded memory: the rows stream. Raises DataError; what is left at `target` then is no data.
    """
    table = read_parts(parts)
    schema = table.collect_schema()
    try:
        table.sink_parquet(
            target,
            compression="zstd",
            row_group_size=_row_group(len(schema)),
            maintain_order=True,
            engine="streaming",
        )
        rows = row_count(target)
    except (OSError, pl.exceptions.PolarsError) as error:
        if "os error" in str(error) or isinstance(error, OSError):
            raise DataError(f"{target}: cannot write: {first_line(error)}") from None
        raise culprit(parts, error) from None
    if rows == 0:
        shown = parts[0].shown + (f" and {len(parts) - 1} more" if len(parts) > 1 else "")
        raise DataError(f"{shown}: 0 rows; nothing can be learned from it")
    return SnapshotInfo(target, rows, kinds(schema))


def row_count(path: Path) -> int:
    """Rows of a Parquet file, from its footer."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def _row_group(columns: int) -> int:
    """Rows that are held at once: fewer of wide tables."""
    return max(_MIN_ROW_GROUP, min(_ROW_GROUP, _CELLS // columns))


def write(table: pl.DataFrame, path: Path) -> None:
    """Write Parquet whose bytes depend on the content alone; raises DataError on a full disk."""
    try:
        table.write_parquet(path, compression="zstd", row_group_size=_ROW_GROUP)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: cannot write: {first_line(error)}") from None


def signature(table: pl.DataFrame, spec: ModelSpec) -> Signature:
    """The features of a table, in its order, with what is seen in it."""
    known = kinds(table.schema)
    missing = sorted({*spec.not_features, *spec.slices.columns} - set(known))
    if missing:
        raise DataError(f"{spec.name}: model.yaml names columns that the data lacks: {missing}")
    names = [name for name in known if name not in spec.not_features]
    if not names:
        raise DataError(f"{spec.name}: no column is left as a feature")
    return Signature([_column(table[name], known[name]) for name in names])


def training_frame(table: pl.DataFrame, columns: list[Column]) -> pd.DataFrame:
    """What a pipeline is fitted on: float64 columns, and text in object columns (null: NaN).

    It is what the prediction server makes of the same rows as JSON.
    """
    import pandas as pd

    _demand(table, columns)
    return pd.DataFrame(
        {
            # The explicit dtype keeps pandas from inferring one of its own for text.
            c.name: pd.Series(_values(table[c.name], c), dtype=_dtype(c), copy=False)
            for c in columns
        }
    )


def target(table: pl.DataFrame, spec: ModelSpec) -> np.ndarray[Any, Any]:
    """The target as an array of labels (object) or values (float64); raises DataError on nulls."""
    column = table[spec.target]
    if column.null_count():
        raise DataError(f"target {spec.target}: {column.null_count()} rows have none")
    if spec.task == "regression":
        return column.cast(float).to_numpy()
    return np.asarray(column.to_list())


def records(table: pl.DataFrame, columns: list[Column]) -> list[dict[str, Any]]:
    """Rows as a client would send them: JSON values, dates as ISO text, null for missing."""
    _demand(table, columns)
    rows = table.select(c.name for c in columns).iter_rows(named=True)
    return [{name: _json(value) for name, value in row.items()} for row in rows]


def from_records(rows: list[dict[str, Any]], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Rows as a client sent them, as a table with this schema; what a row lacks is null."""
    return pl.DataFrame(
        {
            name: _typed(name, [row.get(name) for row in rows], dtype)
            for name, dtype in schema.items()
        }
    )


def keys(table: pl.DataFrame, spec: ModelSpec) -> list[str]:
    """What identifies each row: its key, or its whole content where there is no key."""
    if spec.key is None:
        # By place: a name may hold what JSON's keys may not.
        cells = [pl.col(name).alias(str(i)) for i, name in enumerate(sorted(table.columns))]
        return table.select(pl.struct(cells).struct.json_encode()).to_series().to_list()
    return texts(table, spec.key, f"{spec.name}: key")


def texts(table: pl.DataFrame, column: str, role: str) -> list[str]:
    """A column that every row needs, as text; raises DataError if it, or a value, is missing."""
    if column not in table.columns:
        raise DataError(f"{role}: the data has no column {column!r}")
    found = table[column].cast(pl.String)
    if found.null_count():
        raise DataError(f"{role}: {found.null_count()} rows have no {column}")
    return found.to_list()


def _column(values: pl.Series, kind: Kind) -> Column:
    nullable = values.null_count() > 0
    if kind == "category":
        seen = values.drop_nulls().cast(pl.String).unique().sort().to_list()
        return Column(values.name, kind, nullable, seen if len(seen) <= MANY_CATEGORIES else None)
    if kind == "boolean" or values.null_count() == len(values):
        return Column(values.name, kind, nullable)
    floats = as_numbers(values)
    low, high = float(np.nanmin(floats)), float(np.nanmax(floats))
    return Column(values.name, kind, nullable, None, low, high)


def _dtype(column: Column) -> Any:
    return object if column.kind == "category" else np.float64


def _values(values: pl.Series, column: Column) -> np.ndarray[Any, Any]:
    if column.kind != "category":
        return as_numbers(values)
    texts = values.cast(pl.String).to_numpy().astype(object)
    texts[values.is_null().to_numpy()] = float("nan")
    return texts


def _demand(table: pl.DataFrame, columns: list[Column]) -> None:
    missing = [c.name for c in columns if c.name not in table.columns]
    if missing:
        raise DataError(f"columns are missing: {', '.join(missing)}")


def _json(value: Any) -> Any:
    if isinstance(value, date | datetime):
        return value.isoformat()
    return None if isinstance(value, float) and np.isnan(value) else value


def _typed(name: str, values: list[Any], dtype: pl.DataType) -> pl.Series:
    try:
        if isinstance(dtype, pl.Date | pl.Datetime):
            parsed = [_utc(v) if isinstance(v, str) else v for v in values]
            return pl.Series(name, parsed, pl.Datetime("us")).cast(dtype)
        if dtype.is_float():
            values = [float(v) if isinstance(v, int) else v for v in values]
        elif dtype.is_integer():  # JSON has one kind of number: 5.0 is 5
            values = [int(v) if isinstance(v, float) and v.is_integer() else v for v in values]
        return pl.Series(name, values, dtype, strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise DataError(f"column {name}: not {dtype}: {first_line(error)}") from None


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
