"""Make the world match the ledger, and start what got lost."""

from __future__ import annotations

from prefect import flow

from tasks.reconcile import (
    end_the_dead,
    guard_the_waiting,
    mend_registry,
    resend_alerts,
    restore,
)


@flow(name="reconcile")
def reconcile() -> dict[str, str]:
    """Restore every environment; guard what waits; resend alerts; end dead runs; mend MLflow."""
    return {
        **restore(),
        **guard_the_waiting(),
        **resend_alerts(),
        **end_the_dead(),
        **mend_registry(),
    }
