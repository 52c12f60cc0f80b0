"""Release a version that is registered already, by its plan."""

from __future__ import annotations

from prefect import flow

from flows.parameters import Environment, Model, Trigger, Version
from tasks.line import at_work
from tasks.production import bring
from tasks.register import mirror
from tasks.results import Released
from tasks.turns import turn


@flow(name="release", flow_run_name="release {model} v{version} to {environment}")
def release(
    model: Model,
    version: Version,
    environment: Environment = "production",
    trigger: Trigger = "by hand",
) -> Released:
    """Bring a registered version through an environment's release plan."""
    with at_work("release", model, trigger) as job, turn(job) as mine:
        mine.done()
        released = bring(job, version, environment)
        mirror(job)
        return released
