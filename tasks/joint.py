"""Do columns of live rows still go together as they did at training?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from andon.adapters.arrow_segments import INPUT
from andon.adapters.ledger import Candidate
from andon.adapters.live import Wanted, as_matrix, newest_rows
from andon.adapters.trainer import HELD_OUT
from andon.joint import together
from andon.profile import Feature
from andon.spec import DriftMonitor
from andon.summary import Summary
from andon.verdict import Verdict
from tasks.line import Line


def judge_together(
    line: Line, candidate: Candidate, monitor: DriftMonitor, environment: str,
    features: Sequence[Feature], windows: Sequence[Summary], wanted: Wanted,
) -> tuple[Verdict, ...]:  # fmt: skip
    """Of the newest windows; none where it is not wanted, or too few held-out rows are kept."""
    import polars as pl

    held_out = line.settings.store / "builds" / line.spec.name / candidate.build / HELD_OUT
    if monitor.together is None or not features or not held_out.is_file():
        return ()
    names = {it.name: f"{INPUT}{it.name}" for it in features}
    held = pl.read_parquet(held_out, columns=[*names]).rename(names)
    if held.height < monitor.min_rows:
        return ()  # it could never tell, and nothing would ever be clear
    sizes = [it.rows for it in windows[: monitor.persistence.of]]
    rows = newest_rows(
        line.settings, environment, line.spec.name, replace(wanted, latest=sum(sizes)), features
    )
    parts = np.split(rows, np.cumsum(sizes)[:-1]) if sizes else []
    verdict = together(
        as_matrix(held.to_arrow(), features), parts,
        floor=monitor.together, alpha=monitor.alpha, min_rows=monitor.min_rows,
        need=monitor.persistence.need,
    )  # fmt: skip
    return (verdict,)
