"""Watch what is live; a failed monitor raises an alert, and an alert starts `retrain`."""

from __future__ import annotations

from prefect import flow

from flows.parameters import Environment, Model, Trigger
from tasks.act import act_on
from tasks.line import at_work
from tasks.monitor import watch
from tasks.notices import send_notices
from tasks.pages import show_all
from tasks.results import Watched


@flow(name="monitor", flow_run_name="monitor {model} in {environment}")
def monitor(
    model: Model, environment: Environment = "production", trigger: Trigger = "by hand"
) -> Watched:
    """Judge the latest window of live traffic; raise alerts, or close incidents."""
    with at_work("monitor", model, trigger) as job:
        watched = watch(job, environment)
        act_on(job, environment, watched)
        show_all(job)
        send_notices()
        return watched
