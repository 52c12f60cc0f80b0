"""The delivery spec: what a `model.yaml` may say, and what holds where it is silent."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationInfo, field_validator

from andon.metrics import METRICS, Task, default_metric

Fraction = Annotated[float, Field(gt=0, lt=1)]
NAME = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"  # no "--": it parts environment and model elsewhere
Seconds = Annotated[float, Field(ge=0, le=86_400)]
Cron = Annotated[str, Field(pattern=r"^\S+ \S+ \S+ \S+ \S+$", description="five cron fields, UTC")]


class Frozen(BaseModel):
    """Specs never change after they are read, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Metric(Frozen):
    """The number that decides, its absolute limit, and how much worse a challenger may be.

    `limit` is the worst acceptable value: a minimum where greater is better, a maximum otherwise.
    `margin` is the non-inferiority margin against the champion, in the metric's unit.
    """

    name: str | None = None
    limit: FiniteFloat | None = None
    margin: float = Field(0.01, ge=0)


class Limits(Frozen):
    """Fixed limits of the HTTP checks in a release."""

    error_rate: float = Field(0.01, ge=0, le=1)
    p95_ms: float = Field(500.0, gt=0)


class NoErrors(Limits):
    """Limits where nobody but the line itself asks."""

    error_rate: float = Field(0.0, ge=0, le=1)


class Staging(Frozen):
    """Smoke requests, with known answers, that a candidate has to pass before production."""

    requests: int = Field(20, ge=1, le=10_000)
    limits: NoErrors = NoErrors()


class Step(Frozen):
    """A share of the traffic, held for at least `seconds` and at least `min_requests`."""

    weight: int = Field(ge=0, le=100)
    seconds: Seconds = 3.0
    min_requests: int = Field(50, ge=0)


class Canary(Frozen):
    """More and more traffic, with a gate after each step."""

    strategy: Literal["canary"] = "canary"
    steps: tuple[Step, ...] = Field(
        (Step(weight=10), Step(weight=50), Step(weight=100)), min_length=1
    )


class BlueGreen(Frozen):
    """Everything or nothing: checked without live traffic, switched, and watched after."""

    strategy: Literal["blue_green"]
    steps: tuple[Step, ...] = Field((Step(weight=0), Step(weight=100)), min_length=1)


class AllAtOnce(Frozen):
    """One switch, watched after."""

    strategy: Literal["all_at_once"]
    steps: tuple[Step, ...] = Field((Step(weight=100),), min_length=1)


Plan = Annotated[Canary | BlueGreen | AllAtOnce, Field(discriminator="strategy")]


class Release(Frozen):
    """The way through staging and production."""

    staging: Staging = Staging()
    production: Plan = Canary()
    limits: Limits = Limits()
    inconclusive_seconds: Seconds = Field(
        60.0, description="how long a step may stay inconclusive before it is rolled back"
    )


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


class Serving(Frozen):
    """What computes the answers of the prediction server, and how exactly."""

    engine: Literal["auto", "sklearn"] = "auto"
    tolerance: float = Field(
        1e-6, ge=0, lt=1, description="how far a compiled engine may be from the pipeline"
    )


class Logging(Frozen):
    """What the prediction server writes down of live traffic."""

    sample: float = Field(1.0, gt=0, le=1, description="share of the requests")
    mask: tuple[str, ...] = Field((), description="columns that are never written down")


class ModelSpec(Frozen):
    """One model project. `name` is the folder's; everything else is in `model.yaml`."""

    name: str = Field(pattern=NAME, max_length=40)
    description: str = ""
    data: str = Field(description="a DVC-tracked Parquet or CSV file, relative to the folder")
    target: str
    task: Task
    positive: str | int | bool | None = Field(
        None, description="binary: the label whose probability is scored (default: the last)"
    )
    key: str | None = Field(None, description="column that identifies a row; never a feature")
    time: str | None = Field(None, description="column that orders rows; never a feature")
    drop: tuple[str, ...] = ()
    test_share: Fraction = 0.2
    seed: int = 0
    metric: Metric = Metric()
    serving: Serving = Serving()
    logging: Logging = Logging()
    release: Release = Release()
    monitors: tuple[Monitor, ...] = (DriftMonitor(),)
    monitor_cron: Cron | None = "*/15 * * * *"
    retraining: Retraining = Retraining()

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, metric: Metric, others: ValidationInfo) -> Metric:
        task = others.data.get("task")  # none if it is wrong itself
        allowed = sorted(name for name, it in METRICS.items() if task in it.tasks)
        if metric.name is not None and allowed and metric.name not in allowed:
            raise ValueError(
                f"name: found {metric.name!r}, allowed for task {task!r}: " + ", ".join(allowed)
            )
        return metric

    @property
    def metric_name(self) -> str:
        """The metric that decides, by scikit-learn's name."""
        return self.metric.name or default_metric(self.task)

    @property
    def not_features(self) -> frozenset[str]:
        """Columns of the data that the model must not see."""
        named = (self.target, self.key, self.time, *self.drop)
        return frozenset(name for name in named if name is not None)
