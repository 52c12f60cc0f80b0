"""What the demo saw, for its summary."""

from __future__ import annotations

from dataclasses import dataclass, field

from andon.adapters.ledger import Incident, Release, Transition, VerdictRow


@dataclass(frozen=True)
class Sent:
    """One request through the gateway. `version` answered; `failed` says why, if it did."""

    at: float
    seconds: float
    rows: int
    version: str
    drifted: bool
    failed: str = ""


@dataclass(frozen=True)
class Check:
    """Something the demo promises, and whether it was seen to happen."""

    what: str
    seen: bool
    detail: str


@dataclass
class Story:
    """Times are epoch seconds; metrics are by version and by which rows they were taken on."""

    model: str
    started: float
    ended: float = 0.0
    stages: list[tuple[str, float]] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)
    drift_before: list[VerdictRow] = field(default_factory=list)
    drift_after: list[VerdictRow] = field(default_factory=list)
    metric: str = ""
    metrics: list[tuple[str, str, float]] = field(default_factory=list)
    verdicts: list[VerdictRow] = field(default_factory=list)
    releases: list[tuple[Release, list[Transition]]] = field(default_factory=list)
    incident: Incident | None = None
    checks: list[Check] = field(default_factory=list)
    links: list[tuple[str, str]] = field(default_factory=list)
    curl: str = ""
