"""Make the world match the ledger, and start what got lost."""

from __future__ import annotations

from prefect import flow

from tasks.reconcile import resend_alerts, restore


@flow(name="reconcile")
def reconcile() -> dict[str, str]:
    """Restore every environment from its ledger; send again the alerts nobody took up."""
    return {**restore(), **resend_alerts()}
