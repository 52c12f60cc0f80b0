"""How a model is fitted."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from andon.spec.base import Frozen

Choices = dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]]


class GridSearch(Frozen):
    """Every combination."""

    kind: Literal["grid"]
    parameters: Choices = Field(min_length=1)


class RandomSearch(Frozen):
    """Some combinations, drawn with the spec's seed."""

    kind: Literal["random"]
    parameters: Choices = Field(min_length=1)
    iterations: int = Field(20, ge=1, le=10_000)


class HalvingSearch(Frozen):
    """Every combination on few rows, the better ones on more."""

    kind: Literal["halving"]
    parameters: Choices = Field(min_length=1)
    factor: float = Field(3.0, gt=1)


Search = Annotated[GridSearch | RandomSearch | HalvingSearch, Field(discriminator="kind")]


class Training(Frozen):
    """Cross-validation and search, on the rows to learn from."""

    folds: int = Field(0, ge=0, le=50, description="of cross-validation; 0: none, unless searched")
    search: Search | None = None
    minutes: float = Field(60.0, gt=0, description="a training that takes longer is stopped")

    @field_validator("folds")
    @classmethod
    def _none_or_several(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("found 1, wanted 0 or at least 2: one fold has nothing to learn from")
        return folds
