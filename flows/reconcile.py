"""Make the world match the ledger, and start what got lost."""

from __future__ import annotations

from prefect import flow

from tasks.reconcile import end_the_dead, resend_alerts, restore


@flow(name="reconcile")
def reconcile() -> dict[str, str]:
    """Restore every environment; send again the alerts nobody took up; end the runs that died."""
    return {**restore(), **resend_alerts(), **end_the_dead()}
