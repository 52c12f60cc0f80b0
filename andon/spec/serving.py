"""How a model answers, and what of live traffic is written down."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from andon.spec.base import Frozen


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
