"""Station: does the data hold what its expectations say?"""

from __future__ import annotations

from pathlib import Path

from andon.adapters.files import file_hash, key_of, load_settings, load_spec
from tasks.line import Job, keep, line_for, show, station, verdict_table
from tasks.results import Snapshot, Validated


def _suite(project: Path, model: str) -> Path | None:
    path = project / "models" / model / "expectations.json"
    return path if path.is_file() else None


def _read(job: Job, snapshot: Snapshot) -> str:
    settings = load_settings()
    spec, suite = load_spec(settings.project, job.model), _suite(settings.project, job.model)
    named = (spec.target, spec.task, spec.positive, spec.key, spec.time, spec.drop)
    return key_of(snapshot.hash, suite and file_hash(suite), named)


@station(reads=_read)
def validate(job: Job, snapshot: Snapshot) -> Validated:
    """Check the snapshot with Great Expectations; the verdicts go to the ledger."""
    from andon.adapters import expectations, tables

    line = line_for(job.model)
    report = expectations.validate(
        line.settings.state / snapshot.folder / tables.SNAPSHOT,
        _suite(line.settings.project, job.model),
        line.spec,
    )
    keep(job, "validate", f"snapshot {snapshot.hash[:12]}", report.verdicts)
    show(
        job,
        "validation",
        f"# Validation of {snapshot.rows:,} rows\n\n{verdict_table(report.verdicts)}",
    )
    return Validated(key=_read(job, snapshot), verdicts=tuple(report.verdicts))
