"""Is it right? Against the pipeline itself, and each row alone against the same row in a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from case import CATEGORIES, Record
from client import Scores, connection, scores, scores_at_once
from closed_loop import WrongAnswer
from numpy.typing import NDArray
from servers import Server

BATCH = 100
# Beyond rounding: the same arithmetic in another order.
SAME = 1e-9


@dataclass(frozen=True)
class Rows:
    """Rows, and what the pipeline says to them as one data frame."""

    records: list[Record]
    scores: Scores
    labels: NDArray[np.int64]

    def first(self, count: int) -> Rows:
        """Its first rows."""
        return Rows(self.records[:count], self.scores[:count], self.labels[:count])


def has_null_category(record: Record) -> bool:
    return any(record[name] is None for name in CATEGORIES)


def mixed(rows: Rows, count: int) -> NDArray[np.intp]:
    """Positions of so many rows, half of which have a null category."""
    null = np.array([has_null_category(record) for record in rows.records])
    half = count // 2
    return np.sort(np.r_[np.flatnonzero(null)[:half], np.flatnonzero(~null)[: count - half]])


def check(server: Server, port: int, rows: Rows, alone: int, batch: int = BATCH) -> dict[str, Any]:
    """How a server's scores differ. Raises WrongAnswer where that is not the known trap.

    The trap: a lone null category reaches the pipeline as None, and among others as NaN. Rows
    without one, and all rows of a batch, have to be right.
    """
    some = mixed(rows, min(alone, len(rows.records)))
    records = [rows.records[i] for i in some]
    with connection(port) as to:
        together = scores(to, server, rows.records, batch)
        single = scores(to, server, records, 1)
    at_once = scores_at_once(port, server, records)
    difference = np.abs(together - rows.scores).max(axis=1)
    lone = np.abs(single - together[some]).max(axis=1)
    crowd = np.abs(at_once - together[some]).max(axis=1)
    null = np.array([has_null_category(record) for record in records])
    limit = 1e-6 if server.role in ("ours", "fallback") else SAME
    for what, found in (("in a batch", difference), ("alone", lone[~null])):
        if found.size and found.max() > limit and server.role != "ours":
            raise WrongAnswer(f"{server.name} is wrong {what}, by up to {found.max():.2g}")
    return {
        "rows": len(rows.records),
        "flips": int((together.argmax(axis=1) != rows.labels).sum()),
        "difference": float(difference.max()),
        "alone": len(records),
        "alone_null": int(null.sum()),
        "alone_differ": int((lone > SAME).sum()),
        "alone_difference": float(lone.max()),
        "at_once_differ": int((crowd > SAME).sum()),
        "at_once_difference": float(crowd.max()),
    }
