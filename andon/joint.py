"""Do columns still go together as they did, though each alone is as it was?

A classifier is to tell rows of training from rows of now. If it cannot, on rows that it has not
learned, nothing has changed; its AUC says how well it can (a two-sample test: Lopez-Paz & Oquab,
ICLR 2017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from andon.profile import Numbers
from andon.verdict import Verdict
from andon.windows import Finding, judged

CHECK = "drift of all columns together"
SAMPLE = 2_000  # rows of each side
FOLDS, TREES = 3, 40


@dataclass(frozen=True)
class Apart:
    """How well they are told apart: the AUC on rows not learned, and p of no difference."""

    auc: float
    p: float
    n: int


def apart(reference: Numbers, window: Numbers, *, seed: int = 0) -> Apart:
    """Of two samples of rows: (n, columns) and (m, columns), null as NaN.

    The AUC of each fold is Mann & Whitney's, whose law without a difference is known; folds are
    added up. One-sided: a classifier that is wrong has found nothing.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    rng = np.random.default_rng(seed)
    sides = [_some(it, rng) for it in (reference, window)]
    rows = np.concatenate(sides)
    truth = np.repeat([0, 1], [len(it) for it in sides])
    fold = np.concatenate([rng.permutation(len(it)) % FOLDS for it in sides])
    aucs, variances = [], []
    for mine in range(FOLDS):
        model = HistGradientBoostingClassifier(
            max_iter=TREES, max_leaf_nodes=16, learning_rate=0.15, random_state=seed
        )
        model.fit(rows[fold != mine], truth[fold != mine])
        score = model.predict_proba(rows[fold == mine])[:, 1]
        auc, variance = _auc(truth[fold == mine], score)
        aucs.append(auc)
        variances.append(variance)
    auc = float(np.mean(aucs))
    error = math.sqrt(sum(variances)) / FOLDS
    return Apart(auc, 0.5 * math.erfc((auc - 0.5) / (error * math.sqrt(2))), len(sides[1]))


def _some(rows: Numbers, rng: np.random.Generator) -> Numbers:
    if len(rows) <= SAMPLE:
        return rows
    return rows[rng.choice(len(rows), SAMPLE, replace=False)]


def _auc(truth: NDArray[np.int64], score: Numbers) -> tuple[float, float]:
    """Mann & Whitney's estimate, ties half, and its variance without a difference."""
    from scipy.stats import rankdata

    n = int(truth.sum())
    m = len(truth) - n
    ranks = rankdata(score)
    auc = (ranks[truth == 1].sum() - n * (n + 1) / 2) / (n * m)
    return float(auc), (n + m + 1) / (12 * n * m)


def together(
    reference: Numbers, windows: Sequence[Numbers], *,
    floor: float, alpha: float, min_rows: int, need: int,
) -> Verdict:  # fmt: skip
    """Bad if the AUC is `floor` or more, and no chance; `windows`: the newest first.

    A window is looked at only if all that are newer are bad.
    """
    findings: list[Finding] = []
    for rows in windows:
        if len(rows) < max(min_rows, 2 * FOLDS) or len(reference) < max(min_rows, 2 * FOLDS):
            few = min(len(rows), len(reference))
            findings.append(Finding(None, few, f"{few} rows, wanted at least {min_rows}"))
            break
        found = apart(reference, rows)
        bad = found.auc >= floor and found.p < alpha
        detail = f"rows of now are told from those of training with AUC {found.auc:.3f}"
        evidence = {"p": found.p, "effect": found.auc, "n": found.n}
        findings.append(Finding(bad, found.n, detail, found.auc, evidence))
        if not bad:
            break
    findings = findings or [Finding(None, 0, f"0 rows, wanted at least {min_rows}")]
    return judged(CHECK, floor, findings, need)
