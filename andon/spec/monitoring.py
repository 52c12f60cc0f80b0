"""What is watched in production, and what a retraining may learn from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from andon.spec.base import Duration, Fraction, Frozen

Action = Literal["retrain", "rollback", "notify", "nothing"]
Severity = Literal["warning", "critical"]


class Persistence(Frozen):
    """A failure counts once `need` of the last `of` windows are bad, the latest being one."""

    of: int = Field(3, ge=1, le=30)
    need: int = Field(2, ge=1, le=30)

    @model_validator(mode="after")
    def _possible(self) -> Persistence:
        if self.need > self.of:
            raise PydanticCustomError(
                "persistence", "need is {need}, of {of} windows", {"need": self.need, "of": self.of}
            )
        return self


class DataMonitor(Frozen):
    """Live inputs that got worse: nulls, categories never seen, values out of range."""

    kind: Literal["data"] = "data"
    alpha: Fraction = 0.01
    rise: Fraction = Field(0.02, description="smallest share of rows more that matters")
    repeated: Fraction = Field(0.01, description="share of rows that may have another one's id")
    min_rows: int = Field(500, ge=1)
    window_rows: int = Field(2_000, ge=1, description="the latest rows are the window")
    persistence: Persistence = Persistence()
    action: Action = "notify"
    severity: Severity = "critical"


class DriftMonitor(Frozen):
    """Live inputs and scores against the reference profile; alarms on effect *and* evidence."""

    kind: Literal["drift"] = "drift"
    alpha: Fraction = 0.01
    effect: Fraction = Field(0.05, description="smallest total variation distance that matters")
    together: Fraction | None = Field(0.55, description="smallest AUC of all columns; null: not")
    min_rows: int = Field(500, ge=1)
    window_rows: int = Field(2_000, ge=1, description="the latest rows are the window")
    persistence: Persistence = Persistence()
    action: Action = "retrain"
    severity: Severity = "warning"


class QualityMonitor(Frozen):
    """The metric on labels that came back, against the metric at training."""

    kind: Literal["quality"]
    margin: float = Field(0.05, ge=0, description="tolerated loss, in the metric's unit")
    min_labels: int = Field(200, ge=1, description="a block of labels, which is judged once")
    window_rows: int = Field(2_000, ge=1, description="the latest labelled rows")
    maturity: Duration = Field(0.0, ge=0, description="younger predictions do not count yet")
    benchmark: float | None = Field(None, description="a value of the metric to be held, too")
    action: Action = "retrain"
    severity: Severity = "critical"


class EstimateMonitor(Frozen):
    """The metric estimated from scores alone; blind to what changes between inputs and labels."""

    kind: Literal["estimate"]
    margin: float = Field(0.05, ge=0, description="tolerated loss, in the metric's unit")
    min_rows: int = Field(500, ge=1)
    window_rows: int = Field(2_000, ge=1, description="the latest rows are the window")
    persistence: Persistence = Persistence()
    action: Action = "notify"
    severity: Severity = "warning"


class ServiceMonitor(Frozen):
    """Requests with known answers through the gateway, and the errors that clients see."""

    kind: Literal["service"] = "service"
    requests: int = Field(5, ge=1, le=1_000, description="sent at each look")
    p95_ms: float = Field(500.0, gt=0)
    error_rate: float = Field(0.01, ge=0, le=1)
    drop: Fraction = Field(0.2, description="of the least that clients send at this hour")
    persistence: Persistence = Persistence()
    action: Action = "notify"
    severity: Severity = "critical"


class ResourceMonitor(Frozen):
    """CPU, memory and file handles of the prediction servers and of the platform's own parts."""

    kind: Literal["resources"] = "resources"
    full_within: Duration = Field(86_400.0, gt=0, description="a trend that runs out sooner is bad")
    persistence: Persistence = Persistence()
    action: Action = "notify"
    severity: Severity = "warning"


Monitor = Annotated[
    DataMonitor
    | DriftMonitor
    | QualityMonitor
    | EstimateMonitor
    | ServiceMonitor
    | ResourceMonitor,
    Field(discriminator="kind"),
]


class Retraining(Frozen):
    """What a retraining run may learn from, and how often it may happen."""

    window: Literal["since_drift", "sliding", "weighted", "all"] = "since_drift"
    sliding_rows: int = Field(
        20_000, ge=1, description="sliding: so many; weighted: so much older, half as often"
    )
    min_rows: int = Field(1_000, ge=1, description="labelled live rows needed to retrain on them")
    cooldown_minutes: float = Field(0.0, ge=0)
    per_month: int = Field(30, ge=0, description="retrainings that alerts may start in 30 days")
    clear_within: Duration = Field(
        86_400, gt=0, description="a release has to be seen to be clear within this time"
    )
