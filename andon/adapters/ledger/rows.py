"""What the ledger gives back: one frozen record a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from andon.rollout import Rollout


@dataclass(frozen=True)
class Candidate:
    """A registered version and its lineage; `bundle` is relative to the state folder.

    `tags` are those that the registry shows; None for a version of an Andon that kept none.
    """

    model: str
    version: str
    build: str
    snapshot: str
    git_sha: str
    git_dirty: bool
    bundle: str
    digest: str
    image: str | None
    metrics: dict[str, float]
    trigger: str
    run_id: str
    at: float
    tags: dict[str, str] | None = None


@dataclass(frozen=True)
class Release:
    """One rollout in one environment. `revision` guards against two drivers at once."""

    seq: int
    environment: str
    model: str
    version: str
    kind: str
    trigger: str
    run_id: str
    rollout: Rollout
    revision: int
    started_at: float
    ended_at: float | None


@dataclass(frozen=True)
class Transition:
    """One state of a rollout, as written before it was acted on."""

    release: int
    phase: str
    what: str
    weights: dict[str, int]
    at: float


@dataclass(frozen=True)
class Alert:
    """A failed monitor, on one window of live traffic (epoch seconds)."""

    id: str
    incident: str
    model: str
    environment: str
    monitor: str
    action: str
    message: str
    window_start: float
    window_end: float
    at: float
    sent_at: float | None
    handled_by: str | None


@dataclass(frozen=True)
class Incident:
    """Alerts on one cause; `story` is (time, what happened), oldest first.

    `looked_by`: who has looked at it, and `looked_at` when (epoch seconds).
    """

    id: str
    model: str
    environment: str
    cause: str
    state: str
    opened_at: float
    closed_at: float | None
    severity: str | None = None
    looked_by: str | None = None
    looked_at: float | None = None
    story: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class SnapshotRow:
    """A snapshot that a run has taken; columns are name → kind."""

    hash: str
    model: str
    source: str
    row_count: int
    columns: dict[str, str]
    at: float


@dataclass(frozen=True)
class VerdictRow:
    """A verdict with where it was given."""

    run_id: str
    model: str
    station: str
    subject: str
    check: str
    outcome: str
    value: float | None
    limit: float | None
    n: int
    detail: str
    evidence: dict[str, Any]
    at: float


@dataclass(frozen=True)
class Run:
    """A flow run, as the ledger saw it.

    `built`: what its stations made, once all of them are done; a run that is taken up again after a
    wait goes on with it, whatever the checked-out commit is by then.
    """

    id: str
    flow: str
    model: str
    trigger: str
    started_at: float
    ended_at: float | None
    outcome: str | None
    message: str | None
    built: dict[str, Any] | None = None


@dataclass(frozen=True)
class Measure:
    """A figure of a place at a time (epoch seconds); `what` names it and its unit."""

    environment: str
    model: str
    what: str
    value: float
    at: float


@dataclass(frozen=True)
class Notice:
    """A message on an incident for one route; `kind`: opened, update or clear.

    It is to be sent from `due` on (epoch seconds); `error` is that of the latest attempt.
    """

    id: str
    incident: str
    kind: str
    route: str
    message: str
    at: float
    due: float
    sent_at: float | None
    attempts: int
    error: str | None
