"""Files of rows, read as one table in canonical form: sorted columns, few types, no NaN."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import polars as pl

from andon.errors import DataError, first_line
from serving.bundle import Kind

FLOAT_EXACT = 2**53  # beyond it, not every integer is a float64
_SHOWN = 10  # columns in a message


@dataclass(frozen=True)
class Part:
    """One file of rows; `shown` is how a person knows it."""

    path: Path
    shown: str


@dataclass(frozen=True)
class _Scanned:
    part: Part
    frame: pl.LazyFrame
    types: dict[str, pl.DataType | None]  # none: no value in it that would have a type


def read(path: Path) -> pl.LazyFrame:
    """A Parquet or CSV file (by its ending), in canonical form; raises DataError.

    Canonical: columns sorted by name; 64-bit numbers, text for categories, naive UTC for times,
    null (not NaN) for what is missing.
    """
    return read_parts([Part(path, str(path))])


def read_parts(parts: Sequence[Part]) -> pl.LazyFrame:
    """Files with equal columns as one table, in their order; integers may meet numbers.

    Raises DataError that names the file and the column that do not fit the others.
    """
    scanned = [_scanned(part) for part in parts]
    if len(scanned) == 1:
        return scanned[0].frame
    _demand_equal_names(scanned)
    types = _unified(scanned)
    casts = [pl.col(name).cast(dtype) for name, dtype in types.items()]
    return pl.concat([it.frame.with_columns(casts) for it in scanned])


def culprit(parts: Sequence[Part], error: Exception) -> DataError:
    """A failed reading, with the name of the file that cannot be read to its end."""
    for part in parts if len(parts) > 1 else ():
        try:
            for _ in _scanned(part).frame.collect_batches(lazy=True):
                pass
        except DataError as found:
            return found
        except (pl.exceptions.PolarsError, OSError) as found:
            return DataError(f"{part.shown}: cannot be read to its end: {_why(part, found)}")
    return DataError(f"{parts[0].shown}: cannot be read to its end: {_why(parts[0], error)}")


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


def _scanned(part: Part) -> _Scanned:
    what = "CSV" if part.path.suffix == ".csv" else "Parquet"
    try:
        frame = _scan(part)
        schema = frame.collect_schema()
    except FileNotFoundError:
        raise DataError(f"{part.shown}: no such file") from None
    except pl.exceptions.DuplicateError:
        raise _twice(part, _parquet_names(part.path)) from None
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{part.shown}: not a readable {what} file: {_why(part, error)}") from None
    unnamed = [f"{place}" for place, name in enumerate(schema, 1) if not name.strip()]
    if unnamed:
        raise DataError(f"{part.shown}: columns without a name: number {', '.join(unnamed)}")
    kinds(schema, file=part.shown)
    canonical = frame.select(_canonical(name, schema[name]) for name in sorted(schema))
    types = canonical.collect_schema()
    told = {name: None if schema[name] == pl.Null else dtype for name, dtype in types.items()}
    return _Scanned(part, canonical, told)


def _scan(part: Part) -> pl.LazyFrame:
    path = part.path
    if path.suffix == ".parquet":
        if not path.is_file():
            raise FileNotFoundError(path)
        return pl.scan_parquet(path, glob=False)
    if path.suffix != ".csv":
        raise DataError(f"{part.shown}: ends in {path.suffix!r}, wanted .parquet or .csv")
    with path.open(encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file), [])
    if len(set(header)) < len(header):
        raise _twice(part, header)
    _demand_whole_last_row(part, len(header))
    return pl.scan_csv(path, try_parse_dates=True, infer_schema_length=None, glob=False)


def _twice(part: Part, names: Sequence[str]) -> DataError:
    twice = sorted({name for name in names if names.count(name) > 1})
    return DataError(f"{part.shown}: columns stand twice: {', '.join(map(repr, twice))}")


def _parquet_names(path: Path) -> list[str]:
    import pyarrow.parquet as pq

    return list(pq.read_schema(path).names)


def _demand_whole_last_row(part: Part, columns: int) -> None:
    """A file that was cut off in its last row: Polars would fill that row up with nulls."""
    with part.path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - (1 << 16)))
        _, newline, last = file.read().rpartition(b"\n")
    if newline and last.strip() and b'"' not in last and last.count(b",") + 1 < columns:
        raise DataError(
            f"{part.shown}: cut off: the last row has {last.count(b',') + 1} of {columns} columns"
        )


def _why(part: Part, error: Exception) -> str:
    said = first_line(error)
    if isinstance(error, UnicodeDecodeError) or "utf-8" in said.lower():
        return _not_utf8(part.path) or said
    if "as dtype `date" in said:
        return f"{said}; write all dates of a column in one form, best as 2026-11-23"
    if "i64" in said or "`i128`" in said:
        return f"{said}: integers beyond 64 bits; if they are ids, store them as text"
    return said


def _not_utf8(path: Path) -> str | None:
    """Line and column of the first byte that is no UTF-8."""
    names: list[str] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                before = line[: error.start].decode("latin-1")
                place = max(1, len(next(csv.reader([before]), [])))
                name = names[place - 1] if place <= len(names) else place
                return f"line {number}, column {name!r}: not UTF-8; convert the file to UTF-8"
            names = names or next(csv.reader([text]), [])
    return None


def _demand_equal_names(scanned: Sequence[_Scanned]) -> None:
    first = scanned[0]
    for it in scanned[1:]:
        lacks, more = first.types.keys() - it.types.keys(), it.types.keys() - first.types.keys()
        said = [f"{word} {_listed(names)}" for word, names in _words(lacks, more) if names]
        if said:
            raise DataError(
                f"{it.part.shown}: {' and '.join(said)}, unlike {first.part.shown}; "
                "files of one data set need equal columns"
            )


def _words(lacks: set[str], more: set[str]) -> list[tuple[str, set[str]]]:
    return [("lacks the columns", lacks), ("has the columns", more)]


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    dots = ", …" if len(ordered) > _SHOWN else ""
    return ", ".join(map(repr, ordered[:_SHOWN])) + dots


def _unified(scanned: Sequence[_Scanned]) -> dict[str, pl.DataType]:
    """The type of each column that all files can have without losing a digit."""
    found: dict[str, pl.DataType] = {}
    widened = []
    for name in scanned[0].types:
        given = [(it, dtype) for it in scanned if (dtype := it.types[name]) is not None]
        types = {dtype for _, dtype in given}
        if len(types) > 1 and pl.String() in types:  # in CSV, nothing but nulls is text too
            given = [(it, dtype) for it, dtype in given if not _is_void(it, name, dtype)]
            types = {dtype for _, dtype in given}
        if types == {pl.Int64(), pl.Float64()}:
            widened.append(name)
            found[name] = pl.Float64()
        elif len(types) > 1:
            raise _conflict(name, given)
        else:
            found[name] = next(iter(types), pl.String())
    for it in scanned:
        _demand_exact(it, [name for name in widened if it.types[name] == pl.Int64()])
    return found


def _is_void(it: _Scanned, name: str, dtype: pl.DataType) -> bool:
    if it.part.path.suffix != ".csv" or dtype != pl.String:
        return False
    return bool(it.frame.select(pl.col(name).is_null().all()).collect().item())


def _conflict(name: str, given: Sequence[tuple[_Scanned, pl.DataType]]) -> DataError:
    first, usual = given[0]
    other, dtype = next((it, dtype) for it, dtype in given if dtype != usual)
    return DataError(
        f"{other.part.shown}: column {name!r} is {_kind(dtype)}, but {_kind(usual)} in "
        f"{first.part.shown}"
    )


def _demand_exact(it: _Scanned, names: list[str]) -> None:
    if not names:
        return
    low, high = (
        it.frame.select(way).collect().row(0) for way in (pl.col(names).min(), pl.col(names).max())
    )
    lossy = [
        name
        for name, a, b in zip(names, low, high, strict=True)
        if max(abs(a or 0), abs(b or 0)) > FLOAT_EXACT
    ]
    if lossy:
        raise DataError(
            f"{it.part.shown}: {_listed(lossy)}: integers beyond 2**53, and fractions in other "
            "files: they would lose digits; if they are ids, store them as text"
        )


def _kind(dtype: pl.DataType) -> Kind | None:
    if dtype.is_integer() or (isinstance(dtype, pl.Decimal) and dtype.scale == 0):
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
    column, kind = pl.col(name), _kind(dtype)
    if kind == "integer":
        return column if dtype == pl.Int64 else column.cast(pl.Int64)
    if kind == "number":
        return column.cast(pl.Float64).fill_nan(None)
    if isinstance(dtype, pl.Datetime):
        utc = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return (utc if dtype.time_zone else column).cast(pl.Datetime("us"))
    return column.cast(pl.String) if kind == "category" else column
