"""How a column is cut into slices."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

FEW_VALUES = 8  # so many different numbers are slices as they are
MOST_VALUES = 100  # of a column


@dataclass(frozen=True)
class Coded:
    """A column as slices: `codes` (n,) are places in `values`; -1: in none of them."""

    name: str
    values: list[str]
    codes: NDArray[np.int64]


def coded(column: pl.Series, *, most: int = MOST_VALUES, masked: bool = False) -> Coded:
    """Categories as they are (the `most` frequent), numbers and dates in quarters, nulls apart."""
    dtype = column.dtype
    ordered = dtype.is_numeric() or dtype in (pl.Date, pl.Datetime)
    if ordered and column.drop_nulls().n_unique() > FEW_VALUES:
        values, codes = _quarters(column)
    else:
        values, codes = _categories(column, most, ordered=ordered)
    nulls = column.is_null().to_numpy()
    if nulls.any():
        codes[nulls] = len(values)
    if masked:
        values = [f"masked {number}" for number in range(1, len(values) + 1)]
    return Coded(column.name, [*values, "null"] if nulls.any() else values, codes)


def _quarters(column: pl.Series) -> tuple[list[str], NDArray[np.int64]]:
    dates = not column.dtype.is_numeric()
    numbers = column.cast(pl.Datetime("us")).cast(pl.Int64) if dates else column
    x = numbers.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    edges = np.unique(np.nanquantile(x, (0.25, 0.5, 0.75)))
    edges = edges[edges > np.nanmin(x)]
    shown = [str(np.datetime64(int(it), "us"))[:10] if dates else f"{it:.6g}" for it in edges]
    if not shown:
        return ["any"], np.zeros(len(x), dtype=np.int64)
    between = [f"{low} to {high}" for low, high in pairwise(shown)]
    codes = np.searchsorted(edges, x, side="right").astype(np.int64)
    return [f"below {shown[0]}", *between, f"{shown[-1]} or more"], codes


def _categories(
    column: pl.Series, most: int, *, ordered: bool
) -> tuple[list[str], NDArray[np.int64]]:
    texts = column.cast(pl.String)
    counts = texts.drop_nulls().value_counts(sort=False).rename({column.name: "value"})
    counts = counts.sort(["count", "value"], descending=[True, False]).head(most)
    values = counts["value"].to_list()
    if ordered:
        values = sorted(values, key=_as_number)
    places = pl.DataFrame({"value": values, "code": np.arange(len(values), dtype=np.int64)})
    joined = pl.DataFrame({"value": texts}).join(
        places.cast({"value": pl.String}), on="value", how="left", maintain_order="left"
    )
    return values, joined["code"].fill_null(-1).to_numpy().copy()


def _as_number(text: str) -> tuple[float, str]:
    try:
        return float(text), text
    except ValueError:  # dates sort as text
        return 0.0, text
