"""Back to an earlier version, at once."""

from __future__ import annotations

from prefect import flow

from flows.parameters import AlertId, Environment, Model, Trigger, Version
from tasks.line import at_work
from tasks.register import mirror
from tasks.release import roll_back, version_before
from tasks.results import Released
from tasks.undo import returning, take_up_rollback, version_undone


@flow(name="rollback", flow_run_name="rollback {model} in {environment}")
def rollback(
    model: Model,
    version: Version = "",
    environment: Environment = "production",
    alert_id: AlertId = "",
    trigger: Trigger = "by hand",
) -> Released | None:
    """Return to a version; interrupts a release at work. An alert is answered once.

    Without a version: from a release at work to the champion, else to the one before the champion;
    for an alert always to the one before the champion.
    """
    with at_work("rollback", model, trigger) as job:
        if not take_up_rollback(job, alert_id):
            return None
        with returning(job, alert_id):
            asked = version_undone(job, alert_id) if alert_id else version
            released = roll_back(job, asked or version_before(job, environment), environment)
            mirror(job)
            return released
