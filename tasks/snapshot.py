"""Station: one content-addressed version of the data."""

from __future__ import annotations

from pathlib import Path

from andon.adapters import dvc
from andon.adapters.files import load_settings, load_spec, stored
from andon.settings import Settings
from tasks.line import Job, line_for, show, station
from tasks.results import Snapshot


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
    rows = row_count(folder / tables.SNAPSHOT)
    line.ledger.add_snapshot(hash_, model=job.model, source=name, rows=rows, columns=columns)
    listed = "\n".join(f"| {column} | {kind} |" for column, kind in columns.items())
    title = f"# Snapshot `{hash_}`\n\n{rows:,} rows from `{name}`"
    show(job, "snapshot", f"{title}\n\n| column | kind |\n| --- | --- |\n{listed}")
    return Snapshot(
        hash=hash_,
        folder=str(folder.relative_to(line.settings.state)),
        rows=rows,
        columns=columns,
        source=name,
    )


def snapshot_folder(settings: Settings, model: str, hash_: str) -> Path:
    """Where a snapshot lies."""
    return settings.store / "snapshots" / model / hash_


def row_count(path: Path) -> int:
    """Rows of a Parquet file, from its footer."""
    import pyarrow.parquet as pq

    return int(pq.ParquetFile(path).metadata.num_rows)


def void(_: object) -> None:
    """For callers that want the effect only."""
