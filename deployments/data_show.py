"""Snapshots for people: what was added, what there is, what differs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from andon.adapters import comparing, pointers, tables
from andon.adapters.ledger import Ledger
from andon.adapters.snapshots import Added, data_path
from andon.differences import Difference, Shift, changed
from andon.errors import LineError
from andon.settings import Settings
from andon.spec import ModelSpec

_MANY = 20  # columns in a table
_SIGNS = {"fail": "[yellow]changed[/yellow]", "pass": "same", "inconclusive": "too few rows"}


def added(settings: Settings, spec: ModelSpec, found: Added, out: Console) -> None:
    """What was added, what changed by it, and what to commit."""
    out.print(
        f"[bold]{escape(found.path)}[/bold]: {found.rows:,} rows, {len(found.columns)} columns "
        f"from {escape(found.source)}",
        soft_wrap=True,
    )
    out.print(f"snapshot [bold]{found.hash}[/bold]")
    for note in found.notes:
        out.print(f"[yellow]note[/yellow] {escape(note)}", soft_wrap=True)
    if found.before == found.hash:
        out.print("the same content as before: nothing to commit")
        return
    if found.before is not None:
        said = f"before it {found.before}: {escape(_briefly(settings, spec, found))}"
        out.print(said, soft_wrap=True)
        out.print(f"more of it: andon data diff {spec.name}")
    folder = Path(found.path).parent
    out.print(f"now commit it: git add {folder} && git commit -m '…'", soft_wrap=True)


def _briefly(settings: Settings, spec: ModelSpec, found: Added) -> str:
    try:
        with TemporaryDirectory() as folder:
            before = comparing.as_file(settings, spec, found.before or "", Path(folder))
            it = comparing.compare(before, settings.project / found.path, spec, deep=False)
    except LineError as error:
        return f"cannot be compared: {error}"
    columns = "; ".join(map(str, it.columns)) or "the same columns"
    return f"{it.rows[1] - it.rows[0]:+,} rows; {columns}"


@dataclass(frozen=True)
class Known:
    """One snapshot with all that is known of it."""

    hash: str
    commit: str
    date: str
    subject: str
    rows: int | None
    trained: tuple[str, ...]


def known(settings: Settings, spec: ModelSpec, ledger: Ledger | None) -> list[Known]:
    """What git has of the pointer, newest first, then what only the ledger has."""
    kept = {it.hash: it for it in ledger.snapshots(spec.name)} if ledger else {}
    trained: dict[str, list[str]] = {}
    for it in reversed(ledger.candidates(spec.name)) if ledger else ():
        trained.setdefault(it.snapshot, []).append(f"v{it.version}")
    found = []
    for version in pointers.history(settings.project, data_path(spec)):
        row = kept.get(version.md5)
        rows = row.row_count if row else _rows_here(settings, spec, version.md5)
        found.append(
            Known(
                version.md5,
                version.commit,
                version.date,
                version.subject if version.commit else "not committed yet",
                rows,
                tuple(trained.get(version.md5, ())),
            )
        )
    in_git = {it.hash for it in found}
    for hash_, row in kept.items():
        if hash_ not in in_git:
            day = datetime.fromtimestamp(row.at, UTC).strftime("%Y-%m-%d")
            versions = tuple(trained.get(hash_, ()))
            found.append(Known(hash_, "", day, row.source, row.row_count, versions))
    return found


def _rows_here(settings: Settings, spec: ModelSpec, md5: str) -> int | None:
    """Rows of a version that lies on this machine; nothing is downloaded for it."""
    cache = settings.project / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    try:
        return tables.row_count(cache)
    except (OSError, ValueError):
        return None


def listed(rows: list[Known], out: Console) -> None:
    """The list of snapshots."""
    table = Table("snapshot", "rows", "commit", "date", "trained", "what", box=None)
    table.columns[1].justify = "right"
    for it in rows:
        count = "?" if it.rows is None else f"{it.rows:,}"
        table.add_row(
            it.hash[:12], count, it.commit[:10], it.date, ", ".join(it.trained), escape(it.subject)
        )
    out.print(table if rows else "no snapshots yet: `andon data add MODEL SOURCE`")


def as_data(found: Difference) -> dict[str, Any]:
    """A difference for programs."""
    shifts = [{**asdict(it), "verdict": it.verdict.model_dump(mode="json")} for it in found.shifts]
    return {
        "rows": found.rows,
        "columns": [asdict(it) for it in found.columns],
        "keyed": asdict(found.keyed) if found.keyed else None,
        "shifts": shifts,
        "notes": found.notes,
    }


def difference(before: str, after: str, found: Difference, out: Console) -> None:
    """Columns, rows and distributions, the largest change first."""
    out.print(f"[bold]{before[:12]} → {after[:12]}[/bold]")
    one, other = found.rows
    out.print(f"rows     {one:,} → {other:,} ({other - one:+,})")
    for change in found.columns:
        out.print(f"column   {escape(str(change))}")
    if found.keyed is not None:
        it = found.keyed
        out.print(
            f"by key   {it.added:,} new, {it.removed:,} gone, {it.changed:,} changed, "
            f"{it.same:,} the same"
        )
        most = sorted(it.cells.items(), key=lambda cell: -cell[1])[:_MANY]
        if most:
            cells = ", ".join(f"{name} in {count:,} rows" for name, count in most)
            out.print(f"changed  {escape(cells)}", soft_wrap=True)
    for note in found.notes:
        out.print(f"note     {escape(note)}", soft_wrap=True)
    moved = changed(found.shifts)
    out.print(f"\n{len(moved)} of {len(found.shifts)} distributions changed")
    out.print(_shifts(found.shifts))
    if len(found.shifts) > _MANY:
        out.print(f"… and {len(found.shifts) - _MANY} columns with less effect: --json has all")


def _shifts(shifts: tuple[Shift, ...]) -> Table:
    table = Table("column", "kind", "", "effect", "adjusted p", "nulls", "mean", "most", box=None)
    for it in shifts[:_MANY]:
        value, p = it.verdict.value, it.verdict.evidence.get("adjusted_p")
        table.add_row(
            escape(it.column),
            it.kind,
            _SIGNS[it.verdict.outcome.value],
            "" if value is None else f"{value:.3f}",
            "" if p is None else f"{p:.2g}",
            f"{it.nulls[0]:.1%} → {it.nulls[1]:.1%}" if any(it.nulls) else "",
            "" if None in it.mean or it.kind == "date" else f"{it.mean[0]:.4g} → {it.mean[1]:.4g}",
            escape(it.largest),
        )
    return table
