"""What the model itself says of a release: answers, pairs and losses since the last look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from andon.adapters.arrow_segments import Batch
from andon.adapters.watching import answers as answering
from andon.adapters.watching.answers import Answer, Said, Scale
from andon.adapters.watching.following import LabelFollower, SegmentFollower
from andon.adapters.watching.labelling import Labelling
from andon.adapters.watching.pairing import Pairing
from andon.adapters.watching.slicing import slicer_of
from andon.looks import Answers, Both, Pair
from andon.ports import ServerSpec
from andon.settings import Settings
from serving.bundle import BundleError, read_manifest

NO_SCALE = "the bundle's profile.json says nothing of the range of its predictions"


@dataclass(frozen=True)
class Signals:
    """Increments, as in `andon.looks.Look`. `unpaired`: why logged rows cannot be paired at all."""

    candidate: Answers = field(default_factory=Answers)
    champion: Answers = field(default_factory=Answers)
    losses: tuple[float, ...] = ()
    champion_losses: tuple[float, ...] = ()
    pairs: tuple[Pair, ...] = ()
    unpaired: str = ""
    missing: dict[str, str] = field(default_factory=dict)


class ModelSignals:
    """Reads both versions' inference logs and the feedback, from a time on.

    `champion`: its version, or None where it answers nobody. `paired`: whether equal inputs are
    looked for.
    """

    def __init__(
        self,
        settings: Settings,
        spec: ServerSpec,
        champion: str | None,
        since: float,
        *,
        paired: bool,
    ) -> None:
        place = (spec.environment, spec.model)
        logs = settings.inference_log.joinpath(*place)
        self._ours = SegmentFollower(logs / spec.version, since)
        self._theirs = SegmentFollower(logs / champion, since) if champion else None
        self._feedback = LabelFollower(settings.feedback_log.joinpath(*place), since)
        self._scale = answering.scale_in(spec.bundle)
        self._labelling = Labelling(self._scale)
        self._slicer = slicer_of(settings.project, spec.model, spec.bundle)
        self._pairing = Pairing(self._slicer) if paired else None
        self._regression = False
        self._positive = _positive(spec.bundle)

    def look(self) -> Signals:
        """What has come since the last look; what cannot be read is missing, and read later."""
        missing: dict[str, str] = {}
        try:
            ours = _answered(self._ours)
            theirs = _answered(self._theirs) if self._theirs else []
        except OSError as error:
            missing = dict.fromkeys(("predictions", "agreement"), f"the inference log: {error}")
            ours, theirs = [], []
        self._regression = self._regression or any(it.labels is None for _, it in [*ours, *theirs])
        if self._regression and self._scale is None:
            missing |= dict.fromkeys(("predictions", "agreement", "labels"), NO_SCALE)
        pairs = self._paired(ours, theirs)
        self._label(ours, theirs, missing)
        return Signals(
            candidate=answering.summed([it for _, it in ours], self._scale),
            champion=answering.summed([it for _, it in theirs], self._scale),
            losses=self._labelling.taken("candidate"),
            champion_losses=self._labelling.taken("champion"),
            pairs=tuple(pairs),
            unpaired=self._unpaired(),
            missing=missing,
        )

    def _unpaired(self) -> str:
        if self._pairing is None or self._theirs is None:
            return ""
        return self._pairing.problem(self._ours, self._theirs)

    def of_probes(self, both: Sequence[Both]) -> list[Pair]:
        """Pairs of the line's own requests: these need no log, so no mask is in their way."""
        found = []
        for it in both:
            ours = _told(it.candidate, self._positive)
            theirs = _told(it.champion, self._positive)
            if ours is not None and theirs is not None:
                scale = self._scale if ours.label is None else Scale()
                if scale is not None:
                    slices = self._slicer.of(it.record)
                    found.append(answering.pair(ours, theirs, scale, slices, probe=True))
        return found

    def _paired(
        self, ours: list[tuple[Batch, Said]], theirs: list[tuple[Batch, Said]]
    ) -> list[Pair]:
        if self._pairing is None or self._theirs is None:
            return []
        scale = self._scale if self._regression else Scale()
        pairs = []
        for it in self._pairing.add(self._ours, self._theirs, ours, theirs):
            if it.fresh:  # who asked got the champion's answer, and says what was true of that
                self._labelling.also("candidate", it.champion.id, it.candidate)
            if scale is not None:
                pairs.append(answering.pair(it.candidate, it.champion, scale, it.slices, False))
        return pairs

    def _label(
        self,
        ours: list[tuple[Batch, Said]],
        theirs: list[tuple[Batch, Said]],
        missing: dict[str, str],
    ) -> None:
        for _, it in ours:
            self._labelling.predicted("candidate", _sound(it))
        for _, it in theirs:
            self._labelling.predicted("champion", _sound(it))
        try:
            self._labelling.came(self._feedback.read())
        except OSError as error:
            missing.setdefault("labels", f"the feedback: {error}")


def _answered(follower: SegmentFollower) -> list[tuple[Batch, Said]]:
    """New batches with what was answered; one that has no answers, or odd ones, is corrupt."""
    found = []
    for it in follower.read():
        try:
            found.append((it, answering.said(it)))
        except (KeyError, ValueError, TypeError, pa.ArrowException):
            follower.corrupt += 1
    return found


def _sound(it: Said) -> Iterator[Answer]:
    labels = it.labels or [None] * len(it.ids)
    rows = zip(it.ids, labels, it.numbers.tolist(), it.sound.tolist(), strict=True)
    return (Answer(id_, label, number) for id_, label, number, sound in rows if sound)


def _positive(bundle: Path) -> int | None:
    """The place of the class whose probability is the score; None: the predicted one's is."""
    try:
        manifest = read_manifest(bundle)
    except BundleError:
        return None
    return manifest.positive if manifest.task == "binary" else None


def _told(answer: dict[str, Any], positive: int | None) -> Answer | None:
    """An answer as a client gets it; None if it has no score, nor a value."""
    label, number = answer.get("label"), answer.get("value")
    if label is not None:
        scores = list(dict(answer.get("probabilities") or {}).values())
        number = None if not scores else max(scores) if positive is None else scores[positive]
    return Answer("", label, float(number)) if isinstance(number, int | float) else None
