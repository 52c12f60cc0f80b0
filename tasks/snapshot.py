"""Station: one content-addressed version of the data."""

from __future__ import annotations

from pathlib import Path

from andon.adapters import dvc
from andon.adapters.files import load_settings, load_spec, stored
from andon.differences import Difference, changed
from andon.settings import Settings
from tasks.line import PRODUCTION, Job, Line, line_for, show, station
from tasks.results import Snapshot

DEEP_ROWS = 1_000_000


def _tracked(job: Job) -> str:
    project = load_settings().project
    data = Path("models") / job.model / load_spec(project, job.model).data
    if (project / data).is_file():
        dvc.fetch(project, data)  # changed but not added: say so, though the snapshot is there
    return dvc.tracked(project, data)[0]


@station(reads=_tracked)
def take_snapshot(job: Job) -> Snapshot:
    """Fetch the data that the commit's DVC pointer names, and write it as canonical Parquet."""
    line = line_for(job.model)
    relative = Path("models") / job.model / line.spec.data
    hash_, _ = dvc.tracked(line.settings.project, relative)
    return keep_snapshot(job, dvc.fetch(line.settings.project, relative), hash_, str(relative))


def keep_snapshot(job: Job, source: Path, hash_: str, name: str) -> Snapshot:
    """Put a file into the store as a snapshot, and on the ledger."""
    from andon.adapters import tables

    line = line_for(job.model)
    folder = snapshot_folder(line.settings, job.model, hash_)
    stored(folder, lambda into: void(tables.write_snapshot(source, into)))
    table = tables.read(folder / tables.SNAPSHOT)
    columns = {name: str(kind) for name, kind in tables.kinds(table.collect_schema()).items()}
    rows = tables.row_count(folder / tables.SNAPSHOT)
    line.ledger.add_snapshot(hash_, model=job.model, source=name, rows=rows, columns=columns)
    listed = "\n".join(f"| {column} | {kind} |" for column, kind in columns.items())
    title = f"# Snapshot `{hash_}`\n\n{rows:,} rows from `{name}`"
    told = against_champion(line, hash_, rows, folder)
    show(job, "snapshot", f"{title}\n\n{told}| column | kind |\n| --- | --- |\n{listed}")
    return Snapshot(
        hash=hash_,
        folder=str(folder.relative_to(line.settings.state)),
        rows=rows,
        columns=columns,
        source=name,
    )


def against_champion(line: Line, hash_: str, rows: int, folder: Path) -> str:
    """What changed since the data that the champion was trained on, in Markdown; may be nothing.

    The rows of large data are not read for it: `andon data diff` does that.
    """
    from andon.adapters import comparing, tables

    champion = line.ledger.champion(PRODUCTION, line.spec.name)
    if champion is None:
        return ""
    before = line.ledger.candidate_of(champion).snapshot
    old = snapshot_folder(line.settings, line.spec.name, before) / tables.SNAPSHOT
    if before == hash_ or not old.is_file():
        return ""
    found = comparing.compare(old, folder / tables.SNAPSHOT, line.spec, deep=rows <= DEEP_ROWS)
    who = f"v{champion.version}, which serves, learned from `{before[:12]}`"
    return f"{who}: {difference_text(found)}\n\n"


def difference_text(found: Difference) -> str:
    """A difference in a few Markdown lines."""
    before, after = found.rows
    lines = [f"{before:,} rows then, {after:,} now.", ""]
    lines += [f"- {change}" for change in found.columns]
    if found.keyed is not None:
        keyed = found.keyed
        lines.append(
            f"- by key {keyed.added:,} new, {keyed.removed:,} gone, {keyed.changed:,} changed"
        )
    for it in changed(found.shifts):
        effect = it.verdict.value or 0.0
        lines.append(f"- {it.column} is distributed otherwise (effect {effect:.2f}): {it.largest}")
    return "\n".join(line.replace("|", "\\|") for line in lines)


def snapshot_folder(settings: Settings, model: str, hash_: str) -> Path:
    """Where a snapshot lies."""
    return settings.store / "snapshots" / model / hash_


def void(_: object) -> None:
    """For callers that want the effect only."""
