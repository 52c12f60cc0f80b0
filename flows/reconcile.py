"""Make the world match the ledger, and start what got lost."""

from __future__ import annotations

from prefect import flow

from tasks.reconcile import end_the_dead, mend_registry, resend_alerts, restore


@flow(name="reconcile")
def reconcile() -> dict[str, str]:
    """Restore every environment; resend alerts nobody took up; end dead runs; mend the registry."""
    return {**restore(), **resend_alerts(), **end_the_dead(), **mend_registry()}
