"""Watch a release while a person is waited for, and carry it on."""

from __future__ import annotations

from prefect import flow

from flows.parameters import Environment, Model, Trigger
from tasks.line import at_work
from tasks.release import carry_on, wake_the_waiting
from tasks.results import Released


@flow(name="guard", flow_run_name="guard {model} in {environment}")
def guard(
    model: Model, environment: Environment = "production", trigger: Trigger = "by hand"
) -> Released | None:
    """Watch the gates of a release that its run has left; drive it to its end after the answer."""
    with at_work("guard", model, trigger, reads_spec=False) as job:
        released = carry_on(job, environment)
        wake_the_waiting(job)
        return released
