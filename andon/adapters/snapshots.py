"""New data for a model: read from its source, written once in canonical form, tracked by DVC."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from andon.adapters import dvc, pointers, sources, tables
from andon.adapters.scans import FLOAT_EXACT
from andon.adapters.sources import Tell
from andon.errors import DataError
from andon.spec import ModelSpec, Source

_WORKSHOP = ".andon-add-"  # folders beside the data, gone when the work is done
_STALE = 24 * 3600.0  # seconds after which one is of a run that was killed

_LOOKED_AT = 10_000  # rows


@dataclass(frozen=True)
class Added:
    """Data as it was added. `before` is the content that the pointer named until now."""

    path: str
    source: str
    hash: str
    before: str | None
    rows: int
    columns: dict[str, str]
    notes: tuple[str, ...]


def data_path(spec: ModelSpec) -> Path:
    """Where a model's data is, relative to the project."""
    return Path("models") / spec.name / spec.data


def add(
    project: Path, spec: ModelSpec, source: Source, tell: Tell, *, force: bool = False
) -> Added:
    """Write a source's rows to the model's `data`, and track it with DVC.

    Until all of it is written and fits `model.yaml`, the old data stays where it is; after an
    error, too. Raises DataError.
    """
    relative = data_path(spec)
    target = project / relative
    if target.suffix != ".parquet":
        raise DataError(
            f"models/{spec.name}/model.yaml: data: {spec.data}: `andon data add` writes Parquet; "
            f"name it {Path(spec.data).with_suffix('.parquet')}"
        )
    with _workshop(target.parent) as folder:
        parts = sources.fetch(source, project / "models" / spec.name, Path(folder), tell)
        if len(parts) > 1 and any(it.path.resolve() == target.resolve() for it in parts):
            raise DataError(
                f"{sources.describe(source)}: matches {relative}, too, which is to be written"
            )
        tell("writing", 0, None)
        info = tables.write_parts(parts, Path(folder) / "new.parquet")
        _demand_columns(spec, info)
        before = _demand_kept(project, relative, info.path, force or _is(parts, target))
        notes = _notes(info, spec)
        tell("tracking", 0, None)
        hash_ = dvc.replace(project, relative, info.path)
    kinds = {name: str(kind) for name, kind in info.columns.items()}
    return Added(
        str(relative), sources.describe(source), hash_, before, info.rows, kinds, tuple(notes)
    )


def _is(parts: list[tables.Part], target: Path) -> bool:
    return len(parts) == 1 and parts[0].path.resolve() == target.resolve()


def _workshop(folder: Path) -> TemporaryDirectory[str]:
    """A folder for unfinished work, on the data's own file system."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f"{_WORKSHOP}*"):
            if time.time() - left.stat().st_mtime > _STALE:
                shutil.rmtree(left, ignore_errors=True)
        return TemporaryDirectory(prefix=_WORKSHOP, dir=folder)
    except OSError as error:
        raise DataError(f"{folder}: cannot write: {error.strerror or error}") from None


def _demand_columns(spec: ModelSpec, info: tables.SnapshotInfo) -> None:
    missing = sorted(spec.not_features - set(info.columns))
    if missing:
        raise DataError(
            f"models/{spec.name}/model.yaml names columns that the data lacks: "
            f"{', '.join(missing)}; there are: {', '.join(list(info.columns)[:50])}"
        )


def _demand_kept(project: Path, relative: Path, new: Path, force: bool) -> str | None:
    """The content that the pointer names; what is there now must be in DVC's cache, or go."""
    target = project / relative
    before = dvc.tracked(project, relative)[0] if pointers.pointer(target).is_file() else None
    if not target.is_file():
        return before
    there = dvc.md5_of(target)
    if there == before:
        dvc.track(project, relative)  # the cache may have been emptied
    elif not force and there != dvc.md5_of(new):
        raise DataError(
            f"{relative}: has content that DVC does not know, and would be lost; run "
            f"`dvc add {relative}`, move it away, or add --force"
        )
    return before


def _notes(info: tables.SnapshotInfo, spec: ModelSpec) -> list[str]:
    """What is no mistake, but may surprise."""
    import pyarrow.parquet as pq

    footer = pq.read_metadata(info.path)
    notes = []
    for place, (name, kind) in enumerate(info.columns.items()):
        groups = [footer.row_group(i).column(place) for i in range(footer.num_row_groups)]
        stats = [it.statistics for it in groups if it.statistics is not None]
        if sum(it.null_count or 0 for it in stats) == info.rows:
            notes.append(f"{name}: nothing but nulls")
        ends = [end for it in stats if it.has_min_max for end in (it.min, it.max)]
        feature = kind == "integer" and name not in spec.not_features
        if feature and any(abs(it) > FLOAT_EXACT for it in ends):
            notes.append(f"{name}: integers beyond 2**53; a pipeline is given them as float64")
    return notes + _half_numbers(info)


def _half_numbers(info: tables.SnapshotInfo) -> list[str]:
    """Columns of numbers that are text because of a few other values, as "n/a"."""
    import polars as pl

    texts = [name for name, kind in info.columns.items() if kind == "category"]
    first = pl.scan_parquet(info.path).select(texts).head(_LOOKED_AT).collect()
    notes = []
    for name in texts:
        given = first[name].drop_nulls()
        numbers = given.len() - given.cast(pl.Float64, strict=False).null_count()
        if given.len() / 2 < numbers < given.len():
            notes.append(
                f"{name}: is text, though {numbers:,} of its first {given.len():,} values are "
                "numbers; leave cells empty that have none"
            )
    return notes
