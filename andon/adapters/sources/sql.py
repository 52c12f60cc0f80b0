"""The rows of a query, read in pieces: no more of them are in memory than are written at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl

from andon.adapters.scans import FLOAT_EXACT, Part
from andon.errors import DataError, first_line
from andon.spec import SqlSource

ROWS, CELLS = 50_000, 2_000_000  # of one piece


def spool(source: SqlSource, folder: Path, tell: Any) -> list[Part]:
    """Run the query once, through a server-side cursor, and write its rows to files.

    Nothing is committed: a query that changes the database leaves it as it was.
    """
    import sqlalchemy as sa

    engine, where = _engine(source)
    try:
        with engine.connect() as connection:
            options = {"stream_results": True, "max_row_buffer": ROWS}
            text = source.query
            if engine.dialect.paramstyle in ("format", "pyformat"):
                text = text.replace("%", "%%")  # these drivers look for parameters after each
            result = connection.execution_options(**options).exec_driver_sql(text)
            if not result.returns_rows:
                raise DataError(f"source.query: gives no rows; it has to be a SELECT ({where})")
            return _pieces(result, folder, tell)
    except sa.exc.SQLAlchemyError as error:
        why = first_line(getattr(error, "orig", None) or error)
        raise DataError(f"source.query: {where} says: {why}") from None
    finally:
        engine.dispose()


def _engine(source: SqlSource) -> tuple[Any, str]:
    import sqlalchemy as sa

    text = os.environ.get(source.url_variable)
    if not text:
        raise DataError(
            f"source.url_variable: the environment has no {source.url_variable}; set it to the "
            "database's SQLAlchemy URL"
        )
    try:
        url = sa.engine.make_url(text)
        if url.drivername in ("postgres", "postgresql"):
            url = url.set(drivername="postgresql+psycopg")  # the driver that is here
        return sa.create_engine(url), url.render_as_string(hide_password=True)
    except sa.exc.NoSuchModuleError:
        raise DataError(
            f"${source.url_variable}: no such kind of database: {url.drivername}"
        ) from None
    except sa.exc.ArgumentError:  # its message would show the password
        raise DataError(f"${source.url_variable}: not an SQLAlchemy URL") from None
    except ImportError as error:
        raise DataError(f"${source.url_variable}: its driver is missing: {error}") from None


def _pieces(result: Any, folder: Path, tell: Any) -> list[Part]:
    names = [str(name) for name in result.keys()]  # noqa: SIM118
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"source.query: columns stand twice: {', '.join(twice)}; use AS")
    size = max(500, min(ROWS, CELLS // len(names)))
    parts: list[Part] = []
    done = 0
    for rows in result.partitions(size):
        shown = f"source.query, rows {done + 1:,} to {done + len(rows):,}"
        parts.append(_written(folder, len(parts), shown, _table(names, rows, shown)))
        done += len(rows)
        tell("reading rows", done, None)
    if not parts:
        empty = pl.DataFrame(schema=dict.fromkeys(names, pl.Null))
        parts.append(_written(folder, 0, "source.query", empty))
    return parts


def _written(folder: Path, number: int, shown: str, table: pl.DataFrame) -> Part:
    path = folder / f"{number:06}.parquet"
    try:
        table.write_parquet(path, compression="lz4")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: cannot write: {first_line(error)}") from None
    return Part(path, shown)


def _table(names: Sequence[str], rows: Sequence[Any], shown: str) -> pl.DataFrame:
    columns = zip(names, zip(*rows, strict=True), strict=True)
    return pl.DataFrame([_series(name, values, shown) for name, values in columns])


def _series(name: str, values: Sequence[Any], shown: str) -> pl.Series:
    """A column of one type, told by its values: drivers differ in what they tell of types."""
    types = {type(it) for it in values if it is not None}
    try:
        if types <= {int, float, Decimal}:
            return _numbers(name, values, types)
        if types == {bool}:
            return pl.Series(name, values, pl.Boolean)
        if types <= {str, UUID}:
            texts = [None if it is None else str(it) for it in values]
            return pl.Series(name, texts, pl.String)
        if types == {date}:
            return pl.Series(name, values, pl.Date)
        if types == {datetime}:
            return pl.Series(name, _naive(values), pl.Datetime("us"))
    except OverflowError:
        raise DataError(
            f"{shown}: column {name!r}: integers beyond 64 bits, or beyond 2**53 among "
            "fractions, which cannot be kept to the last digit; if they are ids, CAST them to text"
        ) from None
    said = " and ".join(sorted(it.__name__ for it in types))
    raise DataError(
        f"{shown}: column {name!r} is {said}; a column needs values of one type: numbers, "
        "booleans, text or dates. Use CAST"
    )


def _numbers(name: str, values: Sequence[Any], types: set[type]) -> pl.Series:
    if not types:
        return pl.Series(name, values, pl.Null)
    if float in types or not all(_whole(it) for it in values):
        if any(_loses_digits(it) for it in values):
            raise OverflowError
        floats = [None if it is None else float(it) for it in values]
        return pl.Series(name, floats, pl.Float64)
    whole = [None if it is None else int(it) for it in values]
    if any(it is not None and not -(2**63) <= it < 2**63 for it in whole):
        raise OverflowError
    return pl.Series(name, whole, pl.Int64)


def _whole(value: Any) -> bool:
    if not isinstance(value, Decimal):
        return True
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= 0


def _loses_digits(value: Any) -> bool:
    return (
        isinstance(value, int | Decimal)
        and _whole(value)
        and not -FLOAT_EXACT <= value <= FLOAT_EXACT
    )


def _naive(values: Iterable[datetime | None]) -> list[datetime | None]:
    """UTC without its name; a time without a zone is taken for UTC."""
    return [it.astimezone(UTC).replace(tzinfo=None) if it and it.tzinfo else it for it in values]
