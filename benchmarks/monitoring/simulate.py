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
from andon.drift import drift
from andon.verdict import Outcome

Counts = dict[str, NDArray[np.int64]]
Model = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]  # truth, champion, challenger

REFERENCE = 100_000
NUMBERS, CATEGORIES, FLAGS = 8, 4, 3  # 15 columns, as a profile counts them
NORMAL_BINS = 20


def shares(shift: float = 0.0) -> dict[str, NDArray[np.float64]]:
    """Probability of each bin; `shift` moves the first number by so many standard deviations."""
    from scipy.stats import norm

    edges = norm.ppf(np.linspace(0, 1, NORMAL_BINS + 1))
    moved = np.diff(norm.cdf(edges - shift))
    zipf = 1 / np.arange(1, 13)
    found = {}
    for i in range(NUMBERS):
        inner = moved if i == 0 else np.full(NORMAL_BINS, 1 / NORMAL_BINS)
        found[f"number {i}"] = np.r_[0.0, 0.98 * inner, 0.0, 0.02]  # below, bins, above, null
    for i in range(CATEGORIES):
        found[f"category {i}"] = np.r_[0.999 * zipf / zipf.sum(), 0.001]
    for i in range(FLAGS):
        found[f"flag {i}"] = np.array([0.7 - 0.2 * i, 0.3 + 0.2 * i])
    return found


def drifted(
    windows: int, rows: int, *, shift: float = 0.0, alpha: float = 0.01, effect: float = 0.1,
    reference: int = REFERENCE, seed: int = 1,
) -> Iterator[set[str]]:  # fmt: skip
    """The features that are called drifted, window by window; each has a reference of its own."""
    rng = np.random.default_rng(seed)
    same, moved = shares(), shares(shift)
    for _ in range(windows):
        verdicts = drift(
            {name: rng.multinomial(reference, p) for name, p in same.items()},
            {name: rng.multinomial(rows, p) for name, p in moved.items()},
            alpha=alpha, effect=effect, min_rows=1,
        )  # fmt: skip
        failed = {it.check for it in verdicts if it.outcome is Outcome.FAIL}
        yield {name.removeprefix("drift: ") for name in failed}


def alarm_rate(windows: int, rows: int, **settings: Any) -> float:
    """Share of windows in which any feature is called drifted."""
    return sum(bool(it) for it in drifted(windows, rows, **settings)) / windows


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


SCENES: dict[str, dict[str, float]] = {
    "nothing happens; evidence alone (effect 0, alpha 0.05)": {"effect": 1e-9, "alpha": 0.05},
    "nothing happens": {},
    "one column moves by 0.25 sd (total variation 0.10)": {"shift": 0.25},
    "one column moves by 0.5 sd (total variation 0.19)": {"shift": 0.5},
}
SIZES = ((REFERENCE, 1_000), (REFERENCE, 50_000), (500, 500))
MARGIN = 0.05
LOSSES = {0.0: "as good", MARGIN: "worse by the margin", 3 * MARGIN: "worse by three margins"}


def drift_table(windows: int) -> Iterator[str]:
    yield "| 15 columns | reference | window | any column alarms |"
    yield "| --- | --- | --- | --- |"
    for scene, settings in SCENES.items():
        for reference, rows in SIZES:
            rate = alarm_rate(windows, rows, reference=reference, **settings)
            yield f"| {scene} | {reference:,} | {rows:,} | {100 * rate:.1f} % |"


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
    parser.add_argument("--windows", type=int, default=300)
    parser.add_argument("--trials", type=int, default=100)
    asked = parser.parse_args()
    print(f"{asked.windows} windows a row, seed 1\n", *drift_table(asked.windows), sep="\n")
    for what, simulate, seed in (
        ("challenger against champion", compared, 2),
        ("live labels against training", watched, 3),
    ):
        print(f"\n{asked.trials} trials a row, seed {seed}\n")
        print(*outcome_table(what, simulate, asked.trials, n=400), sep="\n", flush=True)


if __name__ == "__main__":
    main()
