"""What a release sees at one look: how candidate and champion answered since the look before.

`andon.adapters.step_watch` makes these from the world, `andon.gates` adds them up and judges.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from andon.ports import Traffic, Usage

Number = int | float


@dataclass(frozen=True)
class Both:
    """What candidate and champion answered to the same request of the line's own."""

    record: dict[str, Any]
    candidate: dict[str, Any]
    champion: dict[str, Any]


@dataclass(frozen=True)
class Probe:
    """What came back for requests with known answers, sent to one version on purpose.

    `both`: those that the champion was asked, too; not summed up.
    """

    sent: int = 0
    failed: int = 0
    wrong: int = 0
    example: str = ""
    both: tuple[Both, ...] = ()

    def __add__(self, other: Probe) -> Probe:
        return Probe(
            self.sent + other.sent,
            self.failed + other.failed,
            self.wrong + other.wrong,
            self.example or other.example,
        )


@dataclass(frozen=True)
class Answers:
    """Predictions of one side, probes left out.

    `labels`: how often each label was answered (classification). `scores`: the positive class'
    score, the top score, or the predicted number brought to 0…1 over a fixed range, one per row.
    `bad`: answers that are NaN, infinite, or a score outside 0…1; they are in no other figure.
    """

    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    scores: tuple[float, ...] = ()
    bad: int = 0
    example: str = ""


@dataclass(frozen=True)
class Pair:
    """Both answers to the same inputs. `differ`: another label, or another number beyond doubt.

    `slices`: names of the slices (`column=value`) that the inputs are in. `probe`: the line's own
    request, sent to both because clients sent too few.
    """

    differ: bool
    candidate: float
    champion: float
    slices: tuple[str, ...] = ()
    probe: bool = False


@dataclass(frozen=True)
class Side:
    """One server's share of a look. `losses`: of the labelled rows, each 0 (right) to 1."""

    traffic: Traffic = field(default_factory=Traffic)
    answers: Answers = field(default_factory=Answers)
    losses: tuple[float, ...] = ()
    usage: Usage | None = None


@dataclass(frozen=True)
class Look:
    """Increments since the last look; `usage` is what it is now.

    `champion`: None where there is none, or where it gets no traffic in this step.
    `missing`: what could not be measured, by the gate's name, with the reason.
    """

    at: float
    candidate: Side = field(default_factory=Side)
    champion: Side | None = None
    pairs: tuple[Pair, ...] = ()
    probe: Probe = field(default_factory=Probe)
    missing: dict[str, str] = field(default_factory=dict)
