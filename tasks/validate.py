"""Station: does the data hold what its expectations say?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from andon import validation_page
from andon.adapters.files import file_hash, key_of, load_settings, load_spec, stored
from andon.validation_page import Validation
from tasks.line import Job, keep, line_for, show, station, verdict_table
from tasks.results import Snapshot, Validated

PAGE = "validation.html"


def _suite(project: Path, model: str) -> Path | None:
    path = project / "models" / model / "expectations.json"
    return path if path.is_file() else None


def _read(job: Job, snapshot: Snapshot) -> str:
    settings = load_settings()
    spec, suite = load_spec(settings.project, job.model), _suite(settings.project, job.model)
    named = (spec.target, spec.task, spec.positive, spec.key, spec.time, spec.drop)
    shown = (spec.reports.mask, spec.logging.mask)
    return key_of(snapshot.hash, suite and file_hash(suite), named, shown)


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
    told = Validation(
        model=job.model,
        snapshot=snapshot.hash,
        rows=snapshot.rows,
        verdicts=report.verdicts,
        results=report.result["results"],
        key=line.spec.key if line.spec.key in snapshot.columns else None,
    )
    key = _read(job, snapshot)
    folder = line.settings.store / "validations" / job.model / key
    stored(folder, lambda into: _write(into, told, report.result))
    show(job, "validation", _artifact(told, folder / PAGE))
    return Validated(
        key=key,
        verdicts=tuple(report.verdicts),
        report=str((folder / PAGE).relative_to(line.settings.state)),
    )


def _write(folder: Path, told: Validation, result: dict[str, Any]) -> None:
    (folder / PAGE).write_text(validation_page.page(told), encoding="utf-8")
    text = json.dumps(result, ensure_ascii=False, indent=1)
    (folder / "validation.json").write_text(text + "\n", encoding="utf-8")


def _artifact(told: Validation, page: Path) -> str:
    """What is wrong comes first; a page of Prefect's cannot serve ours, so it says where it is."""
    return f"{validation_page.markdown(told, page.as_uri())}\n\n{verdict_table(told.verdicts)}"
