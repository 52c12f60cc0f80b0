"""Weeks of clean traffic: how often the default monitors alarm where nothing has changed.

    python benchmarks/monitoring/soak.py [--weeks N] [--seeds N]

A run every quarter of an hour looks at the latest rows, as `monitor` does; traffic has a daily
rhythm, so that windows are of an hour at noon and of a night at night.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parent))
from rates import REFERENCE, reference
from rows import rows

from andon.adapters.live import Live, Rows, count
from andon.monitoring import cut_for, verdicts
from andon.profile import Profile
from andon.spec import DataMonitor, DriftMonitor
from andon.verdict import Outcome, gate

RUNS_A_DAY = 96
BUSY, QUIET = 700, 60  # rows in a quarter of an hour, at noon and at midnight
Outcomes = dict[str, Outcome]


def traffic(run: int, a_day: int) -> int:
    """Rows that came since the run before."""
    share = (1 - math.cos(2 * math.pi * run / a_day)) / 2
    return round((QUIET + (BUSY - QUIET) * share) * RUNS_A_DAY / a_day)


def soaked(weeks: float, seed: int, a_day: int = RUNS_A_DAY) -> Iterator[Outcomes]:
    """What each run's monitors say, one after the other."""
    rng = np.random.default_rng(seed)
    of = reference(REFERENCE, rng)
    monitors = DataMonitor(), DriftMonitor()
    cut = cut_for(monitors[1])
    latest: list[pa.Table] = []
    for run in range(round(weeks * 7 * a_day)):
        latest = _last([_table(traffic(run, a_day), rng), *latest], cut.latest)
        live = _counted(latest, cut.piece, of)
        windows = cut.windows(live.pieces)
        yield {it.kind: gate(verdicts(it, of, windows)) for it in monitors}


def _table(n: int, rng: np.random.Generator) -> pa.Table:
    table = rows(n, rng).to_arrow()
    names = [f"in.{it}" for it in table.column_names[:-1]]
    return table.rename_columns([*names, "out.score"])


def _last(tables: list[pa.Table], most: int) -> list[pa.Table]:
    """The newest first, as many as it takes."""
    kept, n = [], 0
    for it in tables:
        if n >= most:
            break
        kept.append(it)
        n += it.num_rows
    return kept


def _counted(tables: list[pa.Table], piece: int, of: Profile) -> Live:
    live, seen = Live(), 0
    for it in tables:
        n = it.num_rows
        found = Rows(it, np.arange(n), np.ones(n, np.bool_), frozenset())
        count(live, found, (seen + np.arange(n)[::-1]) // piece, of.features, of.score)
        seen += n
    return live


def alarms(weeks: float, seed: int) -> tuple[int, int]:
    """Runs, and alarms that follow a run without one."""
    runs, found, before = 0, 0, False
    for outcomes in soaked(weeks, seed):
        failed = Outcome.FAIL in outcomes.values()
        found += failed and not before
        runs, before = runs + 1, failed
    return runs, found


def lines(weeks: float = 2.0, seeds: int = 3) -> list[str]:
    """For the page."""
    found = [alarms(weeks, seed) for seed in range(seeds)]
    runs = sum(it for it, _ in found)
    return [
        f"{weeks:g} weeks of clean traffic with a daily rhythm, a run every quarter of an hour, "
        f"{seeds} times: {runs:,} runs, {sum(it for _, it in found)} false alarms."
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weeks", type=float, default=2.0)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    for seed in range(given.seeds):
        runs, found = alarms(given.weeks, seed)
        print(f"seed {seed}: {runs:,} runs, {found} false alarms", flush=True)


if __name__ == "__main__":
    main()
