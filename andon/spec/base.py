"""What all parts of a spec share."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

Fraction = Annotated[float, Field(gt=0, lt=1)]
NAME = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"  # no "--": it parts environment and model elsewhere
Seconds = Annotated[float, Field(ge=0, le=86_400)]
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def _seconds(given: Any) -> Any:
    """`90s`, `2m`, `1.5h` and `7d` in seconds; numbers are seconds already."""
    if not isinstance(given, str):
        return given
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([smhd])", given)
    if not found:
        raise PydanticCustomError(
            "duration", "expected seconds, or a number with s, m, h or d, as 90s or 2m"
        )
    return float(found[1]) * _UNITS[found[2]]


Duration = Annotated[float, BeforeValidator(_seconds)]
Cron = Annotated[str, Field(pattern=r"^\S+ \S+ \S+ \S+ \S+$", description="five cron fields, UTC")]


class Frozen(BaseModel):
    """Specs never change after they are read, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
