"""What all parts of a spec share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(gt=0, lt=1)]
NAME = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"  # no "--": it parts environment and model elsewhere
Seconds = Annotated[float, Field(ge=0, le=86_400)]
Cron = Annotated[str, Field(pattern=r"^\S+ \S+ \S+ \S+ \S+$", description="five cron fields, UTC")]


class Frozen(BaseModel):
    """Specs never change after they are read, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
