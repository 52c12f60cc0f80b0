"""The results as people read them: Markdown tables, a plot, and the raw samples as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from plot import plot
from results import Load, Results, Spread
from servers import BY_NAME, SERVERS
from targets import HUNDRED, LOADS, MANY, ONE, TITLES, Target, small

BEGIN, END = "<!-- results: written by the benchmark -->", "<!-- end of results -->"
NOISY = 0.05  # share of the server's core that others may use


def write(folder: Path, results: Results, about: dict[str, str]) -> None:
    """results.json and results.svg in a folder."""
    content = {"about": about, "samples": results.samples}
    (folder / "results.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    plot(results, folder / "results.svg")


def insert(page: Path, text: str) -> None:
    """Put the tables where the page has its markers."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise LookupError(f"{page} has no {BEGIN} … {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


def markdown(results: Results, targets: list[Target], about: dict[str, str]) -> str:
    """All of it."""
    parts = [_about(results, about), _table(_targets(targets))]
    for kind, title in TITLES.items():
        if results.of("load", model=kind):
            parts += [f"### {title}", _table(_servers(results, kind)), _bare(results, kind)]
    parts += ["### Exactness", _table(_exactness(results))]
    if results.of("overload"):
        parts += ["### Overload", _table(_overload(results))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(rows: Iterator[list[str]]) -> str:
    head, *rest = rows
    lines = [head, ["---"] * len(head), *rest]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _about(results: Results, about: dict[str, str]) -> str:
    lines = [f"- {name}: {value}" for name, value in about.items()]
    loads = results.of("load")
    noisy = [it for it in loads if it["foreign"] > NOISY]
    if loads:
        worst = max(it["foreign"] for it in loads)
        lines.append(
            f"- others on the server's core: at most {100 * worst:.0f} % of it; above "
            f"{100 * NOISY:.0f} % in {len(noisy)} of {len(loads)} loads"
        )
    lines += [f"- **failed**: {it['about']}: {it['reason'][:200]}" for it in results.of("failed")]
    return "\n".join(lines)


def _targets(targets: list[Target]) -> Iterator[list[str]]:
    yield ["target", "limit", "found (lowest to highest round)", "against", ""]
    for it in targets:
        limit = f"{'≥' if it.at_least else '≤'} {it.form(it.limit)}"
        found = "not measured" if it.found is None else it.found.text(it.form)
        against = BY_NAME[it.against].title if it.against else ""
        yield [it.text, limit, found, against, "✓" if it.met else "✗"]


def _servers(results: Results, kind: str) -> Iterator[list[str]]:
    yield [
        "server", "1 row, 32 clients: req/s", "1 row, 1 client: p50", "CPU a request",
        "100 rows, 1 client: req/s", "100 rows, 32 clients: req/s", "memory", "start",
        "environment",
    ]  # fmt: skip

    def cell(what: str, server: str, load: Load | None, form: Callable[[float], str]) -> str:
        spread = results.spread(what, kind, server, load)
        return "" if spread is None else spread.text(form)

    for server in SERVERS:
        if not results.of("start", model=kind, server=server.name):
            continue
        name = server.name
        yield [
            server.title,
            cell("per_second", name, MANY, number),
            cell("p50_ms", name, ONE, lambda value: f"{value:.3g} ms"),
            cell("cpu_us", name, MANY, lambda value: f"{number(value)} µs"),
            cell("per_second", name, LOADS[2], number),
            cell("per_second", name, HUNDRED, number),
            cell("memory_mb", name, None, megabytes),
            cell("seconds", name, None, lambda value: f"{value:.2f} s"),
            "" if server.role == "floor" else cell("environment_mb", name, None, megabytes),
        ]


def _bare(results: Results, kind: str) -> str:
    """The floor: the model without a server."""
    said = []
    for what, title in (("pipeline", "the pipeline on a DataFrame"), ("engine", "our engine")):
        for rows in (1, 100):
            found = results.of("bare", model=kind, what=what, rows=rows)
            spread = Spread.of(it["us"] for it in found)
            if spread:
                said.append(f"{title}, {rows} row{'s' * (rows > 1)}: {number(spread.median)} µs")
    return f"The model alone, without a server: {'; '.join(said)}." if said else ""


def _exactness(results: Results) -> Iterator[list[str]]:
    yield [
        "model", "server", "rows", "labels flipped", "largest difference",
        "otherwise alone than in a batch", "by up to", "otherwise among 32 clients", "by up to",
    ]  # fmt: skip
    for kind, title in TITLES.items():
        for it in results.of("exact", model=kind):
            alone = f"of {it['alone']:,} ({it['alone_null']:,} with a null category)"
            yield [
                title,
                BY_NAME[it["server"]].title,
                f"{it['rows']:,}",
                str(it["flips"]),
                small(it["difference"]),
                f"{it['alone_differ']} {alone}",
                f"{it['alone_difference']:.2g}",
                str(it["at_once_differ"]),
                f"{it['at_once_difference']:.2g}",
            ]


def _overload(results: Results) -> Iterator[list[str]]:
    yield [
        "model", "server", "offered", "in time", "refused (503)", "late or broken",
        "answers again after",
    ]  # fmt: skip
    for it in results.of("overload"):
        again = it["recovery_seconds"]
        rows = f"{it['rows']} row{'s' * (it['rows'] > 1)}"
        own = ", twice its own capacity" * (it["burst"] == "own")
        yield [
            TITLES[it["model"]],
            BY_NAME[it["server"]].title,
            f"{it['rate']:.0f}/s of {rows}{own}",
            *(f"{100 * it[key] / it['offered']:.1f} %" for key in ("in_time", "refused")),
            f"{100 * (it['late'] + it['broken']) / it['offered']:.1f} %",
            "not within a minute" if again is None else f"{again:.2f} s",
        ]


def number(value: float) -> str:
    """Three digits, with separators."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def megabytes(value: float) -> str:
    return f"{value:.0f} MB"
