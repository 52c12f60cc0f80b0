"""Tables: from files to snapshots, frames, records and signatures."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import polars as pl

from andon.errors import DataError
from andon.profile import as_numbers
from andon.spec import ModelSpec
from serving.bundle import Column, Kind, Signature

if TYPE_CHECKING:
    import pandas as pd

SNAPSHOT = "data.parquet"
MANY_CATEGORIES = 1_000
# Fixed, so that one content has one sequence of bytes on any number of cores.
_ROW_GROUP = 50_000


@dataclass(frozen=True)
class SnapshotInfo:
    """A snapshot as written: canonical Parquet, its number of rows, and its columns' kinds."""

    path: Path
    rows: int
    columns: dict[str, Kind]


def read(path: Path) -> pl.LazyFrame:
    """A Parquet or CSV file (by its ending), in canonical types; raises DataError.

    Canonical: text for categories, naive UTC for times, null (not NaN) for what is missing.
    """
    try:
        scanned = _scan(path)
        schema = scanned.collect_schema()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        what = "CSV" if path.suffix == ".csv" else "Parquet"
        raise DataError(f"{path}: not a readable {what} file: {_first_line(error)}") from None
    kinds(schema, file=str(path))
    return scanned.with_columns(_canonical(name, dtype) for name, dtype in schema.items())


def write_snapshot(source: Path, folder: Path) -> SnapshotInfo:
    """Write `source` as canonical Parquet into `folder`; equal content gives equal bytes."""
    target = folder / SNAPSHOT
    try:
        table = read(source).collect()
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{source}: cannot be read to its end: {_first_line(error)}") from None
    if table.height == 0:
        raise DataError(f"{source}: 0 rows; nothing can be learned from it")
    write(table, target)
    return SnapshotInfo(target, table.height, kinds(table.schema))


def write(table: pl.DataFrame, path: Path) -> None:
    """Write Parquet whose bytes depend on the content alone; raises DataError on a full disk."""
    try:
        table.write_parquet(path, compression="zstd", row_group_size=_ROW_GROUP)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: cannot write: {_first_line(error)}") from None


def kinds(schema: Mapping[str, pl.DataType], *, file: str = "data") -> dict[str, Kind]:
    """The kind of each column; raises DataError with every column that has none."""
    found = {name: _kind(dtype) for name, dtype in schema.items()}
    bad = [f"{name} is {schema[name]}" for name, kind in found.items() if kind is None]
    if bad:
        raise DataError(
            f"{file}: columns of a type that no model can take: {', '.join(bad)}; "
            "use numbers, booleans, text or dates"
        )
    return cast(dict[str, Kind], found)


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
        return table.select(pl.struct(pl.all()).struct.json_encode()).to_series().to_list()
    return texts(table, spec.key, f"{spec.name}: key")


def texts(table: pl.DataFrame, column: str, role: str) -> list[str]:
    """A column that every row needs, as text; raises DataError if it, or a value, is missing."""
    if column not in table.columns:
        raise DataError(f"{role}: the data has no column {column!r}")
    found = table[column].cast(pl.String)
    if found.null_count():
        raise DataError(f"{role}: {found.null_count()} rows have no {column}")
    return found.to_list()


def _scan(path: Path) -> pl.LazyFrame:
    if path.suffix == ".parquet":
        if not path.is_file():
            raise FileNotFoundError(path)
        return pl.scan_parquet(path, glob=False)
    if path.suffix != ".csv":
        raise DataError(f"{path}: ends in {path.suffix!r}, wanted .parquet or .csv")
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file), [])
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{path}: columns stand twice: {', '.join(map(repr, twice))}")
    return pl.scan_csv(path, try_parse_dates=True, infer_schema_length=None, glob=False)


def _kind(dtype: pl.DataType) -> Kind | None:
    if dtype.is_integer():
        return "integer"
    if dtype.is_numeric():
        return "number"
    if dtype == pl.Boolean:
        return "boolean"
    if dtype in (pl.Date, pl.Datetime):
        return "date"
    # A column of nothing but nulls has no type; what it lacks is for validation to say.
    return "category" if dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null) else None


def _canonical(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if dtype.is_float():
        return column.fill_nan(None)
    if dtype.is_decimal():
        return column.cast(pl.Float64)
    if isinstance(dtype, pl.Datetime):
        utc = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return (utc if dtype.time_zone else column).cast(pl.Datetime("us"))
    return column.cast(pl.String) if _kind(dtype) == "category" else column


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
        raise DataError(f"column {name}: not {dtype}: {_first_line(error)}") from None


def _utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
