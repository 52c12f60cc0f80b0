"""A suite proposed from data: read, proposed, tried on the same rows, and written."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from andon.adapters import dvc, expectations, tables
from andon.adapters.scan import gx
from andon.adapters.summarising import summarised
from andon.errors import DataError, LineError
from andon.inferring import proposed, suite_text
from andon.settings import Settings
from andon.spec import ModelSpec

Json = dict[str, Any]


@dataclass(frozen=True)
class Proposal:
    """What holds on the rows it was made from; `scanned` of it need nothing but the one scan."""

    source: str
    rows: int
    expectations: list[Json]
    scanned: int
    text: str


def propose(data: pl.LazyFrame, spec: ModelSpec, source: str) -> Proposal:
    """A suite for a table in canonical types (`tables.read`); raises DataError if there is none."""
    try:
        table = summarised(data, spec)
        if not table.rows:
            raise DataError(f"{source}: 0 rows; nothing can be proposed from it")
        suite = proposed(table, spec)
        result, _, scanned = expectations.judged(data, gx.built(suite, None), spec.name, {})
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{source}: cannot be read: {error}") from None
    # What an engine sees in another way than we do is not proposed.
    kept = [place for place, it in enumerate(result["results"]) if it["success"]]
    holds = [suite[place] for place in kept]
    return Proposal(
        source, table.rows, holds, len(scanned.intersection(kept)), suite_text(spec.name, holds)
    )


def tracked_data(settings: Settings, spec: ModelSpec) -> tuple[pl.LazyFrame, str]:
    """What the model's DVC pointer names, and how to call it."""
    path = Path("models") / spec.name / spec.data
    return tables.read(dvc.fetch(settings.project, path)), str(path)


def snapshot(settings: Settings, spec: ModelSpec, hash_: str) -> tuple[pl.LazyFrame, str]:
    """A snapshot of the store by its hash, or the beginning of it; raises DataError."""
    folder = settings.store / "snapshots" / spec.name
    known = sorted(it.name for it in folder.glob("*") if not it.name.startswith("."))
    found = [name for name in known if hash_ and name.startswith(hash_)]
    if len(found) != 1:
        what = "no snapshot" if not found else f"{len(found)} snapshots"
        raise DataError(
            f"{spec.name}: {what} {hash_!r}; there are: {', '.join(known) or 'none yet'}"
        )
    return tables.read(folder / found[0] / tables.SNAPSHOT), f"snapshot {found[0][:12]}"


def suite_path(settings: Settings, model: str) -> Path:
    return settings.project / "models" / model / "expectations.json"


def difference(path: Path, text: str) -> str:
    """What would change in the file; empty if nothing does."""
    old = path.read_text(encoding="utf-8") if path.is_file() else ""
    lines = difflib.unified_diff(
        old.splitlines(), text.splitlines(), path.name, f"{path.name}, proposed", lineterm="", n=1
    )
    return "\n".join(lines)


def write(path: Path, text: str, *, force: bool) -> None:
    """Write the suite; raises LineError rather than replace another one, unless forced."""
    if path.is_file() and not force and path.read_text(encoding="utf-8") != text:
        raise LineError(f"{path}: there is a suite already; --force replaces it")
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise LineError(f"{path}: cannot write: {error.strerror or error}") from None
