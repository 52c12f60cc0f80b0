"""How a candidate goes through staging and production."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag, model_validator

from andon.spec.base import Duration, Frozen, Seconds

GateName = Literal["errors", "latency", "inputs", "predictions", "agreement", "labels", "resources"]
Gate = Annotated[tuple[GateName, ...], Field(min_length=0)]
WITH_TRAFFIC: tuple[GateName, ...] = (
    "errors",
    "latency",
    "inputs",
    "predictions",
    "labels",
    "resources",
)
MIRRORED: tuple[GateName, ...] = ("errors", "latency", "inputs", "agreement", "resources")


class HttpLimits(Frozen):
    """Fixed limits of the HTTP checks."""

    error_rate: float = Field(0.01, ge=0, le=1)
    p95_ms: float = Field(500.0, gt=0)


class NoErrors(HttpLimits):
    """Limits where nobody but the line itself asks."""

    error_rate: float = Field(0.0, ge=0, le=1)


class Limits(HttpLimits):
    """Limits of a production release; `…_ratio`: of the candidate's to the champion's."""

    error_ratio: float = Field(1.0, ge=1, le=100)
    latency_ratio: float = Field(2.0, ge=1, le=100)
    invalid_ratio: float = Field(1.5, ge=1, le=100)
    shift: float = Field(0.5, gt=0, le=1)
    disagreement: float = Field(0.5, gt=0, le=1)
    correlation: float = Field(0.0, ge=-1, le=1)
    margin: float = Field(0.02, gt=0, le=1)
    memory_ratio: float = Field(3.0, ge=1, le=100)
    memory_growth: float = Field(0.5, gt=0, le=100)
    cpu_ratio: float = Field(5.0, ge=1, le=1000)


class Load(Frozen):
    """Requests with known answers at a steady rate."""

    rps: float = Field(50.0, gt=0, le=5_000)
    seconds: Duration = Field(10.0, gt=0, le=3_600)


class Staging(Frozen):
    """What a candidate has to pass before production."""

    smoke: bool = True
    requests: int = Field(20, ge=1, le=10_000)
    load: Load | None = None
    runs: int = Field(1, ge=1, le=20)
    limits: NoErrors = NoErrors()


class Held(Frozen):
    """What steps have in common that are held for some time."""

    model_config = ConfigDict(populate_by_name=True)
    told_by: ClassVar[str]

    seconds: Duration = Field(3.0, alias="for", ge=0, le=30 * 86_400)
    min_requests: int = Field(50, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _bake(cls, given: Any) -> Any:
        """`bake` is what `for` is called once everything goes to the candidate."""
        if isinstance(given, dict) and "bake" in given:
            if given.get("weight") != 100 or "for" in given:
                raise ValueError("bake: for a step of weight 100, and instead of `for`")
            given = {("for" if key == "bake" else key): it for key, it in given.items()}
        return given


class Step(Held):
    """A share of the traffic, held for at least `seconds` and at least `min_requests`."""

    told_by = "weight"

    weight: int = Field(ge=0, le=100)
    gate: Gate = WITH_TRAFFIC


class Mirror(Held):
    """A copy of a share of the requests; its answers are compared, and thrown away."""

    told_by = "mirror"

    mirror: int = Field(ge=1, le=100)
    gate: Gate = MIRRORED


class Approval(Frozen):
    """A person has to say yes; the step before goes on, and is watched, meanwhile."""

    told_by: ClassVar[str] = "approve"

    approve: str = Field(min_length=1, max_length=80)
    within: Duration = Field(86_400.0, gt=0, le=30 * 86_400)


def _kind(given: Any) -> str | None:
    """Which step this is: by the one key that only it has."""
    has = given.__contains__ if isinstance(given, dict) else lambda it: hasattr(given, it)
    found = [key for key in ("weight", "mirror", "approve") if has(key)]
    return found[0] if len(found) == 1 else None


AnyStep = Annotated[
    Annotated[Step, Tag("weight")]
    | Annotated[Mirror, Tag("mirror")]
    | Annotated[Approval, Tag("approve")],
    Discriminator(
        _kind,
        custom_error_type="step",
        custom_error_message="expected one of the keys weight, mirror and approve",
    ),
]
Steps = Annotated[tuple[AnyStep, ...], Field(min_length=1)]


class Sticky(Frozen):
    """A client stays with a version: by a cookie, or by a header, which comes before it."""

    cookie: str = Field("", pattern=r"^[A-Za-z0-9_-]{0,64}$")
    header: str = Field("", pattern=r"^[A-Za-z0-9-]{0,64}$")

    @model_validator(mode="after")
    def _by_something(self) -> Sticky:
        if not self.cookie and not self.header:
            raise ValueError("expected a cookie, a header or both")
        return self


class Plan(Frozen):
    """What all strategies have in common."""

    on_inconclusive: Literal["pause", "continue", "abort"] = "pause"
    pause_within: Duration = Field(3_600.0, ge=0, le=30 * 86_400)
    on_fail: Literal["rollback"] = "rollback"
    newer: Literal["queue", "supersede"] = "queue"
    sticky: Sticky | None = None
    keep_warm: Duration = Field(3_600.0, ge=0, le=30 * 86_400)
    rollback_window: Duration = Field(86_400.0, ge=0, le=365 * 86_400)


class Canary(Plan):
    """More and more traffic, with a gate after each step."""

    strategy: Literal["canary"] = "canary"
    steps: Steps = (Step(weight=10), Step(weight=50), Step(weight=100))


class BlueGreen(Plan):
    """Everything or nothing: checked without live traffic, switched, and watched after."""

    strategy: Literal["blue_green"]
    steps: Steps = (Step(weight=0), Step(weight=100))


class AllAtOnce(Plan):
    """One switch, watched after."""

    strategy: Literal["all_at_once"]
    steps: Steps = (Step(weight=100),)


class ShadowOnly(Plan):
    """Copies of the requests, and never an answer to a client: the champion stays."""

    strategy: Literal["shadow_only"]
    steps: Steps = (Mirror(mirror=100),)

    @model_validator(mode="after")
    def _no_traffic(self) -> ShadowOnly:
        if any(isinstance(it, Step) for it in self.steps):
            raise ValueError("steps: with shadow_only there are mirror and approve steps only")
        return self


def _strategy(given: Any) -> Any:
    return given.get("strategy", "canary") if isinstance(given, dict) else given.strategy


AnyPlan = Annotated[
    Annotated[Canary, Tag("canary")]
    | Annotated[BlueGreen, Tag("blue_green")]
    | Annotated[AllAtOnce, Tag("all_at_once")]
    | Annotated[ShadowOnly, Tag("shadow_only")],
    Discriminator(
        _strategy,
        custom_error_type="strategy",
        custom_error_message="strategy: expected canary, blue_green, all_at_once or shadow_only",
    ),
]


class Release(Frozen):
    """The way through staging and production."""

    staging: Staging = Staging()
    production: AnyPlan = Canary()
    limits: Limits = Limits()
    inconclusive_seconds: Seconds = Field(
        60.0, description="how long a step may stay inconclusive before `on_inconclusive` decides"
    )
