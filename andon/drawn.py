"""Small pictures for pages, as SVG: bars of two samples, and a strip of what runs have said.

In a page they are images: whatever a name may hold, nothing in them runs or is loaded.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from andon.verdict import Outcome

INK, SOFT, LINE, FIRST, SECOND = "#1f2328", "#57606a", "#d0d7de", "#8c959f", "#0969da"
COLOURS = {Outcome.PASS: "#2da44e", Outcome.FAIL: "#cf222e", Outcome.INCONCLUSIVE: "#bf8700"}
SIGNS = {Outcome.PASS: "✓", Outcome.FAIL: "✗", Outcome.INCONCLUSIVE: "?"}
WIDTH = 560
LONGEST = 14  # letters of a bin's name


def bars(title: str, names: Sequence[str], first: Sequence[float], second: Sequence[float]) -> str:
    """Two shares for each bin (grey: training, blue: now), as a data URI."""
    left, top, height, bottom = 44, 46, 150, 74
    most = max([*first, *second, 1e-9])
    step = (WIDTH - left - 12) / max(len(names), 1)
    every = max(1, -(-len(names) * 15 // (WIDTH - left)))  # labels that would overlap are left out
    parts = [_text(12, 20, title, size=14), *_legend()]
    for share in (0.0, most / 2, most):
        y = top + height * (1 - share / most)
        parts.append(f'<path d="M{left} {y:.1f}H{WIDTH - 12}" stroke="{LINE}"/>')
        parts.append(_text(left - 6, y + 4, f"{100 * share:.0f} %", anchor="end", colour=SOFT))
    for at, (name, a, b) in enumerate(zip(names, first, second, strict=True)):
        x, half = left + at * step, step * 0.42
        for offset, share, colour in ((0.08, a, FIRST), (0.5, b, SECOND)):
            tall = height * share / most
            parts.append(
                f'<rect x="{x + offset * step:.1f}" y="{top + height - tall:.1f}" '
                f'width="{half:.1f}" height="{tall:.1f}" fill="{colour}"/>'
            )
        if at % every == 0 or at == len(names) - 1:
            short = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
            middle, y = x + step / 2, top + height + 12
            turned = f'transform="rotate(-50 {middle:.1f} {y})"'
            parts.append(_text(middle, y, short, anchor="end", colour=SOFT, more=turned))
    return _uri(parts, top + height + bottom)


def _legend() -> list[str]:
    return [
        f'<rect x="12" y="29" width="9" height="9" fill="{FIRST}"/>',
        _text(25, 37, "training", colour=SOFT),
        f'<rect x="84" y="29" width="9" height="9" fill="{SECOND}"/>',
        _text(97, 37, "newest window", colour=SOFT),
    ]


def strip(rows: Sequence[tuple[str, Sequence[Outcome]]], runs: int) -> str:
    """A line of cells for each monitor, the newest at the right, as a data URI."""
    left, tall, top = 84, 24, 12
    step = (WIDTH - left - 12) / runs
    parts = []
    for line, (name, outcomes) in enumerate(rows):
        y = top + line * tall
        parts.append(_text(left - 8, y + 14, name, anchor="end", colour=INK))
        shown = outcomes[-runs:]
        for at, it in enumerate(shown, start=runs - len(shown)):
            x = left + at * step
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{step - 1.5:.1f}" height="{tall - 5}" rx="2" '
                f'fill="{COLOURS[it]}"/>'
            )
            middle = x + step / 2 - 0.75
            parts.append(_text(middle, y + 14, SIGNS[it], size=9, anchor="middle", colour="#fff"))
    bottom = top + tall * len(rows)
    parts.append(_text(WIDTH - 12, bottom + 12, "now", anchor="end", colour=SOFT))
    return _uri(parts, bottom + 20)


def _text(
    x: float, y: float, words: str, *,
    size: int = 11, anchor: str = "start", colour: str = INK, more: str = "",
) -> str:  # fmt: skip
    kept = "".join(it for it in words if it.isprintable())
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" '
        f'text-anchor="{anchor}" fill="{colour}" {more}>{escape(kept)}</text>'
    )


def _uri(parts: Sequence[str], height: float) -> str:
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" height="{height:.0f}" font-family="system-ui, sans-serif">'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>'
    )
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
