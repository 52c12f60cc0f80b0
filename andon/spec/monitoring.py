"""What is watched in production, and what a retraining may learn from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from andon.spec.base import Fraction, Frozen


class DriftMonitor(Frozen):
    """Live inputs against the reference profile; alarms on effect *and* evidence."""

    kind: Literal["drift"] = "drift"
    alpha: Fraction = 0.01
    effect: Fraction = Field(0.1, description="smallest total variation distance that matters")
    min_rows: int = Field(500, ge=1)
    window_rows: int = Field(2_000, ge=1, description="the latest rows are the window")
    action: Literal["retrain", "notify"] = "retrain"


class QualityMonitor(Frozen):
    """The metric on labels that came back, against the metric at training."""

    kind: Literal["quality"]
    margin: float = Field(0.05, ge=0, description="tolerated loss, in the metric's unit")
    min_labels: int = Field(200, ge=1)
    window_rows: int = Field(2_000, ge=1, description="the latest rows are the window")
    action: Literal["retrain", "notify"] = "retrain"


Monitor = Annotated[DriftMonitor | QualityMonitor, Field(discriminator="kind")]


class Retraining(Frozen):
    """What a retraining run may learn from, and how often it may happen."""

    window: Literal["since_drift", "all"] = "since_drift"
    min_rows: int = Field(1_000, ge=1, description="labelled live rows needed to retrain on them")
    cooldown_minutes: float = Field(0.0, ge=0)
