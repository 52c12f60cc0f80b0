"""HTML that cannot be broken by what it shows, and how the summary writes numbers and times."""

from __future__ import annotations

import html
import math
import re
from datetime import UTC, datetime
from typing import TypeGuard

DASH = "–"  # noqa: RUF001 - stands for "nothing was measured"
NB = "\u00a0"  # a space where no line may break
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_MAX_EPOCH = 32_503_680_000.0  # the year 3000: beyond it a time is a mistake


class Html(str):
    """Text that is HTML already. Every other text is escaped when it becomes part of a page."""

    __slots__ = ()


def escaped(child: object) -> str:
    """A child as HTML; what no page can show becomes the replacement character."""
    if isinstance(child, Html):
        return child
    return html.escape(_UNPRINTABLE.sub("\ufffd", str(child)), quote=True)


def tag(name: str, *children: object, **attributes: object) -> Html:
    """One element. `class_` is `class`, `aria_label` is `aria-label`; None leaves one out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(escaped(child) for child in children if child is not None)
    return Html(f"<{name}{written}>{inner}</{name}>")


def breakable(text: str) -> Html:
    """A name in which a line may break after an underscore, rather than anywhere."""
    return Html(escaped(text).replace("_", "_<wbr>"))


def join(separator: str, children: list[Html]) -> Html:
    """Elements one after the other."""
    return Html(escaped(separator).join(children))


def known(value: float | None) -> TypeGuard[float]:
    """Whether there is a number that can be drawn."""
    return value is not None and math.isfinite(value)


def number(value: float | None) -> str:
    """Four digits, or all of a whole number; a dash if nothing was measured."""
    if value is None:
        return DASH
    if not math.isfinite(value):
        return "undefined" if math.isnan(value) else ("∞" if value > 0 else "-∞")
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}"


def seconds(value: float) -> str:
    """A duration for people, in no-break spaces."""
    if not math.isfinite(value) or value < 0:
        return DASH
    if round(value) >= 60:
        minutes, rest = divmod(round(value), 60)
        return f"{minutes}{NB}min{NB}{rest:02d}{NB}s"
    if value >= 1:
        return f"{value:.1f}{NB}s"
    return f"{1000 * value:.0f}{NB}ms"


def clock(epoch: float | None, form: str = "%H:%M:%S") -> str:
    """A time of day, UTC; a dash for what is no time."""
    if epoch is None or not 0 < epoch < _MAX_EPOCH:  # false for NaN as well
        return DASH
    return datetime.fromtimestamp(epoch, UTC).strftime(form)


def plural(n: int, one: str, many: str = "") -> str:
    """A count with its noun: "1 check", "2,000 rows"."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
