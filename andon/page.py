"""A page of facts, written twice from the same blocks: as Markdown, and as HTML of one file.

Whatever a name in the data may hold, it stays text: it becomes no markup, link, script or image.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

UNKNOWN = "unknown"
_BEGINS = re.compile(r"^(\d*)([-+=.)])(?=[\s=+-]|$)")  # a list or a line, if it stands first
# Markdown's own letters; "$" is mathematics to some, and "&" begins a character to all.
_MARKS = re.compile(r"([\\`*_{}\[\]<>#|~$!&])")


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Table:
    """Cells of plain text; `numeric` columns are flush right. `note` says what is missing."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()
    note: str = ""


@dataclass(frozen=True)
class Listing:
    """Items of plain text."""

    items: Sequence[str]


@dataclass(frozen=True)
class Code:
    """To be copied."""

    text: str


@dataclass(frozen=True)
class Image:
    """A picture as a data URI, PNG or SVG; where there is none, title and words stand for it."""

    uri: str
    title: str
    alt: str


@dataclass(frozen=True)
class Tile:
    """A figure that is seen first."""

    label: str
    value: str
    note: str = ""
    look: str = ""  # good, bad, open


Block = Paragraph | Table | Listing | Code | Image


@dataclass(frozen=True)
class Section:
    """Blocks under a heading; `source` says where the facts are from."""

    title: str
    blocks: Sequence[Block]
    source: str = ""


@dataclass(frozen=True)
class Page:
    """A title, what is seen first, and the rest."""

    title: str
    lead: str
    tiles: Sequence[Tile] = ()
    sections: Sequence[Section] = field(default_factory=tuple)
    foot: str = ""


def text(words: object) -> str:
    """Plain text as Markdown that shows it."""
    return _BEGINS.sub(r"\1\\\2", _MARKS.sub(r"\\\1", " ".join(str(words).split())))


def cell(words: object) -> str:
    """Plain text in a Markdown table."""
    return text(words)


def interval(low: float | None, high: float | None, digits: int = 4) -> str:
    """An interval, or that there is none."""
    if low is None or high is None:
        return UNKNOWN
    return f"{low:.{digits}g} to {high:.{digits}g}"


def to_markdown(page: Page) -> str:
    """GitHub's Markdown; pictures are told in words."""
    lines = [f"# {text(page.title)}", text(page.lead)]
    if page.tiles:
        lines.append(
            "\n".join(
                f"- {text(it.label)}: **{text(it.value)}**" + (f", {text(it.note)}" * bool(it.note))
                for it in page.tiles
            )
        )
    for section in page.sections:
        lines.append(f"## {text(section.title)}")
        lines += [_markdown(it) for it in section.blocks]
        if section.source:
            lines.append(f"*Source: {text(section.source)}*")
    return "\n\n".join([*lines, text(page.foot)]).strip() + "\n"


def _markdown(block: Block) -> str:
    if isinstance(block, Paragraph):
        return text(block.text)
    if isinstance(block, Listing):
        return "\n".join(f"- {text(it)}" for it in block.items)
    if isinstance(block, Image):
        return f"**{text(block.title)}.** {text(block.alt)}"
    if isinstance(block, Code):
        longest = max((len(it) for it in re.findall(r"`+", block.text)), default=0)
        fence = "`" * max(3, longest + 1)
        return f"{fence}\n{block.text}\n{fence}"
    sides = ["---:" if at in block.numeric else "---" for at in range(len(block.head))]
    rows = [[cell(it) for it in row] for row in (block.head, *block.rows)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], sides, *rows[1:]))
    return f"{table}\n\n{text(block.note)}" if block.note else table


def to_html(page: Page) -> str:
    """One file without any address in it: it loads nothing, and its policy forbids to."""
    tiles = "".join(
        f'<div class="tile {_name(it.look)}"><dt>{_safe(it.label)}</dt><dd>{_safe(it.value)}'
        f"<small>{_safe(it.note)}</small></dd></div>"
        for it in page.tiles
    )
    links = "".join(
        f'<a href="#s{at}">{_safe(it.title)}</a>' for at, it in enumerate(page.sections)
    )
    body = "".join(_section(at, it) for at, it in enumerate(page.sections))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{_safe(page.title)}</title><style>{STYLE}</style></head><body><header>"
        f"<h1>{_safe(page.title)}</h1><p>{_safe(page.lead)}</p>"
        f'<dl class="tiles">{tiles}</dl><nav>{links}</nav></header><main>{body}</main>'
        f"<footer>{_safe(page.foot)}</footer></body></html>\n"
    )


def _section(at: int, section: Section) -> str:
    parts = [
        f'<div class="figures">{"".join(map(_html, blocks))}</div>'
        if pictures
        else "".join(map(_html, blocks))
        for pictures, blocks in groupby(section.blocks, lambda it: isinstance(it, Image))
    ]
    source = f'<p class="source">Source: {_safe(section.source)}</p>' if section.source else ""
    title = _safe(section.title)
    return f'<section id="s{at}"><h2>{title}</h2>{"".join(parts)}{source}</section>'


def _figure(image: Image) -> str:
    if not image.uri.startswith(("data:image/png;base64,", "data:image/svg+xml;base64,")):
        return f"<p><b>{_safe(image.title)}.</b> {_safe(image.alt)}</p>"
    shown = f'<img src="{_safe(image.uri)}" alt="{_safe(image.alt)}">'
    words = f"<details><summary>In words</summary>{_safe(image.alt)}</details>"
    return f"<figure>{shown}<figcaption>{words}</figcaption></figure>"


def _html(block: Paragraph | Table | Listing | Code | Image) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{_safe(block.text)}</p>"
    if isinstance(block, Listing):
        return "<ul>" + "".join(f"<li>{_safe(it)}</li>" for it in block.items) + "</ul>"
    if isinstance(block, Code):
        return f"<pre>{_safe(block.text)}</pre>"
    if isinstance(block, Image):
        return _figure(block)
    head = "".join(f"<th{_side(block, at)}>{_safe(it)}</th>" for at, it in enumerate(block.head))
    rows = "".join(
        "<tr>"
        + "".join(f"<td{_side(block, at)}>{_safe(it)}</td>" for at, it in enumerate(row))
        + "</tr>"
        for row in block.rows
    )
    note = f"<p>{_safe(block.note)}</p>" if block.note else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="wide" tabindex="0">{table}</div>{note}'


def _side(table: Table, at: int) -> str:
    return ' class="n"' if at in table.numeric else ""


def _safe(words: object) -> str:
    """Text that is text in HTML; control characters and half characters are none."""
    kept = "".join(it for it in str(words) if it in "\n\t" or it.isprintable() or it == " ")
    return html.escape(kept, quote=True)


def _name(word: str) -> str:
    return word if word.isalpha() else ""


STYLE = """
:root{--ink:#1f2328;--soft:#57606a;--line:#d0d7de;--back:#fff;--pale:#f6f8fa;--link:#0969da;
--good:#1a7f37;--bad:#cf222e;--open:#9a6700}
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9da7b3;--line:#30363d;--back:#0d1117;
--pale:#161b22;--link:#58a6ff;--good:#3fb950;--bad:#ff7b72;--open:#d29922}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.25rem;max-width:62rem;color:var(--ink);background:var(--back);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.7rem;line-height:1.2;margin:.2rem 0}
h2{font-size:1.2rem;margin:2.2rem 0 .6rem;padding-bottom:.3rem;border-bottom:1px solid var(--line)}
a{color:var(--link)}
nav{display:flex;flex-wrap:wrap;gap:.3rem .9rem;font-size:.9rem}
.tiles{display:grid;
grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.6rem;margin:1rem 0}
.tile{background:var(--pale);border:1px solid var(--line);border-left:4px solid var(--soft);
border-radius:6px;padding:.5rem .7rem}
.tile dt{font-size:.8rem;color:var(--soft)}.tile dd{margin:0;font-size:1.15rem;font-weight:600}
.tile small{display:block;font-size:.78rem;font-weight:400;color:var(--soft)}
.good{border-left-color:var(--good)}.bad{border-left-color:var(--bad)}
.open{border-left-color:var(--open)}
.wide{overflow-x:auto;margin:.6rem 0}
table{border-collapse:collapse;font-size:.88rem;width:100%}
th,td{text-align:left;vertical-align:top;padding:.35rem .7rem .35rem 0;
border-bottom:1px solid var(--line);overflow-wrap:normal}
td:last-child:not(.n){overflow-wrap:anywhere;min-width:14rem}
th{color:var(--soft);font-weight:600}th.n,td.n{text-align:right;white-space:nowrap;
padding-right:1.1rem;
font-variant-numeric:tabular-nums}
pre{background:var(--pale);border:1px solid var(--line);border-radius:6px;padding:.7rem;
white-space:pre-wrap;font-size:.82rem}
.figures{columns:2 21rem;column-gap:1rem;margin:1rem 0}
figure{margin:0 0 1rem;break-inside:avoid;border:1px solid var(--line);border-radius:6px;
background:#fff;overflow:hidden}
img{display:block;width:100%;height:auto}
figcaption{font-size:.82rem;padding:.4rem .7rem;color:var(--soft);background:var(--pale);
border-top:1px solid var(--line)}
.source,footer{font-size:.8rem;color:var(--soft)}
footer{margin-top:2.5rem;border-top:1px solid var(--line);padding-top:.7rem}
@media print{:root{--ink:#000;--soft:#444;--line:#bbb;--back:#fff;--pale:#fff}
body{max-width:none;padding:0;font-size:10.5pt}nav{display:none}
figure,.tile,tr{break-inside:avoid}h2{break-after:avoid}
.figures{columns:2}.wide{overflow:visible}}
"""
