"""Back to an earlier version, at once."""

from __future__ import annotations

from prefect import flow

from flows.parameters import Environment, Model, Trigger, Version
from tasks.line import at_work
from tasks.register import mirror
from tasks.release import roll_back, version_before
from tasks.results import Released


@flow(name="rollback", flow_run_name="rollback {model} in {environment}")
def rollback(
    model: Model,
    version: Version = "",
    environment: Environment = "production",
    trigger: Trigger = "by hand",
) -> Released:
    """Return to a version; interrupts a release at work.

    Without a version: from a release at work to the champion, else to the one before the champion.
    """
    with at_work("rollback", model, trigger) as job:
        released = roll_back(job, version or version_before(job, environment), environment)
        mirror(job)
        return released
