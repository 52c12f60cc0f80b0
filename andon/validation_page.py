"""What a validation found, as one page of HTML that needs no network, and as Markdown.

GX's own page takes its styles, scripts and icons from six hosts, and is bare without them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from andon.findings import ROWS, named, words
from andon.promises import STOPS
from andon.verdict import Outcome, Verdict, gate

Json = dict[str, Any]
_TITLES = {
    Outcome.PASS: "The data is as expected",
    Outcome.FAIL: "The line stops here",
    Outcome.INCONCLUSIVE: "It could not be told",
}


@dataclass(frozen=True)
class Line:
    """One check: what it is about, what is expected of it and why, and what was found."""

    verdict: Verdict
    column: str
    said: str
    severity: str
    notes: str = ""


@dataclass(frozen=True)
class Validation:
    """What a page tells of: `results` are GX's, and the last verdicts are theirs, in order."""

    model: str
    snapshot: str
    rows: int
    verdicts: Sequence[Verdict]
    results: Sequence[Json]
    key: str | None

    @property
    def lines(self) -> list[Line]:
        """All checks, in their order."""
        own = len(self.verdicts) - len(self.results)
        found = [Line(it, "", it.check, STOPS) for it in self.verdicts[:own]]
        for verdict, result in zip(self.verdicts[own:], self.results, strict=True):
            config = result["expectation_config"]
            notes = (config.get("meta") or {}).get("notes")
            found.append(
                Line(
                    verdict=verdict,
                    column=", ".join(map(str, named(result))),
                    said=words(config),
                    severity=config.get("severity") or STOPS,
                    notes=notes if isinstance(notes, str) else "",
                )
            )
        return found


def failed(verdict: Verdict) -> bool:
    """Whether it does not hold, be it told only."""
    return verdict.outcome is not Outcome.PASS or verdict.detail.startswith("warning: ")


def markdown(it: Validation, page: str) -> str:
    """For an artifact: what is not as expected, with its rows; `page` is where the page is."""
    parts = [f"# {_TITLES[gate(it.verdicts)]}: {it.rows:,} rows of `{it.snapshot[:12]}`"]
    parts.append(f"{_summary(it)} The whole page: `{page}` (open it in a browser).")
    for line in it.lines:
        if not failed(line.verdict):
            continue
        about = f"`{line.column}`: " if line.column else ""
        sign = "✗" if line.severity == STOPS else "warning:"
        parts.append(f"## {sign} {about}{_cell(line.said)}\n\n{_cell(_sentence(line))}")
        if listed := line.verdict.evidence.get("rows"):
            parts.append(_markdown_rows(listed, it.key))
            parts.append(_more(line.verdict, len(listed)))
    return "\n\n".join(part for part in parts if part)


def _summary(it: Validation) -> str:
    bad = [line.severity for line in it.lines if failed(line.verdict)]
    stops = sum(severity == STOPS for severity in bad)
    warned = len(bad) - stops
    return (
        f"{len(it.verdicts)} checks: {len(it.verdicts) - len(bad)} hold, {stops} stop the line, "
        f"{warned} warn{'s' if warned == 1 else ''}."
    )


def _sentence(line: Line) -> str:
    """The detail; where the rows are listed, without them and what stands above them."""
    said = line.verdict.detail.removeprefix("warning: ")
    if not line.verdict.evidence.get("rows"):
        return said
    return said.partition(", such as ")[0] + (f"; {line.notes}" if line.notes else "")


def _markdown_rows(rows: list[Json], key: str | None) -> str:
    head = ["row", *([key] if key else []), "value"]
    cells = [_cells(row, key) for row in rows]
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cells(row: Json, key: str | None) -> list[str]:
    return [f"{row['row']:,}", *([_text(row.get("key"))] if key else []), _text(row["value"])]


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)  # to GX, integers in a column with nulls are floats
    return "null" if value is None else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _more(verdict: Verdict, listed: int) -> str:
    more = (verdict.evidence.get("unexpected_count") or listed) - listed
    return f"… and {more:,} more." if more > 0 else ""


# --- HTML

_STYLE = """
:root { --ink: #1c1e21; --dim: #62676e; --line: #dfe2e6; --paper: #fff; --soft: #f5f6f8;
  --good: #1a7f4b; --bad: #c1301c; --warn: #946200; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --dim: #9aa1a9; --line: #33383f;
  --paper: #16181b; --soft: #1f2226; --good: #4fc487; --bad: #ff8370; --warn: #e5b54a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 68rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.1rem; margin: 2.4rem 0 .6rem; }
h3 { font-size: 1rem; margin: 0; }
p { margin: .3rem 0; }
.dim { color: var(--dim); }
.pass { color: var(--good); } .fail { color: var(--bad); } .warn { color: var(--warn); }
.found { border: 1px solid var(--line); border-left: 4px solid var(--bad); border-radius: 6px;
  padding: .8rem 1rem; margin: .8rem 0; }
.found.warns { border-left-color: var(--warn); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin-top: .6rem; font-size: .92em; }
th { text-align: left; font-weight: 600; color: var(--dim); white-space: nowrap; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
td.column { overflow-wrap: break-word; max-width: 18rem; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
td.sign { white-space: nowrap; }
code { font: .95em ui-monospace, monospace; }
@media (max-width: 40rem) {
  .checks thead { display: none; }
  .checks tr { display: grid; grid-template-columns: 4.2rem minmax(0, 1fr); padding: .4rem 0;
    border-bottom: 1px solid var(--line); }
  .checks td { border: 0; padding: 0; }
  .checks td:not(.sign) { grid-column: 2; }
  .checks td:empty { display: none; }
  .checks td.column { font-weight: 600; }
}
"""


def page(it: Validation) -> str:
    """One file: no script, no font, no picture from elsewhere."""
    outcome = gate(it.verdicts)
    title = f"{it.model}: validation of {it.snapshot[:12]}"
    found = "".join(_found(line, it.key) for line in it.lines if failed(line.verdict))
    body = [
        f'<p class="dim">{escape(title)}</p>',
        f'<h1 class="{outcome.value}">{_TITLES[outcome]}</h1>',
        f"<p>{it.rows:,} rows. {_summary(it)}</p>",
        f"<h2>What is not as expected</h2>{found}" if found else "",
        f"<h2>All checks</h2>{_checks(it)}",
        f'<p class="dim">Judged by Great Expectations. Snapshot {escape(it.snapshot)}.</p>',
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body>{chr(10).join(body)}</body></html>\n"
    )


def _found(line: Line, key: str | None) -> str:
    stops = line.severity == STOPS
    about = f"<code>{escape(line.column)}</code>: " if line.column else ""
    word = '<span class="fail">stops</span>' if stops else '<span class="warn">warns</span>'
    rows = line.verdict.evidence.get("rows")
    listed = _rows(line.verdict, rows, key) if rows else ""
    return (
        f'<section class="found{"" if stops else " warns"}"><h3>{about}{escape(line.said)} · {word}'
        f"</h3><p>{escape(_sentence(line))}</p>{listed}</section>"
    )


def _rows(verdict: Verdict, rows: list[Json], key: str | None) -> str:
    head = ["row", *([key] if key else []), "value"]
    cells = (_cells(row, key) for row in rows[:ROWS])
    table = "".join(_line(it, ["number", *([""] if key else []), ""]) for it in cells)
    more = f'<p class="dim">{_more(verdict, len(rows))}</p>' if _more(verdict, len(rows)) else ""
    return f'<div class="wide"><table>{_head(head)}<tbody>{table}</tbody></table></div>{more}'


def _checks(it: Validation) -> str:
    lines = []
    for line in it.lines:
        sign, colour = ("✓ holds", "pass") if not failed(line.verdict) else ("✗ stops", "fail")
        if failed(line.verdict) and line.severity != STOPS:
            sign, colour = "! warns", "warn"
        cells = [sign, line.column, line.said, _measured(line.verdict)]
        lines.append(_line(cells, [f"sign {colour}", "column", "", ""]))
    head = _head(["", "column", "expected", "found"])
    return f'<table class="checks">{head}<tbody>{"".join(lines)}</tbody></table>'


def _measured(verdict: Verdict) -> str:
    count = verdict.evidence.get("unexpected_count")
    if count is not None:
        return f"{count:,} of {verdict.n:,} rows not" if count else ""
    observed = verdict.evidence.get("observed", verdict.value)
    if isinstance(observed, list):
        return f"{len(observed)}: {', '.join(map(str, observed[:8]))}"[:80]
    if isinstance(observed, int | float) and not isinstance(observed, bool):
        return f"{observed:,}" if isinstance(observed, int) else f"{observed:,.6g}"
    return _text(observed or "")


def _line(cells: list[str], classes: list[str]) -> str:
    parts = (
        f'<td class="{name}">{escape(text)}</td>' if name else f"<td>{escape(text)}</td>"
        for text, name in zip(cells, classes, strict=True)
    )
    return f"<tr>{''.join(parts)}</tr>"


def _head(cells: list[str]) -> str:
    return f"<thead><tr>{''.join(f'<th>{escape(it)}</th>' for it in cells)}</tr></thead>"
