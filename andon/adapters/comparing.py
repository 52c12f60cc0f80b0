"""Two snapshots side by side, a column at a time."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from andon import differences, profile
from andon.adapters import dvc, pointers, tables
from andon.adapters.pointers import Version
from andon.adapters.snapshots import data_path
from andon.differences import Difference, KeyedRows
from andon.errors import DataError, first_line
from andon.profile import Feature
from andon.settings import Settings
from andon.spec import DriftMonitor, ModelSpec
from serving.bundle import Column

MIN_ROWS = 100  # of a snapshot, to say anything of its distributions


def compare(before: Path, after: Path, spec: ModelSpec, *, deep: bool = True) -> Difference:
    """What differs between two files of rows; without `deep`, nothing that reads the rows."""
    old, new = tables.read(before), tables.read(after)
    kinds = [tables.kinds(it.collect_schema()) for it in (old, new)]
    rows = tuple(int(it.select(pl.len()).collect().item()) for it in (old, new))
    changes = differences.column_changes(*kinds)
    common = [name for name in kinds[0] if kinds[0][name] == kinds[1].get(name)]
    notes: list[str] = []
    keyed, shifts = None, []
    if deep:
        keyed = _keyed(old, new, spec.key, common, notes)
        columns = [Column(it, kinds[0][it]) for it in common if it != spec.key]
        pairs = [_features(old, new, column) for column in columns]
        monitor = next((it for it in spec.monitors if isinstance(it, DriftMonitor)), DriftMonitor())
        shifts = differences.shifts(
            pairs,
            alpha=monitor.alpha,
            effect=monitor.effect,
            min_rows=min(monitor.min_rows, MIN_ROWS),
            masked=spec.reports.mask,
        )
    return Difference((rows[0], rows[1]), tuple(changes), keyed, tuple(shifts), tuple(notes))


def _features(old: pl.LazyFrame, new: pl.LazyFrame, column: Column) -> tuple[Feature, Feature]:
    before = profile.feature_of(column, old.select(column.name).collect()[column.name])
    return before, profile.recounted(before, new.select(column.name).collect()[column.name])


def _keyed(
    old: pl.LazyFrame, new: pl.LazyFrame, key: str | None, common: list[str], notes: list[str]
) -> KeyedRows | None:
    """None where rows cannot be told apart; the notes say why."""
    if key is None:
        notes.append("rows were not compared one by one: model.yaml names no key")
        return None
    if key not in common:
        notes.append(f"rows were not compared one by one: not both have the key {key} as one kind")
        return None
    for name, table in (("before", old), ("after", new)):
        unique = (pl.col(key).n_unique() == pl.len()) & (pl.col(key).null_count() == 0)
        if not table.select(unique).collect().item():
            notes.append(f"rows were not compared one by one: {key} is not unique {name}")
            return None
    others = [name for name in common if name != key]
    both = old.select(key, *others).join(
        new.select(key, pl.col(others).name.suffix("\0")), on=key, how="inner"
    )
    differ = [pl.col(name).ne_missing(pl.col(f"{name}\0")).alias(name) for name in others]
    flags = both.select(*differ, pl.any_horizontal(*differ, pl.lit(False)).alias("\0"))
    sums = (
        flags.select(pl.all().sum(), pl.len().alias("\0n"))
        .collect(engine="streaming")
        .row(0, named=True)
    )
    rows, changed = sums.pop("\0n"), sums.pop("\0")
    before, after = (int(it.select(pl.len()).collect().item()) for it in (old, new))
    cells = {name: int(count) for name, count in sums.items() if count}
    return KeyedRows(after - rows, before - rows, int(changed), rows - int(changed), cells)


# --- which snapshots


def known_hash(settings: Settings, spec: ModelSpec, text: str, others: list[str]) -> str:
    """The hash that a person means by a prefix of it, or by a git revision.

    `others` are hashes beside those of the pointer's history. Raises DataError if none is meant,
    or several.
    """
    path = data_path(spec)
    hashes = {it.md5 for it in pointers.history(settings.project, path)} | set(others)
    found = sorted(it for it in hashes if it.startswith(text.lower()))
    if len(found) > 1:
        raise DataError(f"{text!r} may be any of {', '.join(found)}; write more of it")
    meant = found[0] if found else pointers.at(settings.project, path, text)
    if meant is None:
        listed = ", ".join(sorted(it[:12] for it in hashes)) or "none"
        raise DataError(
            f"{text!r}: neither the beginning of a snapshot's hash nor a git revision that has "
            f"{path}.dvc; snapshots: {listed}"
        )
    return meant


def latest_two(settings: Settings, spec: ModelSpec) -> tuple[Version, Version]:
    """The version before, and what the pointer says now; raises DataError if there is but one."""
    found = pointers.history(settings.project, data_path(spec))
    if len(found) < 2:
        raise DataError(
            f"{data_path(spec)}.dvc: {'one version' if found else 'no version'} in git's history; "
            "there is nothing to compare it with"
        )
    return found[1], found[0]


def as_file(settings: Settings, spec: ModelSpec, hash_: str, folder: Path) -> Path:
    """A snapshot as a Parquet file, from the line's store, DVC's cache or its remote."""
    kept = settings.store / "snapshots" / spec.name / hash_ / tables.SNAPSHOT
    if kept.is_file():
        return kept
    source = dvc.content(settings.project, hash_, f"snapshot {hash_[:12]} of {spec.name}")
    link = folder / f"{hash_}{_ending(source)}"
    if not link.exists():
        link.symlink_to(source)
    if link.suffix == ".parquet":
        return link
    return tables.write_parts(
        [tables.Part(link, f"snapshot {hash_[:12]}")], folder / f"{hash_}.parquet"
    ).path


def _ending(path: Path) -> str:
    """DVC's cache keeps no names: Parquet files begin with their own four bytes."""
    with path.open("rb") as file:
        return ".parquet" if file.read(4) == b"PAR1" else ".csv"


def between(settings: Settings, spec: ModelSpec, before: str, after: str) -> Difference:
    """What differs between two snapshots, by their hashes."""
    with TemporaryDirectory() as folder:
        files = [as_file(settings, spec, it, Path(folder)) for it in (before, after)]
        try:
            return compare(files[0], files[1], spec)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{before[:12]}, {after[:12]}: {first_line(error)}") from None
