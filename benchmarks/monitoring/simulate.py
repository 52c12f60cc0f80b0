"""How often the line's checks are right, by simulation: `python benchmarks/monitoring/simulate.py`.

Every figure comes from a fixed seed. The tests hold the same functions to their promises, with
fewer trials; docs/statistics.md quotes the table.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andon.compare import not_worse, quality
from andon.verdict import Outcome

Model = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]  # truth, champion, challenger


def models(metric: str, n: int, loss: float, rng: np.random.Generator) -> Model:
    """A champion, and a challenger whose metric is worse by `loss` in the population.

    Both err on much the same rows, as two builds of one model do.
    """
    if metric == "accuracy":
        y = rng.integers(0, 2, n)
        hard = rng.random(n)  # the champion is right on 85 % of rows, the challenger on fewer
        return y, np.where(hard < 0.85, y, 1 - y), np.where(hard < 0.85 - loss, y, 1 - y)
    if metric == "rmse":
        y = rng.normal(size=n)
        shared = rng.normal(size=n)
        error = 0.8 * shared + 0.6 * rng.normal(size=n)
        return y, y + shared, y + (1 + loss) * error
    from scipy.stats import norm

    y = rng.integers(0, 2, n)
    shared, champion = rng.normal(size=n), 0.85
    apart = [np.sqrt(2) * norm.ppf(auc) for auc in (champion, champion - loss)]
    noise = 0.8 * shared + 0.6 * rng.normal(size=n)
    return y, apart[0] * y + shared, apart[1] * y + noise


def compared(
    metric: str, trials: int, n: int, *, loss: float, margin: float, seed: int = 2
) -> Counter[str]:
    """Outcomes of "not worse than the champion" for a challenger that is worse by `loss`."""
    rng = np.random.default_rng(seed)
    found: Counter[str] = Counter()
    for trial in range(trials):
        y, champion, challenger = models(metric, n, loss, rng)
        found[not_worse(metric, y, champion, challenger, margin=margin, seed=trial).outcome] += 1
    return found


def watched(
    metric: str, trials: int, n: int, *, loss: float, margin: float, seed: int = 3
) -> Counter[str]:
    """Outcomes of "quality" for a model that lost `loss` since its training."""
    rng = np.random.default_rng(seed)
    expected = {"accuracy": 0.85, "roc_auc": 0.85, "rmse": 1.0}[metric]
    found: Counter[str] = Counter()
    for trial in range(trials):
        y, _, output = models(metric, n, loss, rng)
        verdict = quality(
            metric, y, output, expected=expected, margin=margin, min_labels=1, seed=trial
        )
        found[verdict.outcome] += 1
    return found


MARGIN = 0.05
LOSSES = {0.0: "as good", MARGIN: "worse by the margin", 3 * MARGIN: "worse by three margins"}


def outcome_table(what: str, simulate: Any, trials: int, n: int) -> Iterator[str]:
    yield f"| {what}, n = {n}, margin {MARGIN} | pass | inconclusive | fail |"
    yield "| --- | --- | --- | --- |"
    for metric in ("accuracy", "roc_auc", "rmse"):
        for loss, says in LOSSES.items():
            found = simulate(metric, trials, n, loss=loss, margin=MARGIN)
            order = (Outcome.PASS, Outcome.INCONCLUSIVE, Outcome.FAIL)
            cells = " | ".join(f"{100 * found[it] / trials:.0f} %" for it in order)
            yield f"| {metric}: {says} | {cells} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=100)
    asked = parser.parse_args()
    for what, simulate, seed in (
        ("challenger against champion", compared, 2),
        ("live labels against training", watched, 3),
    ):
        print(f"\n{asked.trials} trials a row, seed {seed}\n")
        print(*outcome_table(what, simulate, asked.trials, n=400), sep="\n", flush=True)


if __name__ == "__main__":
    main()
