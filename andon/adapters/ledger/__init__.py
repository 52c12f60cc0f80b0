"""The ledger (SQLAlchemy Core on PostgreSQL or SQLite, migrated by Alembic)."""

from andon.adapters.ledger.incidents import Seen
from andon.adapters.ledger.ledger import Ledger
from andon.adapters.ledger.opening import lock, lock_if_free, open_ledger
from andon.adapters.ledger.rows import (
    Alert,
    Candidate,
    Incident,
    Measure,
    Notice,
    Release,
    Run,
    SnapshotRow,
    Transition,
    VerdictRow,
)

__all__ = [
    "Alert",
    "Candidate",
    "Incident",
    "Ledger",
    "Measure",
    "Notice",
    "Release",
    "Run",
    "Seen",
    "SnapshotRow",
    "Transition",
    "VerdictRow",
    "lock",
    "lock_if_free",
    "open_ledger",
]
