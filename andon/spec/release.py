"""How a candidate goes through staging and production."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from andon.spec.base import Frozen, Seconds


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
