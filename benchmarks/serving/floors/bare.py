"""The floor: the model alone, called in a loop: `bare.py PIPELINE BUNDLE ROWS SECONDS`.

Prints microseconds a call as JSON: `predict_proba` on a DataFrame made of the rows, as the usual
server calls it, and the bundle's engine on cells that are decoded already.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import joblib
import pandas as pd

from serving.engine import load
from serving.table import Table


def microseconds(call: Callable[[Any], Any], inputs: list[Any], seconds: float) -> float:
    """Mean time of a call over distinct inputs, after one round to warm up."""
    call(inputs[0])
    turns, calls = cycle(inputs), 0
    began = now = time.perf_counter()
    while now - began < seconds:
        call(next(turns))
        calls += 1
        now = time.perf_counter()
    return (now - began) / calls * 1e6


def main() -> None:
    pipeline = joblib.load(sys.argv[1])
    model = load(Path(sys.argv[2]))
    records = json.loads(Path(sys.argv[3]).read_text())
    seconds = float(sys.argv[4])
    columns = model.signature.columns
    rows = [tuple(record[it.name] for it in columns) for record in records]
    found = {}
    for size in (1, 100):
        starts = range(0, len(records), size)
        usual = microseconds(
            lambda some: pipeline.predict_proba(pd.DataFrame(some)),
            [records[i : i + size] for i in starts],
            seconds,
        )
        ready = [rows[i : i + size] for i in starts]
        if size == 1:
            own = microseconds(model.engine.row, [row for (row,) in ready], seconds)
        else:
            tables = [Table.of_rows(columns, some) for some in ready]
            own = microseconds(model.engine.table, tables, seconds)
        found[size] = {"pipeline": usual, "engine": own}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
