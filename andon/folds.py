"""Folds of a cross-validation: the way rows are held out, within the rows to learn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andon.errors import DataError

Rows = NDArray[np.int64]
Fold = tuple[Rows, Rows]  # learned from, scored
_FEW_GROUPS = 2_000  # so many can be stratified in no time


@dataclass(frozen=True)
class Folding:
    """What rows hang together by: groups (n,), or times (n,), or neither."""

    groups: NDArray[Any] | None = None
    times: NDArray[np.int64] | None = None


def folds_of(y: NDArray[Any], by: Folding, count: int, seed: int, *, classes: bool) -> list[Fold]:
    """`count` folds of rows (n,), the same ones for the same seed.

    By time, each is scored on what came after all that it has learned from. Groups stay together.
    Classes have about equal shares in each fold. Raises DataError if there are too few rows.
    """
    if len(y) < 2 * count:
        raise DataError(f"training.folds: found {len(y)} rows to learn from, too few for {count}")
    if by.times is not None:
        return _by_time(by.times, count)
    if by.groups is not None:
        return _by_group(y, by.groups, count, seed, classes=classes)
    return _by_row(y, count, seed, classes=classes)


def _by_time(times: NDArray[np.int64], count: int) -> list[Fold]:
    from sklearn.model_selection import TimeSeriesSplit

    order = np.argsort(times, kind="stable")
    parts = TimeSeriesSplit(n_splits=count).split(order)
    return [(order[learn], order[scored]) for learn, scored in parts]


def _by_group(
    y: NDArray[Any], groups: NDArray[Any], count: int, seed: int, *, classes: bool
) -> list[Fold]:
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    found = len(np.unique(groups))
    if found < count:
        raise DataError(f"training.folds: found {found} groups to learn from, wanted {count}")
    few = classes and found <= _FEW_GROUPS
    kind = StratifiedGroupKFold if few else GroupKFold
    parts = kind(n_splits=count, shuffle=True, random_state=seed).split(y, y, groups)
    return [(learn, scored) for learn, scored in parts]


def _by_row(y: NDArray[Any], count: int, seed: int, *, classes: bool) -> list[Fold]:
    from sklearn.model_selection import KFold, StratifiedKFold

    if classes:
        labels, counts = np.unique(y, return_counts=True)
        if counts.min() < count:
            rarest = labels[counts.argmin()]
            raise DataError(
                f"training.folds: only {counts.min()} rows to learn from are {rarest!s}, "
                f"too few for {count} folds"
            )
    kind = StratifiedKFold if classes else KFold
    parts = kind(n_splits=count, shuffle=True, random_state=seed).split(y, y)
    return [(learn, scored) for learn, scored in parts]


def share_of(fold: Fold, share: float, seed: int, *, latest: NDArray[np.int64] | None) -> Fold:
    """A fold that learns from a share of its rows (the latest ones by time, else any).

    A larger share of the same fold holds all rows of a smaller one.
    """
    learn, scored = fold
    keep = max(1, round(len(learn) * share))
    if keep >= len(learn):
        return fold
    if latest is not None:
        return learn[np.argsort(latest[learn], kind="stable")][-keep:], scored
    return np.sort(np.random.default_rng(seed).permutation(learn)[:keep]), scored
