"""Station: which rows are learned from, and which are held out to measure what was learned."""

from __future__ import annotations

import json
from pathlib import Path

from andon.adapters.files import key_of, load_settings, load_spec, stored
from andon.adapters.trainer import FACTS, HELD_OUT, LEARN, SIGNATURE
from andon.verdict import Verdict
from tasks.line import Job, Line, keep, line_for, show, station, verdict_table
from tasks.results import Snapshot, SplitRows

_LAYOUT = 1  # of the folder


def _read(job: Job, snapshot: Snapshot) -> str:
    spec = load_spec(load_settings().project, job.model)
    named = (spec.target, spec.task, spec.positive, spec.key, spec.time, spec.drop, spec.seed)
    return key_of(_LAYOUT, job.model, snapshot.hash, named, spec.split, spec.leakage)


@station(reads=_read)
def split_rows(job: Job, snapshot: Snapshot) -> SplitRows:
    """Hold rows out as the spec says, and look for what held-out rows would tell of themselves."""
    line, key = line_for(job.model), _read(job, snapshot)
    folder = line.settings.store / "splits" / job.model / key
    stored(folder, lambda into: _split(line, snapshot, into))
    facts = json.loads((folder / FACTS).read_text())
    verdicts = tuple(Verdict.model_validate(it) for it in facts["verdicts"])
    keep(job, "split", f"snapshot {snapshot.hash[:12]}", verdicts)
    learn, held_out = facts["rows"]
    text = f"# Split\n\n{learn:,} rows to learn from, {held_out:,} held out, {facts['how']}"
    show(job, "split", f"{text}\n\n{verdict_table(verdicts)}")
    return SplitRows(
        key=key,
        folder=str(folder.relative_to(line.settings.state)),
        snapshot=snapshot.hash,
        rows=(learn, held_out),
        verdicts=verdicts,
    )


def _split(line: Line, snapshot: Snapshot, folder: Path) -> None:
    import msgspec
    import polars as pl

    from andon.adapters import splitting, tables

    table = pl.read_parquet(line.settings.state / snapshot.folder / tables.SNAPSHOT)
    found = splitting.split(table, line.spec)
    tables.write(found.learn, folder / LEARN)
    tables.write(found.held_out, folder / HELD_OUT)
    (folder / SIGNATURE).write_bytes(msgspec.json.encode(found.signature))
    facts = {
        "rows": [found.learn.height, found.held_out.height],
        "how": found.how,
        "verdicts": [it.model_dump(mode="json") for it in found.verdicts],
    }
    (folder / FACTS).write_text(json.dumps(facts, indent=1))
