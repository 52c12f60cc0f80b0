"""A suite of expectations, proposed from what a table looks like.

Every proposal holds on the rows that it was made from, and says in `meta.notes` why it is there.
What the table is made of stops the line; a range, a category or a size that was only seen warns.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from andon.findings import hidden
from andon.spec import ModelSpec

Json = dict[str, Any]
Bound = int | float
FEW = 20  # more different texts than this are no categories
REPEATS = 5  # a category is seen this often, on average
MARGIN = 0.1  # of a range's width, on each side
NULLS = 0.05  # more than the share of nulls that was seen
# Beyond it, a number is not the same to every engine.
EXACT = 2**53


@dataclass(frozen=True)
class ColumnSummary:
    """What is to be known of a column; figures are of the values that are present.

    `type` is how the pandas engine of GX calls it; none if it has no one name for it.
    """

    name: str
    type: str | None
    nulls: int
    low: Bound | None = None  # numbers only; none if one of them is not finite
    high: Bound | None = None
    values: tuple[str, ...] | None = None  # every text there is, if there are few
    lengths: tuple[int, int] | None = None  # of texts, in characters
    regex: str | None = None  # that every text matches
    unique: bool = False
    increasing: bool = False


@dataclass(frozen=True)
class TableSummary:
    """The columns in the table's order."""

    rows: int
    columns: tuple[ColumnSummary, ...]


def proposed(table: TableSummary, spec: ModelSpec) -> list[Json]:
    """Expectations in GX's JSON; of masked columns none that shows a value."""
    found = _of_table(table)
    for column in table.columns:
        if not column.name:
            continue  # GX takes no column without a name
        found += _structure(column, table.rows, spec)
        present = table.rows - column.nulls
        if present and column.name not in hidden(spec):
            found += _content(column, present, spec)
    return found


def _of_table(table: TableSummary) -> list[Json]:
    names = [it.name for it in table.columns]
    rows = table.rows
    return [
        _expect(
            "table_columns_to_match_set",
            "stop",
            "the pipeline was made for these columns; a new one would be learned from",
            column_set=names,
            exact_match=True,
        ),
        _expect(
            "table_row_count_to_be_between",
            "warn",
            f"there were {rows:,} rows; half or twice as many are rather an incomplete or a "
            "doubled export",
            min_value=rows // 2,
            max_value=2 * rows,
        ),
    ]


def _structure(column: ColumnSummary, rows: int, spec: ModelSpec) -> list[Json]:
    name, found = column.name, []
    if column.type is not None and column.nulls < rows:
        found.append(_type(name, column.type))
    if not column.nulls:
        why = f"none of {rows:,} rows had a null here"
        found.append(_expect("column_values_to_not_be_null", "stop", why, column=name))
    elif (mostly := _mostly(column.nulls / rows)) > 0:
        share = 100 * column.nulls / rows
        why = f"{share:.1f} % were null; {100 * (1 - mostly):.0f} % would be many more"
        found.append(
            _expect("column_values_to_not_be_null", "warn", why, column=name, mostly=mostly)
        )
    if name == spec.key and column.unique:
        why = "the key identifies a row, and decides which rows are held out"
        found.append(_expect("column_values_to_be_unique", "stop", why, column=name))
    if name == spec.time and column.increasing:
        why = "rows were sorted by time; other rows may have been put in between"
        found.append(_expect("column_values_to_be_increasing", "warn", why, column=name))
    return found


def _type(name: str, kind: str) -> Json:
    why = f"values were of type {kind}"
    if not kind.startswith(("int", "uint")):
        return _expect("column_values_to_be_of_type", "stop", why, column=name, type_=kind)
    # Integers with nulls are floats to pandas, whichever way the nulls come and go.
    types = [kind, "float64"]
    return _expect("column_values_to_be_in_type_list", "stop", why, column=name, type_list=types)


def _content(column: ColumnSummary, present: int, spec: ModelSpec) -> list[Json]:
    """Which values there may be. A key's range says nothing: tomorrow's rows are beyond it."""
    name = column.name
    role = "key" if name == spec.key else "target" if name == spec.target else "feature"
    if column.low is not None and column.high is not None and role != "key":
        classes = role == "target" and spec.task != "regression"
        bounds = (column.low, column.high) if classes else _range(column.low, column.high)
        if max(map(abs, bounds)) >= EXACT:
            return []
        wide = "" if classes else ", and a tenth of that on each side"
        seen = f"values were {_span(column.low, column.high)}{wide}"
        low, high = bounds
        return [_between(name, "stop" if classes else "warn", seen, low, high)]
    if column.values is not None and (role == "target" or _repeats(column, present)):
        why = f"{len(column.values)} categories were seen; the pipeline knows no other"
        severity: Literal["stop", "warn"] = "stop" if role == "target" else "warn"
        values = sorted(column.values)
        return [_expect("column_values_to_be_in_set", severity, why, column=name, value_set=values)]
    return _texts(column, "stop" if role == "key" else "warn")


def _repeats(column: ColumnSummary, present: int) -> bool:
    return column.values is not None and present >= REPEATS * len(column.values)


def _texts(column: ColumnSummary, severity: Literal["stop", "warn"]) -> list[Json]:
    if column.regex is not None:
        why = "every text was built like this"
        return [
            _expect(
                "column_values_to_match_regex",
                severity,
                why,
                column=column.name,
                regex=column.regex,
            )
        ]
    if column.lengths is None:
        return []
    low, high = column.lengths
    return [
        _expect(
            "column_value_lengths_to_be_between",
            "warn",
            f"texts had {_span(low, high)} characters; twice as many are rather something else",
            column=column.name,
            min_value=min(low, 1),
            max_value=2 * max(high, 1),
        )
    ]


def _between(name: str, severity: Literal["stop", "warn"], why: str, low: Any, high: Any) -> Json:
    return _expect(
        "column_values_to_be_between",
        severity,
        why,
        column=name,
        min_value=low,
        max_value=high,
    )


def _mostly(share: float) -> float:
    """The least share of present values: nulls may be half as many again, or a twentieth more."""
    return max(0.0, math.floor(100 * (1 - share - max(NULLS, share / 2))) / 100)


def _range(low: Bound, high: Bound) -> tuple[Bound, Bound]:
    """Bounds beyond what was seen; a column without negative numbers is not given any."""
    width = high - low or abs(high) or 1
    if isinstance(low, int) and isinstance(high, int):
        more = -(-width // 10)
        return (max(0, low - more) if low >= 0 else low - more), high + more
    step = 10.0 ** (math.floor(math.log10(width)) - 2) if math.isfinite(width) else math.inf
    if not 0 < step < math.inf:
        return low, high  # nothing can be wider, or rounded
    under = _rounded(low - MARGIN * width, step, math.floor)
    over = _rounded(high + MARGIN * width, step, math.ceil)
    return min(low, 0.0 if low >= 0 > under else under), max(high, over)


def _rounded(value: float, step: float, to: Any) -> float:
    steps = value / step
    return float(f"{to(steps) * step:.12g}") if abs(steps) < EXACT else value


def _shown(value: Bound) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _span(low: Bound, high: Bound) -> str:
    return _shown(low) if low == high else f"{_shown(low)} to {_shown(high)}"


def _expect(kind: str, severity: Literal["stop", "warn"], notes: str, **kwargs: Any) -> Json:
    meta = {"severity": severity, "notes": notes}
    return {"type": f"expect_{kind}", "kwargs": kwargs, "meta": meta}


def shape(low: str, high: str) -> tuple[str, str] | None:
    """(prefix, pattern) that all texts between two may have, if the texts end in digits.

    `low` and `high` are the first and the last in the order of code points, so what both begin
    with, all do: C0017 and C9920 give ("C", "^C[0-9]+$").
    """
    common = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), 0)
    prefix = low[:common].rstrip("0123456789")
    plain = all(it.isascii() and (it.isalpha() or it in "_-") for it in prefix)
    rest = [it[len(prefix) :] for it in (low, high)]
    if not prefix or not plain or not all(it.isascii() and it.isdigit() for it in rest):
        return None
    return prefix, f"^{prefix}[0-9]+$"


def suite_text(name: str, expectations: Sequence[Json]) -> str:
    """The file: one expectation a line, so that a change of one is one changed line."""
    listed = ",\n".join(f"    {json.dumps(it, ensure_ascii=False)}" for it in expectations)
    return f'{{\n  "name": "{name}",\n  "expectations": [\n{listed}\n  ]\n}}\n'
