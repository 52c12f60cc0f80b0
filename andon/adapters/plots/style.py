"""What all pictures share: size, colours, fonts, and text that is safe to draw."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from andon.explanation import Picture
from andon.training import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which people with any colour vision can tell apart.
BLUE, ORANGE, GREEN, SKY = "#0072B2", "#D55E00", "#009E73", "#56B4E9"
INK, GREY, PALE = "#1f2328", "#6b7280", "#d5d9e0"
CYCLE = (BLUE, ORANGE, GREEN, "#CC79A7")
MARKS = ("o", "s", "^", "D")
WIDTH, DPI = 5.2, 150  # inches; 780 pixels are twice a phone's width
WRAP, NOTE_WRAP = 45, 74  # characters of a line
MORE_FONTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans Devanagari", "Noto Sans Arabic",
    "WenQuanYi Zen Hei", "IPAexGothic", "Hiragino Sans", "PingFang SC", "Microsoft YaHei",
)  # fmt: skip
MISSING = "\N{WHITE SQUARE}"

_RC: dict[str, Any] = {
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.grid": True,
    "grid.color": PALE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 2.0,
    "figure.facecolor": "white",
    "axes.unicode_minus": True,
    "text.parse_math": False,  # a name may have dollars in it
}


@dataclass(frozen=True)
class Scored:
    """What a model said of n held-out rows, and the truth; `other` is the champion, if any.

    `scores` (n,): the positive class' probability, the highest probability (multiclass), or the
    value. `y` and `labels` (n,) are values of the data. `held_out` is how many rows there are.
    """

    target: str
    y: Array
    scores: NDArray[np.float64]
    labels: Array | None
    classes: list[Any] = field(default_factory=list)
    positive: int = -1
    held_out: int = 0
    other: NDArray[np.float64] | None = None
    other_name: str = ""

    @property
    def is_positive(self) -> NDArray[np.bool_]:
        """Binary: which rows are positive."""
        return np.asarray(self.y == self.classes[self.positive], dtype=bool)

    @property
    def rows(self) -> str:
        """Which rows these are, in words."""
        n = len(self.y)
        return f"{n:,} held-out rows" if n == self.held_out else f"{n:,} of {self.held_out:,} rows"


@dataclass(frozen=True)
class Drawn:
    """A figure, with its name, its finding, and the same in words and figures."""

    name: str
    title: str
    alt: str
    figure: Figure


@contextmanager
def drawing() -> Iterator[None]:
    """Our style, whatever the user's own is."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({**_RC, "font.family": [*_fonts()]})
        yield


def styled(draw: Callable[..., Drawn]) -> Callable[..., Drawn]:
    """A function that draws in our style."""

    @functools.wraps(draw)
    def within(*given: Any, **named: Any) -> Drawn:
        with drawing():
            return draw(*given, **named)

    return within


def figure(title: str, note: str, height: float) -> Figure:
    """An empty figure with its finding above and a note below; no state is shared."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as New

    made = New(figsize=(WIDTH, height), dpi=DPI)
    made.set_layout_engine("constrained", w_pad=0.1, h_pad=0.06)
    FigureCanvasAgg(made)
    lines = textwrap.wrap(safe(title), WRAP) or [""]
    made.suptitle("\n".join(lines[:3]), x=0.02, ha="left", fontsize=13, fontweight="bold")
    made.supxlabel(textwrap.fill(safe(note), NOTE_WRAP), x=0.02, ha="left", fontsize=9, color=GREY)
    return made


def save(drawn: Drawn, folder: Path) -> Picture:
    """Write it as PNG, without a date: equal content gives equal bytes."""
    file = f"{drawn.name}.png"
    _plain_ticks(drawn.figure)
    with drawing():
        drawn.figure.savefig(folder / file, metadata={"Software": None})
    _fewer_colours(folder / file)
    return Picture(name=drawn.name, file=file, title=drawn.title, alt=drawn.alt)


def _plain_ticks(figure: Figure) -> None:
    """Numbers on axes that can be read: no factor of 1e6 in a corner."""
    from matplotlib.ticker import FuncFormatter, ScalarFormatter

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if type(axis.get_major_formatter()) is ScalarFormatter:
                axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))


def tick(value: float) -> str:
    """A number of an axis."""
    written = f"{value:,.6g}"
    for unit, letter in ((1e5, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T")):
        if abs(value) >= unit:
            written = f"{value / (1e3 if letter == 'k' else unit):.4g} {letter}"
    return written.replace("-", "\N{MINUS SIGN}")


def _fewer_colours(path: Path) -> None:
    """A palette of 256: a third of the size, and nothing that an eye could see."""
    from PIL import Image

    with Image.open(path) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def short(text: object, most: int) -> str:
    """At most `most` characters; the middle is left out, for names often differ at their end."""
    words = safe(" ".join(str(text).split()))
    if len(words) <= most:
        return words
    tail = (most - 1) // 3
    return f"{words[: most - 1 - tail]}…{words[len(words) - tail :]}"


def safe(text: str) -> str:
    """Without what the font lacks, or what is no character at all: that is a square instead."""
    known = _glyphs()
    return "".join(it if ord(it) in known or it == "\n" else MISSING for it in text)


@functools.cache
def _glyphs() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(it for path in _fonts().values() for it in FT2Font(path).get_charmap())


@functools.cache
def _fonts() -> dict[str, str]:
    """The font that Matplotlib brings, and what is installed here for what it lacks: paths."""
    from matplotlib.font_manager import FontProperties, findfont, fontManager

    installed = {it.name: it.fname for it in fontManager.ttflist}
    more = {name: installed[name] for name in MORE_FONTS if name in installed}
    return {"DejaVu Sans": findfont(FontProperties(family="DejaVu Sans")), **more}


def number(value: float, matter: int = 3) -> str:
    """Three digits that matter, or another number of them; few have an exponent."""
    if not np.isfinite(value):
        return "unknown"
    if value == 0:
        return "0"
    size = abs(value)
    for unit, word in ((1e12, ""), (1e9, " billion"), (1e6, " million")):
        if size >= unit:
            return f"{value / unit:.3g}{word}" if word else f"{value:.3g}"
    if size < 1e-4:
        return f"{value:.2e}"
    digits = max(0, matter - 1 - int(np.floor(np.log10(size))))
    return f"{value:,.{digits}f}"


def percent(share: float) -> str:
    """With a decimal where it matters."""
    return f"{share:.1%}" if 0 < share < 0.1 or 0.9 < share < 1 else f"{share:.0%}"
