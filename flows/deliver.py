"""From a commit and its data to live traffic."""

from __future__ import annotations

from prefect import flow

from flows.parameters import Model, Trigger
from tasks.behave import run_tests
from tasks.bundle import build_image, make_bundle
from tasks.committed import check_code
from tasks.document import write_card
from tasks.evaluate import evaluate
from tasks.explain import explain
from tasks.line import Job, at_work, pull_the_cord
from tasks.production import to_production
from tasks.register import attach, mirror, record, register, reports
from tasks.release import roll_out
from tasks.results import Built, Released, Snapshot
from tasks.snapshot import take_snapshot
from tasks.split import split_rows
from tasks.summary import sum_up
from tasks.train import train
from tasks.turns import Turn, turn
from tasks.validate import validate


@flow(name="deliver", flow_run_name="deliver {model}")
def deliver(model: Model, trigger: Trigger = "by hand") -> Released:
    """Snapshot, validate, train, evaluate, register, bundle, and release a model."""
    with at_work("deliver", model, trigger) as job, turn(job) as mine:
        return release_built(job, mine, mine.built or mine.keep(build(job, take_snapshot(job))))


def build(job: Job, snapshot: Snapshot) -> Built:
    """The line from a snapshot up to production; `deliver` and `retrain` share it."""
    validated = validate(job, snapshot)
    pull_the_cord("validation", validated.verdicts)
    split = split_rows(job, snapshot)
    pull_the_cord("splitting", split.verdicts)
    trained = train(job, split)
    pull_the_cord("training", trained.verdicts)
    explained = explain(job, split, trained)
    tested = run_tests(job, trained)
    evaluated = evaluate(job, snapshot, trained)
    version = register(job, snapshot, split, trained, evaluated)
    bundled = make_bundle(job, trained, version)
    found = {
        "validate": validated.verdicts,
        "split": split.verdicts,
        "train": trained.verdicts,
        "test": tested.verdicts,
        "explain": explained.verdicts,
        "evaluate": evaluated.verdicts,
        "bundle": bundled.verdicts,
    }
    card = write_card(job, snapshot, trained, bundled, explained, evaluated, found)
    attach(job, trained, bundled, reports(validated, evaluated, explained, card))
    image = build_image(job, bundled)
    record(job, snapshot, split, trained, bundled, image)
    mirror(job)
    pull_the_cord("tests", tested.verdicts)
    pull_the_cord("evaluation", evaluated.verdicts)
    roll_out(job, version, "staging")
    mirror(job)
    pull_the_cord("the release to production", check_code(job))
    return Built(
        snapshot=snapshot, trained=trained, evaluated=evaluated, version=version, verdicts=found
    )


def release_built(job: Job, mine: Turn, built: Built) -> Released:
    """From there to live traffic; a run that comes back after a wait, or a kill, begins here."""
    built, released = to_production(job, mine, built)
    mirror(job)
    verdicts = [it for station in reversed(built.verdicts.values()) for it in station]
    sum_up(job, built.snapshot, built.trained, built.evaluated, verdicts, released)
    return released
