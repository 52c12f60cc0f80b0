"""Which held-out rows are of the time that a retraining is about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from andon.adapters.inference_log import Window
from andon.adapters.learning import LIVE, live_table
from andon.spec import ModelSpec

if TYPE_CHECKING:
    import polars as pl


def came_live(table: pl.DataFrame, spec: ModelSpec, window: Window) -> NDArray[np.bool_]:
    """Which rows of a table are labelled rows of a window, (n,): by the key of live rows.

    Without a key rows are the same if all columns are that both have.
    """
    if spec.key is not None:
        wanted = [f"{LIVE}{row['id']}" for row in window.rows]
        return np.asarray(table[spec.key].cast(str).is_in(wanted).to_numpy())
    live = live_table(spec, window, table.schema)
    shared = [it for it in table.columns if live.schema.get(it) == table.schema[it]]
    found = np.zeros(table.height, dtype=bool)
    if shared and live.height:
        numbered = table.select(shared).with_row_index("row number")
        same = numbered.join(live.select(shared).unique(), on=shared, how="semi", nulls_equal=True)
        found[same["row number"].to_numpy()] = True
    return found
