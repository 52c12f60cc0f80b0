"""What a build, and a champion's own bundle, say of the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from andon.adapters import tables
from andon.adapters.builds import read_facts
from andon.adapters.trainer import LEARN
from andon.errors import DataError
from andon.spec import ModelSpec
from andon.training import Outputs


def bundle_outputs(folder: Path, table: pl.DataFrame, classes: Sequence[Any]) -> Outputs:
    """What a sealed bundle says of a table's rows; probabilities in the order of `classes`.

    Raises DataError if a column or a class is missing, Refused if it takes a value for wrong.
    """
    from serving import engine
    from serving.frame import to_table

    bundle = engine.load(folder)
    records = tables.records(table, bundle.signature.columns)
    places, raw = bundle.engine.table(to_table(bundle.signature.columns, records))
    scores = np.asarray(raw, dtype=float).reshape(len(records), -1)
    manifest = bundle.manifest
    if manifest.task == "regression":
        return Outputs(scores[:, 0], None)
    if set(manifest.classes) != set(classes):
        raise DataError(f"it knows the classes {manifest.classes}, the challenger {list(classes)}")
    labels = np.asarray(manifest.classes)[np.asarray(places, dtype=int)]
    ordered = scores[:, [manifest.classes.index(it) for it in classes]]
    binary = manifest.positive >= 0
    return Outputs(scores[:, manifest.positive] if binary else scores.max(axis=1), labels, ordered)


def learned_from(
    table: pl.DataFrame, state: Path, build: Path, split: str | None, spec: ModelSpec
) -> NDArray[np.bool_] | None:
    """Which rows of a table a champion learned from (n,); None if that is no longer known.

    `build` is the champion's folder, and `split` the challenger's own: with the same split, none
    did. Rows are the same if their key is, or, without a key, all columns that both tables have.
    """
    try:
        theirs = read_facts(build).get("split")
    except FileNotFoundError:
        return None
    if theirs is None or not (state / theirs / LEARN).is_file():
        return None
    none = np.zeros(table.height, dtype=bool)
    if theirs == split:
        return none
    learned = pl.scan_parquet(state / theirs / LEARN)
    known = learned.collect_schema()
    shared = [it for it in table.columns if known.get(it) == table.schema[it]]
    on = [spec.key] if spec.key in shared else shared
    if not on:
        return none
    numbered = table.select(on).with_row_index("row number")
    seen = numbered.join(learned.select(on).unique().collect(), on=on, how="semi", nulls_equal=True)
    none[seen["row number"].to_numpy()] = True
    return none
