"""Make the world match the ledger, and start what got lost."""

from __future__ import annotations

from prefect import flow

from tasks.notices import send_notices
from tasks.reconcile import (
    end_the_dead,
    free_the_dead,
    guard_the_waiting,
    mend_registry,
    resend_alerts,
    restore,
)


@flow(name="reconcile")
def reconcile() -> dict[str, str]:
    """Restore every environment; guard what waits; end dead runs; resend alerts; mend MLflow."""
    return {
        **restore(),
        **guard_the_waiting(),
        **end_the_dead(),
        **free_the_dead(),
        **resend_alerts(),
        **send_notices(),
        **mend_registry(),
    }
