"""The reference profile: what the training data looked like, in counts that a window can match.

Bins are made once, from the reference. Reference and live windows are counted by the same
function over the same bins, so that their counts can be compared as they are:

    numbers, dates, booleans   below the range | about 20 quantile bins | above the range | null
    categories                 each of the 100 most frequent | known but rarer | unseen | null
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from andon.errors import DataError
from serving.bundle import Column, Kind
from serving.frame import microseconds_to_days

if TYPE_CHECKING:
    import polars as pl  # monitoring does without it

Counts = NDArray[np.int64]
Numbers = NDArray[np.float64]

BINS = 20
TOP = 100
RARE = 1_000
PARTS = 10


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One column: its bins (`edges`, or `top` and `rare`), and the counts of some rows in them.

    `counts` ends with the nulls. `mean`, `std`, `low` and `high` are of finite numbers only.
    """

    name: str
    kind: Kind
    edges: list[float] = []
    top: list[str] = []
    rare: list[str] = []
    counts: list[int] = []
    mean: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def n(self) -> int:
        """Rows counted, nulls included."""
        return sum(self.counts)

    @property
    def nulls(self) -> int:
        return self.counts[-1]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows with one value (as text) of a column, and the scores that a model gave them."""

    column: str
    value: str
    score: Feature

    @property
    def name(self) -> str:
        return f"{self.column}={self.value}"


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The features of `rows` rows, and the scores that a model gave (on rows it never saw).

    `parts`: the scores again, of the slices that the spec names.
    """

    rows: int
    features: list[Feature]
    score: Feature
    parts: list[Part] = []


def build(table: pl.DataFrame, columns: list[Column], scores: Numbers) -> Profile:
    """Make bins from reference rows and count them."""
    import polars as pl

    features = [_counted(_bins(c, _of(table, c.name)), _of(table, c.name)) for c in columns]
    said = pl.Series("score", scores, pl.Float64)
    score = _counted(_bins(Column("score", "number"), said), said)
    return Profile(table.height, features, score)


def parts_of(
    table: pl.DataFrame, scores: Numbers, names: Sequence[str], score: Feature, min_rows: int
) -> list[Part]:
    """Of each column that is named, the values with most rows, if they have `min_rows`.

    `scores` (n,) are those of the table's rows, counted over the bins of `score`. Columns of
    numbers and dates have no parts.
    """
    import polars as pl

    found = []
    for name in names:
        if name not in table.columns or not _has_parts(table[name].dtype):
            continue
        texts = table[name].cast(pl.String)
        values = (
            texts.drop_nulls().value_counts(name="n").sort(["n", name], descending=[True, False])
        )
        for value, n in values.head(PARTS).iter_rows():
            if n >= min_rows:
                mine = pl.Series("score", scores[(texts == value).fill_null(False).to_numpy()])
                found.append(Part(name, value, _counted(score, mine)))
    return found


def _has_parts(dtype: pl.DataType) -> bool:
    import polars as pl

    return dtype == pl.Boolean or isinstance(dtype, pl.String | pl.Categorical | pl.Enum)


def summarize(table: pl.DataFrame, profile: Profile, scores: Numbers) -> Profile:
    """Count other rows over the bins of `profile`; a column that is missing is all null."""
    import polars as pl

    features = [_counted(feature, _of(table, feature.name)) for feature in profile.features]
    score = _counted(profile.score, pl.Series("score", scores, pl.Float64))
    return Profile(table.height, features, score)


def feature_of(column: Column, values: pl.Series) -> Feature:
    """Make one column's bins from reference values and count them."""
    return _counted(_bins(column, values), values)


def recounted(feature: Feature, values: pl.Series) -> Feature:
    """Count other values over the bins of `feature`."""
    return _counted(feature, values)


def counts(feature: Feature) -> Counts:
    """Rows in each bin of a feature."""
    return np.array(feature.counts, dtype=np.int64)


def window_counts(feature: Feature, values: pl.Series) -> Counts:
    """Rows of `values` in each bin of a feature, aligned with `counts(feature)`."""
    if feature.kind == "category":
        return _category_counts(feature, values)
    floats = as_numbers(values)
    real = floats[~np.isnan(floats)]
    bins = np.searchsorted(np.array(feature.edges), real, side="right")
    found = np.bincount(bins, minlength=len(feature.edges) + 1)
    return np.append(found, len(floats) - len(real)).astype(np.int64)


def labels(feature: Feature) -> list[str]:
    """A name for each bin of a feature, for people."""
    if feature.kind == "category":
        return [*feature.top, "(rarer)", "(unseen)", "(null)"]
    if not feature.edges:
        return ["any value", "(null)"]
    inner = [f"{a:.6g} to {b:.6g}" for a, b in zip(feature.edges, feature.edges[1:], strict=False)]
    return [f"below {feature.edges[0]:.6g}", *inner, f"above {feature.edges[-1]:.6g}", "(null)"]


def as_numbers(values: pl.Series) -> Numbers:
    """A column of any kind but category as float64: dates in days since 1970, null as NaN."""
    import polars as pl

    if isinstance(values.dtype, pl.Datetime):
        since_epoch = values.cast(pl.Datetime("us")).cast(pl.Int64)
        # Not divided by Polars, which multiplies with the reciprocal: off by one bit from serving.
        days = microseconds_to_days(since_epoch.fill_null(0).to_numpy())
        return np.where(since_epoch.is_null().to_numpy(), np.nan, days)
    if isinstance(values.dtype, pl.Date):
        values = values.cast(pl.Int32)
    elif not (values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null)):
        raise DataError(f"column {values.name}: found {values.dtype}, expected numbers or dates")
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def to_json(profile: Profile) -> bytes:
    """For the bundle's `profile.json`; numbers survive to the last bit."""
    return msgspec.json.encode(profile)


def from_json(raw: bytes) -> Profile:
    """Raises DataError if it is no profile."""
    try:
        return msgspec.json.decode(raw, type=Profile)
    except msgspec.DecodeError as error:
        raise DataError(f"profile.json: {error}") from None


def _of(table: pl.DataFrame, name: str) -> pl.Series:
    import polars as pl

    if name in table.columns:
        return table[name]
    return pl.Series(name, [None] * table.height, pl.Null)


def _bins(column: Column, values: pl.Series) -> Feature:
    import polars as pl

    if column.kind == "category":
        texts = values.cast(pl.String).drop_nulls().value_counts(name="n")
        ranked: list[str] = texts.sort(["n", values.name], descending=[True, False])[
            values.name
        ].to_list()
        return Feature(column.name, column.kind, [], ranked[:TOP], ranked[TOP : TOP + RARE])
    floats = as_numbers(values)
    real = floats[np.isfinite(floats)]
    if not len(real):
        return Feature(column.name, column.kind)
    return Feature(column.name, column.kind, _edges(real).tolist())


def _edges(real: Numbers) -> Numbers:
    """Edges of bins that are closed on the left; the last edge is just above the highest value."""
    edges = np.unique(real)
    heavy = len(edges) <= BINS  # few values: a bin each
    if not heavy:
        steps = np.linspace(0, 1, BINS + 1)
        edges = np.unique(np.quantile(real, steps, method="inverted_cdf"))
        # A highest value that many rows have (a cap, a "99") gets a bin of its own too.
        heavy = bool((real == edges[-1]).mean() >= 0.5 / BINS)
    with np.errstate(over="ignore"):
        above = min(np.nextafter(edges[-1], np.inf), np.finfo(np.float64).max)
    return np.append(edges if heavy else edges[:-1], above)


def _counted(bins: Feature, values: pl.Series) -> Feature:
    found = {"counts": window_counts(bins, values).tolist()}
    if bins.kind == "category":
        return msgspec.structs.replace(bins, **found)
    floats = as_numbers(values)
    return msgspec.structs.replace(bins, **found, **_moments(floats[np.isfinite(floats)]))


def _moments(real: Numbers) -> dict[str, Any]:
    if not len(real):
        return {"mean": None, "std": None, "low": None, "high": None}
    with np.errstate(over="ignore", invalid="ignore"):
        found = {"mean": real.mean(), "std": real.std(), "low": real.min(), "high": real.max()}
    return {name: float(value) if np.isfinite(value) else None for name, value in found.items()}


def _category_counts(feature: Feature, values: pl.Series) -> Counts:
    import polars as pl

    found = np.zeros(len(feature.top) + 3, dtype=np.int64)
    rarer, unseen, null = len(feature.top), len(feature.top) + 1, len(feature.top) + 2
    places = {name: i for i, name in enumerate(feature.top)} | dict.fromkeys(feature.rare, rarer)
    texts = values.cast(pl.String).alias("value")
    for text, n in texts.value_counts(name="n").iter_rows():
        found[null if text is None else places.get(text, unseen)] += n
    return found
