"""An alert's answer: learn from labelled live rows, and release what is better."""

from __future__ import annotations

from prefect import flow

from flows.deliver import build, release_built
from flows.parameters import AlertId, Model, Trigger
from tasks.line import at_work
from tasks.results import Released
from tasks.retrain import answering, gather, take_up
from tasks.turns import turn


@flow(name="retrain", flow_run_name="retrain {model}")
def retrain(model: Model, alert_id: AlertId = "", trigger: Trigger = "by hand") -> Released | None:
    """Build a challenger on live labelled rows and deliver it; an alert is answered once."""
    with at_work("retrain", model, trigger) as job, turn(job) as mine:
        if not take_up(job, alert_id):
            return None
        with answering(job, alert_id):
            built = mine.built or mine.keep(build(job, gather(job, alert_id)))
            return release_built(job, mine, built)
