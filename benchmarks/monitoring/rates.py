"""How often the product's own monitors alarm, on rows that are made, counted and judged anew."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from rows import CALM, SCENES, Scene, columns, rows

from andon import profile
from andon.adapters.live import Live, Rows, count
from andon.monitoring import verdicts
from andon.spec import DataMonitor, DriftMonitor, Persistence
from andon.summary import Summary
from andon.verdict import Outcome

__all__ = ["SCENES"]
REFERENCE = 100_000
ONCE = Persistence(of=1, need=1)


def reference(n: int, rng: np.random.Generator) -> profile.Profile:
    table = rows(n, rng)
    return profile.build(table.drop("score"), columns(), table["score"].to_numpy())


def summary(n: int, rng: np.random.Generator, scene: Scene, of: profile.Profile) -> Summary:
    """n rows as the monitor counts them in the log."""
    table = rows(n, rng, scene).to_arrow()
    names = [f"in.{it}" for it in table.column_names[:-1]]
    every = np.ones(n, np.bool_)
    found = Rows(table.rename_columns([*names, "out.score"]), np.arange(n), every, frozenset())
    live = Live()
    count(live, found, np.zeros(n, np.intp), of.features, of.score)
    return live.pieces[0]


def monitors(persistence: Persistence, n: int) -> tuple[DataMonitor, DriftMonitor]:
    """Those that a model has by default; windows of 200 rows are judged, too."""
    least = min(n, DriftMonitor().min_rows)
    settings = {"persistence": persistence, "min_rows": least}
    return DataMonitor(**settings), DriftMonitor(**settings)


def bare(alpha: float) -> tuple[DataMonitor, DriftMonitor]:
    """Evidence alone decides: there is no floor under the effect."""
    settings = {"persistence": ONCE, "min_rows": 1, "alpha": alpha}
    return DataMonitor(rise=1e-9, **settings), DriftMonitor(effect=1e-9, **settings)


def share(found: Iterable[set[str]]) -> float:
    """Of windows with any alarm."""
    seen = [bool(it) for it in found]
    return sum(seen) / len(seen)


def alarms(
    windows: list[Summary], of: profile.Profile, judges: tuple[DataMonitor, DriftMonitor]
) -> set[str]:
    """The checks that fail."""
    found = (it for judge in judges for it in verdicts(judge, of, windows))
    return {it.check for it in found if it.outcome is Outcome.FAIL}


def single(
    trials: int,
    n: int,
    scene: Scene = CALM,
    *,
    size: int = REFERENCE,
    seed: int = 1,
    judges: tuple[DataMonitor, DriftMonitor] | None = None,
) -> Iterator[set[str]]:
    """What alarms in windows that are judged alone; every 50 of them have a reference anew."""
    rng = np.random.default_rng(seed)
    judges = judges or monitors(ONCE, n)
    for trial in range(trials):
        if trial % 50 == 0:
            of = reference(size, rng)
        yield alarms([summary(n, rng, scene, of)], of, judges)


def scheduled(
    trials: int, n: int, scene: Scene = CALM, *, before: int = 0, seed: int = 2
) -> Iterator[set[str]]:
    """What alarms run by run, each on a window of its own and the two before it, by default.

    `before`: so many of the first runs have rows without drift.
    """
    rng = np.random.default_rng(seed)
    of = reference(REFERENCE, rng)
    judges = monitors(Persistence(), n)
    windows: list[Summary] = []
    for trial in range(trials):
        now = CALM if trial < before else scene
        windows = [summary(n, rng, now, of), *windows][: judges[0].persistence.of]
        yield alarms(windows, of, judges)


def incidents(runs: Iterator[set[str]]) -> int:
    """Alarms that follow a run without one."""
    found, before = 0, False
    for failed in runs:
        found += bool(failed) and not before
        before = bool(failed)
    return found


def delay(trials: int, n: int, scene: Scene, *, longest: int = 12, seed: int = 3) -> list[int]:
    """Windows from the drift's begin to the alarm, of several drifts; `longest` + 1: none."""
    found = []
    for trial in range(trials):
        runs = scheduled(longest + 2, n, scene, before=2, seed=seed + trial)
        seen = (place for place, failed in enumerate(runs) if failed and place >= 2)
        found.append(next(seen, longest + 2) - 1)
    return found
