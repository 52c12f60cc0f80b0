"""How often an evaluation is right: models whose truth is known, compared many times.

The seeds are fixed. `results.json` beside this file is what the table in docs/statistics.md shows.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, roots_hermitenorm
from scipy.stats import norm

from andon.compare import not_worse
from andon.cuts import Coded
from andon.metrics import METRICS
from andon.paired import POWER_Z, gain, level
from andon.resampling import Z
from andon.slices import Rows, named, verdict
from andon.verdict import Outcome

RESULTS = Path(__file__).with_name("results.json")
BASE = {"accuracy": 0.85, "roc_auc": 0.85, "rmse": 1.0}
SIZES = (200, 1_000, 5_000)
ROOM = 1.1  # of a margin: theory is of many rows
ALIKE = 0.8  # correlation of what the two models get wrong
SPREAD, BLUR = 1.5, 1.2  # of the log-odds, and of what a model adds to them
Models = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Row:
    """Shares of the trials, at a margin that n rows can tell in 80 % of cases."""

    metric: str
    n: int
    margin: float
    better_if_equal: float
    passed_if_worse: float
    passed_if_equal: float
    better_if_better: float
    covered: float
    covered_alone: float
    slices_alarm: float | None


def models(metric: str, n: int, better: float, rng: np.random.Generator) -> Models:
    """Truth, champion and challenger; in the population the latter is better by `better`."""
    shared, own = rng.normal(size=(2, n))
    other = ALIKE * shared + np.sqrt(1 - ALIKE**2) * own
    if metric == "accuracy":
        y = rng.integers(0, 2, n).astype(float)
        base = BASE["accuracy"]
        right = shared < norm.ppf(base), other < norm.ppf(base + better)
        champion, challenger = (np.where(it, y, 1 - y) for it in right)
        return y, champion, challenger
    if metric == "rmse":
        y = rng.normal(size=n)
        return y, y + shared, y + (1 - better) * other
    if metric == "roc_auc":
        y = rng.integers(0, 2, n).astype(float)
        apart = [np.sqrt(2) * norm.ppf(BASE["roc_auc"] + it) for it in (0.0, better)]
        return y, apart[0] * y + shared, apart[1] * y + other
    z = SPREAD * rng.normal(size=n)
    y = (rng.random(n) < expit(z)).astype(float)
    return y, expit(z + BLUR * shared), expit(z + _blur(better) * other)


@cache
def _blur(better: float) -> float:
    """The noise on the log-odds with which the log loss is lower by `better`."""
    wanted = log_loss(BLUR) - better
    return float(brentq(lambda it: log_loss(it) - wanted, 0.0, 5.0))


def log_loss(blur: float) -> float:
    """Of true log-odds with noise, by Gauss-Hermite quadrature."""
    points, weights = roots_hermitenorm(60)
    weights = weights / weights.sum()
    z, noise = SPREAD * points[:, None], blur * points[None, :]
    said, p = z + noise, expit(z)
    loss = p * np.logaddexp(0, -said) + (1 - p) * np.logaddexp(0, said)
    return float(weights @ loss @ weights)


@cache
def margin(metric: str, n: int) -> float:
    """What n rows can tell in 80 % of cases by theory (z + z_power standard errors), and ROOM."""
    huge = 400_000
    y, champion, challenger = models(metric, huge, 0.0, np.random.default_rng(0))
    found = gain(METRICS[metric], y, champion, challenger, seed=0)
    if found is None:
        raise ValueError(f"{metric} is undefined")
    low, high = found.law.interval()
    return float(ROOM * (Z + POWER_Z) * (high - low) / (2 * Z) * np.sqrt(huge / n))


def compared(metric: str, n: int, trials: int, better: float, seed: int) -> dict[str, float]:
    """Shares of the trials: passed, called better, and gains within their interval."""
    rng, at = np.random.default_rng(seed), margin(metric, n)
    passed = called = covered = 0
    for trial in range(trials):
        y, champion, challenger = models(metric, n, better, rng)
        said = not_worse(metric, y, champion, challenger, margin=at, seed=trial)
        passed += said.outcome is Outcome.PASS
        called += said.evidence["better"]
        covered += said.evidence["low"] <= better <= said.evidence["high"]
    return {"passed": passed / trials, "better": called / trials, "covered": covered / trials}


def alone(metric: str, n: int, trials: int, seed: int) -> float:
    """Share of the trials in which one model's interval holds its true metric."""
    rng, held = np.random.default_rng(seed), 0
    truth = BASE.get(metric) or log_loss(BLUR)
    for trial in range(trials):
        y, champion, _ = models(metric, n, 0.0, rng)
        found = level(METRICS[metric], y, champion, seed=trial)
        held += found is not None and found[0] <= truth <= found[1]
    return held / trials


def slices_alarm(metric: str, n: int, trials: int, seed: int) -> float:
    """Share of the evaluations with any alarm on 12 slices, if none is worse by more than allowed.

    The hardest case: margin 0 and equally good models, so that each is at the border.
    """
    rng, alarms = np.random.default_rng(seed), 0
    for trial in range(trials):
        rows = Rows(*(models(metric, n, 0.0, rng)[it] for it in (0, 2, 1)))
        columns = [Coded(f"c{it}", list("abcd"), rng.integers(0, 4, n)) for it in range(3)]
        found = named(METRICS[metric], rows, columns, margin=0.0, min_rows=100, seed=trial)
        alarms += verdict(found, margin=0.0, min_rows=100).outcome is Outcome.FAIL
    return alarms / trials


def row(metric: str, n: int, trials: int) -> Row:
    """One line of the table."""
    at = margin(metric, n)
    equal, worse, better = (
        compared(metric, n, trials, it, seed) for seed, it in enumerate((0.0, -at, at), 1)
    )
    return Row(
        metric=metric,
        n=n,
        margin=at,
        better_if_equal=equal["better"],
        passed_if_worse=worse["passed"],
        passed_if_equal=equal["passed"],
        better_if_better=better["better"],
        covered=float(np.mean([it["covered"] for it in (equal, worse, better)])),
        covered_alone=alone(metric, n, trials, 4),
        slices_alarm=slices_alarm(metric, n, trials, 5) if n >= 1_000 else None,
    )


def table(found: dict[str, Any]) -> Iterator[str]:
    """The results as Markdown."""
    yield (
        "| metric | n | margin | equal: called better | worse by the margin: passes "
        "| equal: passes | better by the margin: called better | interval of the gain holds it "
        "| of one model | 12 slices: any false alarm |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    names = (
        "better_if_equal", "passed_if_worse", "passed_if_equal", "better_if_better",
        "covered", "covered_alone", "slices_alarm",
    )  # fmt: skip
    for it in found["rows"]:
        shares = ["" if it[name] is None else f"{100 * it[name]:.1f} %" for name in names]
        cells = [it["metric"], f"{it['n']:,}", f"{it['margin']:.4f}", *shares]
        yield f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="keep the results in results.json")
    asked = parser.parse_args()
    cases = [(metric, n) for metric in (*BASE, "log_loss") for n in SIZES]
    work: Callable[[tuple[str, int]], Row] = partial(_row, trials=asked.trials)
    with ProcessPoolExecutor(asked.processes) as pool:
        rows = []
        for it in pool.map(work, cases):
            rows.append(it)
            print(it, file=sys.stderr, flush=True)
    order = [*BASE, "log_loss"]
    rows.sort(key=lambda it: (order.index(it.metric), it.n))
    found = {"trials": asked.trials, "rows": [asdict(it) for it in rows]}
    if asked.write:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(*table(found), sep="\n")


def _row(case: tuple[str, int], trials: int) -> Row:
    return row(*case, trials=trials)


if __name__ == "__main__":
    main()
