"""What every engine does, whatever it is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from serving.table import Row, Table


class Refused(Exception):
    """The model itself does not take these (well-typed) rows; says why."""


class Scored(NamedTuple):
    """`scores[i]`: row i's probabilities in the order of the manifest's classes, or `[value]`.

    `labels[i]`: the index in the manifest's classes of what the model predicts; empty for
    regression.
    """

    labels: list[int]
    scores: list[list[float]]


class Engine(ABC):
    """Scores rows, each as if it were alone. Safe to use from one thread at a time."""

    @abstractmethod
    def row(self, row: Row) -> Scored:
        """One row, in the fewest steps; raises Refused."""

    @abstractmethod
    def table(self, table: Table) -> Scored:
        """Many rows; raises Refused if one of them is refused."""

    def contributions(self, row: Row) -> list[float] | None:
        """What each input column adds to the score, where the model says that cheaply.

        The score is the log-odds of the last class (binary), or the value (regression).
        """
        return None


def label_of(scores: list[float], threshold: float | None, positive: int) -> int:
    """The predicted class: the most probable, the first of equals; or by a threshold."""
    if threshold is None:
        return scores.index(max(scores))
    positive %= len(scores)  # -1 is the last
    return positive if scores[positive] >= threshold else 1 - positive
