"""Estimates without labels: right where scores are probabilities, silent where they are not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score

from andon.estimate import KNOWN, estimate
from andon.metrics import METRICS
from andon.profile import Feature, feature_of, window_counts
from andon.spec import EstimateMonitor
from andon.summary import Summary, Tally
from andon.verdict import Outcome
from serving.bundle import Column

MONITOR = EstimateMonitor(kind="estimate", margin=0.05, persistence={"of": 1, "need": 1})
THEIRS = {
    "accuracy": lambda y, p: accuracy_score(y, p >= 0.5), "brier": brier_score_loss,
    "log_loss": log_loss, "roc_auc": roc_auc_score,
}  # fmt: skip


def scores(n: int, seed: int, a: float = 0.6, b: float = 0.9) -> np.ndarray:
    return np.random.default_rng(seed).beta(a, b, n)


def reference(seed: int = 1, n: int = 20_000) -> tuple[Feature, np.ndarray]:
    score = scores(n, seed)
    return feature_of(Column("score", "number"), pl.Series("score", score)), score


def window(of: Feature, score: np.ndarray) -> Summary:
    tally = Tally(window_counts(of, pl.Series("score", score)))
    return Summary(len(score), 0, 1, {}, tally, {})


def truth(score: np.ndarray, seed: int) -> np.ndarray:
    """What calibrated scores promise."""
    return np.random.default_rng(seed).random(len(score)) < score


@pytest.mark.parametrize("name", KNOWN)
def test_calibrated_scores_promise_what_comes_true(name):
    score = scores(200_000, 1)
    promised = float(KNOWN[name](score, np.ones(len(score)), 0.5))
    assert promised == pytest.approx(THEIRS[name](truth(score, 2), score), abs=0.005)


def look(name: str, *windows: np.ndarray, measured: float | None = None, need: int = 1):
    of, score = reference()
    if measured is None:
        measured = float(THEIRS[name](truth(score, 2), score))
    monitor = MONITOR.model_copy(
        update={"persistence": MONITOR.persistence.model_copy(update={"of": 3, "need": need})}
    )
    seen = [window(of, it) for it in windows]
    return estimate(METRICS[name], of, seen, monitor, measured=measured)


@pytest.mark.parametrize("name", KNOWN)
def test_the_same_scores_pass_and_unsure_ones_fail(name):
    same = look(name, scores(2_000, 5))
    assert same.outcome is Outcome.PASS
    assert same.check == f"estimated {name} (no labels)"
    assert "blind" in same.detail
    unsure = look(name, scores(2_000, 6, 8, 9))
    assert unsure.outcome is Outcome.FAIL
    true = THEIRS[name](truth(s := scores(200_000, 7, 8, 9), 8), s)
    assert unsure.evidence["estimate"] == pytest.approx(true, abs=0.03)


@pytest.mark.parametrize("name", KNOWN)
def test_without_a_change_there_is_no_alarm(name):
    """200 windows, each judged alone: 1 % may have an effect by chance, none of the margin."""
    assert all(look(name, scores(500, seed)).outcome is Outcome.PASS for seed in range(10, 60))


def test_it_has_to_last():
    bad, good = scores(2_000, 6, 8, 9), scores(2_000, 5)
    assert look("accuracy", bad, good, need=2).outcome is Outcome.INCONCLUSIVE
    assert look("accuracy", bad, bad, good, need=2).outcome is Outcome.FAIL


def test_scores_that_are_no_probabilities_estimate_nothing():
    found = look("accuracy", scores(2_000, 6, 8, 9), measured=0.55)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert "no probabilities" in found.detail


def test_what_cannot_be_estimated_says_why():
    assert look("accuracy", scores(100, 5)).detail.startswith("100 scores, wanted at least 500")
    assert look("accuracy").outcome is Outcome.INCONCLUSIVE
    of, _ = reference()
    other = estimate(METRICS["rmse"], of, [], MONITOR, measured=1.0)
    assert "rmse cannot be estimated" in other.detail
    never = estimate(METRICS["accuracy"], of, [], MONITOR, measured=None)
    assert "not measured at training" in never.detail
