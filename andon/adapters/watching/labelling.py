"""Joins what turned out to be true with what was predicted, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from andon.adapters.watching.answers import Answer, Scale, loss
from andon.adapters.watching.following import Label

MOST = 100_000  # predictions that wait, and labels that are kept; the oldest leave first
Who = Literal["candidate", "champion"]


class Labelling:
    """Predictions that wait for their label; the first label of a prediction counts."""

    def __init__(self, scale: Scale | None) -> None:
        self._scale = scale
        self._waiting: dict[str, list[tuple[Who, Answer]]] = {}
        self._labels: dict[str, str | int | float | bool] = {}
        self._losses: dict[Who, list[float]] = {"candidate": [], "champion": []}

    def predicted(self, who: Who, answers: Iterable[Answer]) -> None:
        """Answers under their own ids."""
        for it in answers:
            self.also(who, it.id, it)

    def also(self, who: Who, id_: str, answer: Answer) -> None:
        """An answer that the label of another id is right for: of the request it is a copy of."""
        if id_ in self._labels:
            self._lost(who, answer, self._labels[id_])
            return
        self._waiting.setdefault(id_, []).append((who, answer))
        if len(self._waiting) > MOST:
            del self._waiting[next(iter(self._waiting))]

    def came(self, labels: Iterable[Label]) -> None:
        """Labels, in any order; a prediction may be read after its label."""
        for it in labels:
            if it.id in self._labels:
                continue
            self._labels[it.id] = it.label
            if len(self._labels) > MOST:
                del self._labels[next(iter(self._labels))]
            for who, answer in self._waiting.pop(it.id, ()):
                self._lost(who, answer, it.label)

    def taken(self, who: Who) -> tuple[float, ...]:
        """Losses since this was asked last."""
        found, self._losses[who] = tuple(self._losses[who]), []
        return found

    def _lost(self, who: Who, answer: Answer, label: str | int | float | bool) -> None:
        found = loss(answer, label, self._scale)
        if found is not None:
            self._losses[who].append(found)
