"""Regular expressions that mean the same to Python, which GX asks, and to Polars."""

from __future__ import annotations

import re

import polars as pl

_ESCAPED = r"\\[dD.\-+*?()\[\]{}|^$/\\]"
_CLASS = r"\[\^?(?:[A-Za-z0-9_ .,:;@#%/+*()?!'\"<>=]|-(?!-)|\\[d.\-\]\[\\/])+\]"
_ATOM = rf"(?:[^\\\[\](){{}}*+?|^$]|{_ESCAPED}|{_CLASS}|\))"
_TIMES = r"(?:(?:[*+?]|\{\d+(?:,\d*)?\})\??)?"
# No \w, \s, \b, flags, looks or references: these differ, or Polars has none.
_SAME = re.compile(rf"(?:{_ATOM}{_TIMES}|\((?:\?:)?|\||\^)*\$?")


def translated(pattern: str) -> str | None:
    """The pattern for Polars, or None if it may mean something else there."""
    if not _SAME.fullmatch(pattern):
        return None
    escaped = len(pattern) >= 2 and pattern[-2] == "\\"
    if pattern.endswith("$") and not escaped:
        # To Python the end is also before a last line break.
        pattern = pattern[:-1] + r"(?:\n?\z)"
    try:
        re.compile(pattern.replace(r"\z", r"\Z"))
        pl.select(pl.lit("").str.contains(pattern))
    except (re.error, pl.exceptions.PolarsError):
        return None
    return pattern
