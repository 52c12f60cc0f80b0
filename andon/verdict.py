"""Checks, verdicts and gates: how the line says yes, no, or "could not tell"."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Outcome(StrEnum):
    """`inconclusive` never promotes, never alerts as a failure, and never looks like a pass."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


class Verdict(BaseModel):
    """What one check measured, against which limit, on how many observations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    check: str
    outcome: Outcome
    value: float | None = None
    limit: float | None = None
    n: int = 0
    detail: str = ""
    evidence: dict[str, Any] = Field(default_factory=dict)


def gate(verdicts: Iterable[Verdict]) -> Outcome:
    """One outcome for a list of verdicts; a gate that measured nothing is inconclusive."""
    outcomes = {verdict.outcome for verdict in verdicts}
    if Outcome.FAIL in outcomes:
        return Outcome.FAIL
    if Outcome.INCONCLUSIVE in outcomes or not outcomes:
        return Outcome.INCONCLUSIVE
    return Outcome.PASS
