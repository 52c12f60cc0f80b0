"""One model project's delivery spec."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from andon.metrics import Task, default_metric
from andon.scorers import FILE, USES, is_function, problem
from andon.spec.base import NAME, Cron, Frozen
from andon.spec.data import KeySplit, Leakage, Source, Split
from andon.spec.evaluation import (
    Card,
    Costs,
    Explanation,
    Metric,
    ModelTests,
    Reports,
    Slices,
)
from andon.spec.monitoring import (
    DataMonitor,
    DriftMonitor,
    Monitor,
    ResourceMonitor,
    Retraining,
    ServiceMonitor,
)
from andon.spec.release import Release
from andon.spec.serving import Logging, Serving
from andon.spec.training import Training


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
    source: Source | None = None
    split: Split = KeySplit()
    leakage: Leakage = Leakage()
    seed: int = 0
    training: Training = Training()
    metric: Metric = Metric()
    threshold: Costs | None = None
    slices: Slices = Slices()
    tests: ModelTests = ModelTests()
    explanation: Explanation = Explanation()
    card: Card = Card()
    reports: Reports = Reports()
    serving: Serving = Serving()
    logging: Logging = Logging()
    release: Release = Release()
    monitors: tuple[Monitor, ...] = (
        DataMonitor(),
        DriftMonitor(),
        ServiceMonitor(),
        ResourceMonitor(),
    )
    monitor_cron: Cron | None = "*/15 * * * *"
    probe_cron: Cron | None = "*/5 * * * *"
    retraining: Retraining = Retraining()

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, metric: Metric, others: ValidationInfo) -> Metric:
        task = others.data.get("task")  # none if it is wrong itself
        if task is None:
            return metric
        wrong = problem(metric.name, task) if metric.name is not None else None
        if wrong:
            raise ValueError(f"name: {wrong}")
        if not is_function(metric.name or ""):
            # By value: a spec that is handed to another process names its defaults, too.
            said = {"greater_is_better": not metric.greater_is_better, "uses": metric.uses}
            given = [name for name, it in said.items() if it]
            if given:
                raise ValueError(f"{given[0]}: only for a function of yours, {FILE}:FUNCTION")
        elif metric.uses not in (None, *USES[task]):
            allowed = ", ".join(USES[task])
            raise ValueError(f"uses: found {metric.uses!r}, allowed for task {task!r}: {allowed}")
        return metric

    @field_validator("threshold")
    @classmethod
    def _of_two_classes(cls, threshold: Costs | None, others: ValidationInfo) -> Costs | None:
        task = others.data.get("task")
        if threshold is not None and task not in (None, "binary"):
            raise ValueError(f"false_positive: task is {task!r}; a threshold is for binary only")
        return threshold

    @property
    def metric_name(self) -> str:
        """The metric that decides, by scikit-learn's name."""
        return self.metric.name or default_metric(self.task)

    @property
    def not_features(self) -> frozenset[str]:
        """Columns of the data that the model must not see."""
        named = (self.target, self.key, self.time, *self.drop)
        return frozenset(name for name in named if name is not None)
