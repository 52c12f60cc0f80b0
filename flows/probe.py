"""Is the service there? Known requests through the gateway, and what servers and platform use."""

from __future__ import annotations

from prefect import flow

from flows.parameters import Environment, Model, Trigger
from tasks.act import act_on
from tasks.line import at_work
from tasks.notices import send_notices
from tasks.pages import show_all
from tasks.probe import look
from tasks.results import Watched


@flow(name="probe", flow_run_name="probe {model} in {environment}")
def probe(
    model: Model, environment: Environment = "production", trigger: Trigger = "by hand"
) -> Watched:
    """Probe what serves and read what it uses; raise alerts, or close incidents."""
    with at_work("probe", model, trigger) as job:
        seen = look(job, environment)
        act_on(job, environment, seen)
        show_all(job)
        send_notices()
        return seen
