"""From a result in GX's format to a verdict: what is wrong, in which rows, and what to do."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from andon.promises import STOPS
from andon.spec import ModelSpec
from andon.verdict import Outcome, Verdict

Json = dict[str, Any]
MASKED = "•••"
ROWS = 20  # that are listed of one expectation
_SAMPLES = 5  # that are named in one sentence
_NAMES = ("column", "column_A", "column_B", "column_list", "batch_id")
# What these observe is no value of the column.
_COUNTS = ("_value_count_to_be", "_proportion_of_", "_to_be_of_type", "_in_type_list", "_null")


def hidden(spec: ModelSpec) -> frozenset[str]:
    """Columns whose values are shown to nobody."""
    return frozenset((*spec.reports.mask, *spec.logging.mask))


def named(it: Json) -> list[str]:
    """The columns that an expectation names."""
    kwargs = it["expectation_config"]["kwargs"]
    found = [kwargs[k] for k in ("column", "column_A", "column_B") if k in kwargs]
    listed = kwargs.get("column_list") or []
    of_rows = "unexpected_count" in (it.get("result") or {})
    return [*found, *listed] if of_rows or not found else found


def failing(it: Json) -> list[int]:
    """The first rows that are not as expected, by their place in the table."""
    listed = (it.get("result") or {}).get("partial_unexpected_index_list") or []
    return [place for place in listed[:ROWS] if isinstance(place, int)]


def masked(it: Json, columns: frozenset[str]) -> None:
    """Replace what a result shows of these columns' values, in GX's own fields; in place."""
    if columns.isdisjoint(named(it)):
        return
    result = it.get("result") or {}
    for name in ("partial_unexpected_list", "unexpected_list"):
        if name in result:
            result[name] = [MASKED] * len(result[name])
    if result.get("partial_unexpected_counts"):
        counts = [{**one, "value": MASKED} for one in result["partial_unexpected_counts"]]
        result["partial_unexpected_counts"] = counts
    kind = it["expectation_config"]["type"]
    if result.get("observed_value") is not None and not any(part in kind for part in _COUNTS):
        result["observed_value"] = MASKED
    result.pop("details", None)
    info = it["exception_info"]
    if info["exception_message"]:
        info["exception_message"] = f"of the masked {', '.join(named(it))}"


def located(it: Json, keys: Mapping[int, Any], key: str | None) -> list[Json]:
    """The failing rows, each as its place, its key and the value that is not as expected.

    GX's own list of rows is made the one that GX gives if it is asked for a key.
    """
    result, places = it.get("result") or {}, failing(it)
    values = list(result.get("partial_unexpected_list") or [])
    values += [None] * (len(places) - len(values))
    found = [
        {"row": place, **({"key": keys.get(place)} if key else {}), "value": value}
        for place, value in zip(places, values, strict=False)
    ]
    if key and found:
        column = it["expectation_config"]["kwargs"].get("column", "value")
        listed = [{column: row["value"], key: row["key"]} for row in found]
        result["partial_unexpected_index_list"] = listed
        result["unexpected_index_column_names"] = [key]
    return found


def verdict(it: Json, columns: Sequence[str], rows: Sequence[Json], key: str | None) -> Verdict:
    """One expectation's verdict; `rows` are those that `located` gives."""
    config, result = it["expectation_config"], it.get("result") or {}
    severity = config.get("severity") or STOPS
    detail = "" if it["success"] else _detail(it, columns, rows, key)
    if detail and severity != STOPS:
        detail = f"warning: {detail}"
    share, observed = result.get("unexpected_percent"), result.get("observed_value")
    evidence = {
        "severity": severity,
        "unexpected_count": result.get("unexpected_count"),
        "samples": (result.get("partial_unexpected_list") or [])[:_SAMPLES] or None,
        "rows": list(rows) or None,
        "observed": observed,
    }
    about = ", ".join(map(str, named(it)))
    return Verdict(
        check=config["type"] + (f"({about})" if about else ""),
        outcome=Outcome.FAIL if not it["success"] and severity == STOPS else Outcome.PASS,
        value=share / 100 if share is not None else _number(observed),
        limit=1 - config["kwargs"].get("mostly", 1) if share is not None else None,
        n=result.get("element_count") or 0,
        detail=detail,
        evidence={name: value for name, value in evidence.items() if value is not None},
    )


def words(config: Json) -> str:
    """`values to be between 0 and 9`, of GX's long name and its arguments, without the columns."""
    kind = re.sub("^expect_(column_|table_)?", "", config["type"]).replace("_", " ")
    kwargs = {k: v for k, v in config["kwargs"].items() if k not in _NAMES and v is not None}
    mostly = kwargs.pop("mostly", 1)
    share = f" ({100 * mostly:g} % of them)" if mostly != 1 else ""
    said = _bounds(kwargs)
    if said and " and " not in said:
        kind = kind.removesuffix(" between")
    rest = [_listed(it) for it in kwargs.values() if not isinstance(it, bool)]
    listed = "; ".join(rest)
    if said:
        return f"{kind} {said}{'; ' if rest else ''}{listed}{share}"
    return f"{kind}{': ' if rest else ''}{listed}{share}"


def _bounds(kwargs: Json) -> str:
    """Takes the bounds out of the arguments."""
    low, high = kwargs.pop("min_value", None), kwargs.pop("max_value", None)
    over, under = kwargs.pop("strict_min", False), kwargs.pop("strict_max", False)
    if low is not None and high is not None:
        beyond = [" (excluded)" if it else "" for it in (over, under)]
        return f"{_bound(low)}{beyond[0]} and {_bound(high)}{beyond[1]}"
    if low is not None:
        return f"{'more than' if over else 'at least'} {_bound(low)}"
    if high is not None:
        return f"{'less than' if under else 'at most'} {_bound(high)}"
    return ""


def _bound(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)  # GX makes floats of bounds
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _listed(value: Any) -> str:
    if not isinstance(value, list):
        return str(value)
    more = f" and {len(value) - 8} more" if len(value) > 8 else ""
    return ", ".join(map(str, value[:8])) + more


def _detail(it: Json, columns: Sequence[str], rows: Sequence[Json], key: str | None) -> str:
    """What is wrong, what was expected, and what to do, in one sentence."""
    config, result = it["expectation_config"], it.get("result") or {}
    notes = (config.get("meta") or {}).get("notes")
    advice = f"; {notes}" if isinstance(notes, str) else ""
    missing = [name for name in named(it) if name not in columns]
    if missing:
        listed = ", ".join(map(repr, missing))
        return f"column {listed} is missing; the data has {_few(columns)}{advice}"
    if message := it["exception_info"]["exception_message"]:
        return f"cannot be computed on this data: {message}{advice}"
    kwargs = config["kwargs"]
    wanted = ", ".join(f"{k}={v}" for k, v in kwargs.items() if k not in _NAMES and v is not None)
    expected = f"; expected {wanted}" if wanted else ""
    mismatched = (result.get("details") or {}).get("mismatched")
    if isinstance(mismatched, dict):
        parts = [f"{what}: {', '.join(names)}" for what, names in mismatched.items()]
        return f"columns {'; '.join(parts)}{advice}"
    if result.get("unexpected_count") is None:
        lacks = result.get("partial_missing_list")
        found = f"lacks {lacks}" if lacks else f"found {result.get('observed_value')}"
        return f"{found}{expected}{advice}"
    return f"{_counted(it, rows, key)}{expected}{advice}"


def _counted(it: Json, rows: Sequence[Json], key: str | None) -> str:
    result = it["result"]
    n, bad = result.get("element_count", 0), result["unexpected_count"]
    tell = key is not None and key not in named(it)
    if it["expectation_config"]["type"] == "expect_column_values_to_not_be_null":
        where = ", ".join(str(row["key"]) for row in rows[:_SAMPLES]) if tell else ""
        return f"{bad} of {n} values are null" + (f", such as of {key} {where}" if where else "")
    shown = (result.get("partial_unexpected_list") or [])[:_SAMPLES]
    keys = [f" ({key} {row['key']})" for row in rows[:_SAMPLES]] if tell else []
    keys += [""] * (len(shown) - len(keys))
    samples = ", ".join(
        (value if value == MASKED else repr(value)) + where
        for value, where in zip(shown, keys, strict=False)
    )
    return f"{bad} of {n} values are not as expected, such as {samples}"


def _few(columns: Sequence[str]) -> str:
    """All columns of a table of usual width; of thousands, the first."""
    more = len(columns) - 50
    return (", ".join(columns[:50]) or "none") + (f" and {more} more" if more > 0 else "")


def _number(observed: Any) -> float | None:
    usable = isinstance(observed, int | float) and math.isfinite(observed)
    return float(observed) if usable else None
