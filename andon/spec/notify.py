"""Who is told of incidents, how, and when not."""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, field_validator
from pydantic_core import PydanticCustomError

from andon.spec.base import NAME, Frozen
from andon.spec.monitoring import Severity

BLOCK = r"^[a-z0-9]+(-[a-z0-9]+)*/[a-z0-9]+(-[a-z0-9]+)*$"


def _clock(given: Any) -> Any:
    """YAML takes 22:00 for 1320 minutes."""
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < 24 * 60:
        return time(given // 60, given % 60)
    if isinstance(given, str) and re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", given):
        hour, _, minute = given.partition(":")
        return time(int(hour), int(minute))
    if isinstance(given, time):
        return given
    raise PydanticCustomError("clock", "expected a time of the day, as 22:00")


def _zone(given: str) -> str:
    try:
        ZoneInfo(given)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise PydanticCustomError("zone", "expected a time zone, as Europe/Berlin") from None
    return given


Clock = Annotated[time, BeforeValidator(_clock)]
Zone = Annotated[str, AfterValidator(_zone)]


class Quiet(Frozen):
    """Hours in which messages wait; of `begin` after `end` they go over midnight."""

    begin: Clock = Field(alias="from")
    end: Clock = Field(alias="to")
    zone: Zone = "UTC"
    critical: bool = Field(True, description="whether critical ones are sent all the same")

    @field_validator("end")
    @classmethod
    def _some_time(cls, end: time, others: Any) -> time:
        if end == others.data.get("begin"):
            raise PydanticCustomError("clock", "expected another time than `from`")
        return end


class Route(Frozen):
    """A Prefect notification block, and which incidents it is told of."""

    name: str = Field(pattern=NAME, max_length=40)
    block: str = Field(pattern=BLOCK, description="TYPE/NAME of a Prefect notification block")
    severity: Severity = Field("warning", description="at least")
    models: tuple[str, ...] = Field((), description="none: all")
    environments: tuple[str, ...] = Field((), description="none: all")
    quiet: Quiet | None = None
