"""What a model has to show before it may serve."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, FiniteFloat

from andon.spec.base import Fraction, Frozen


class Metric(Frozen):
    """The number that decides, its absolute limit, and how much worse a challenger may be.

    `limit` is the worst acceptable value: a minimum where greater is better, a maximum otherwise.
    `margin` is the non-inferiority margin against the champion, in the metric's unit.
    `greater_is_better` and `uses` are of a function of the project's own, `metrics.py:FUNCTION`.
    """

    name: str | None = None
    greater_is_better: bool = True
    uses: Literal["probability", "label", "value", "probabilities"] | None = None
    limit: FiniteFloat | None = None
    margin: float = Field(0.01, ge=0)


class Slices(Frozen):
    """Parts of the held-out rows on which a challenger is looked at, too."""

    columns: tuple[str, ...] = ()
    find: bool = Field(True, description="look for the worst parts, of one or two columns")
    margin: float = Field(0.05, ge=0, description="how much worse than the champion on a slice")
    min_rows: int = Field(100, ge=30)


class Costs(Frozen):
    """What a wrong answer costs; binary: decides from which score on the answer is yes."""

    false_positive: float = Field(1.0, gt=0)
    false_negative: float = Field(1.0, gt=0)


class Invariance(Frozen):
    """The answer must not depend on these columns."""

    columns: tuple[str, ...] = Field(min_length=1)
    tolerance: float = Field(0.05, ge=0, description="of the score, or of the value relative to it")
    share: float = Field(0.01, ge=0, le=1, description="of the rows that may exceed it")


class Directional(Frozen):
    """A change of a column moves the score one way only."""

    column: str
    add: FiniteFloat | None = None
    set: str | bool | FiniteFloat | None = None
    expect: Literal["up", "down"]
    tolerance: float = Field(0.0, ge=0)
    share: float = Field(0.05, ge=0, le=1, description="of the rows that may move the other way")


class Functionality(Frozen):
    """Simple rows that any usable model gets right."""

    name: str
    row: dict[str, Any]
    label: str | int | bool | None = None
    at_least: FiniteFloat | None = None
    at_most: FiniteFloat | None = None


class ModelTests(Frozen):
    """Tests of behaviour; those that need no words of yours are always run."""

    invariance: tuple[Invariance, ...] = ()
    directional: tuple[Directional, ...] = ()
    functionality: tuple[Functionality, ...] = ()
    robustness: float = Field(
        0.5, gt=0, le=1, description="share of the metric's gain that is kept with 10 % nulls"
    )
    minutes: float = Field(10.0, gt=0, description="the project's own tests may take")


class Explanation(Frozen):
    """What is told of why a model answers as it does."""

    rows: int = Field(2_000, ge=50, le=100_000, description="held-out rows that are looked at")
    repeats: int = Field(5, ge=2, le=100, description="permutations of each column")
    top: int = Field(6, ge=1, le=50, description="features with a partial dependence")
    shap: bool = Field(False, description="SHAP values, too, where trees or lines make them cheap")
    drift: Fraction = Field(0.3, description="moved importance against the champion that is told")


class Card(Frozen):
    """What only people know, for the model card."""

    owner: str = ""
    intended_use: str = ""
    limits: tuple[str, ...] = ()


class Reports(Frozen):
    """What reports may show."""

    mask: tuple[str, ...] = Field((), description="columns whose values no report shows")
