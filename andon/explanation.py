"""What `explanation.json` holds: why a model answers as it does, in numbers."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict

from andon.importance import Importance
from andon.metrics import Task
from andon.spec import Frozen


class Fact(Frozen):
    """Frozen; a number that is none is written as text, for JSON has no word for it."""

    model_config = ConfigDict(ser_json_inf_nan="strings")


class Feature(Fact):
    """One column's importance, in the metric's unit; `repeats` is how often it was permuted."""

    name: str
    value: float
    low: float | None
    high: float | None
    repeats: int

    @classmethod
    def of(cls, name: str, found: Importance, repeats: int) -> Feature:
        return cls(name=name, value=found.value, low=found.low, high=found.high, repeats=repeats)

    @property
    def matters(self) -> bool:
        """Whether chance alone would hardly make it as important."""
        return self.low is not None and self.low > 0


class Importances(Fact):
    """All columns by importance, the greatest first.

    `score` is the metric with all columns in place. `rest` are columns that were moved together
    only, since there are too many; `left_out` were not looked at, for want of time.
    """

    metric: str
    greater_is_better: bool
    score: float
    rows: int
    held_out: int
    features: tuple[Feature, ...]
    rest: Feature | None = None
    rest_names: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def by_name(self) -> dict[str, float]:
        return {it.name: it.value for it in self.features}


class Dependence(Fact):
    """The mean score if a column had a value in all rows, by value and output.

    `grid` (g,) has numbers, days since 1970 (dates) or texts (None: null). `outputs` (o,) names
    what is scored; `mean`, `low` and `high` are (o, g): the mean and the 10 % and 90 % quantile
    of the rows. `lines` (l, g) are single rows, of a single output. `share` (g,) is the part of
    the rows that have a category; empty for numbers.
    """

    name: str
    kind: Literal["number", "integer", "boolean", "category", "date"]
    grid: tuple[float | str | None, ...]
    task: Task
    outputs: tuple[str, ...]
    mean: tuple[tuple[float, ...], ...]
    low: tuple[tuple[float, ...], ...]
    high: tuple[tuple[float, ...], ...]
    lines: tuple[tuple[float, ...], ...] = ()
    share: tuple[float, ...] = ()
    rows: int = 0


class Attribution(Fact):
    """Mean absolute SHAP values by column, in `unit`; empty with a `why` if there are none."""

    values: tuple[tuple[str, float], ...] = ()
    unit: str = ""
    rows: int = 0
    why: str = ""


class Picture(Fact):
    """An image file beside `explanation.json`, and what it shows in words and figures."""

    name: str
    file: str
    title: str
    alt: str


class Explanation(Fact):
    """All of it; `champion` names what it was compared with."""

    build: str
    importances: Importances
    dependence: tuple[Dependence, ...] = ()
    attribution: Attribution = Attribution(why="not asked for")
    pictures: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()
    champion: str | None = None
    moved: float | None = None
