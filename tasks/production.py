"""The way to production, as a part of the flow: with people who are asked, and rivals who come."""

from __future__ import annotations

from tasks.approval import ask
from tasks.evaluate import evaluate
from tasks.line import PRODUCTION, WAITING, GateStopped, Job, pull_the_cord
from tasks.release import OVERTAKEN, roll_out
from tasks.results import Built, Released
from tasks.turns import Turn

ROUNDS = 5  # how often a candidate is compared with yet another champion


def bring(job: Job, version: str, environment: str, against: str | None = None) -> Released:
    """Bring a version through an environment; while a person is waited for, the run is suspended.

    A part of the flow: a station cannot suspend. `against`: the champion that the version was
    compared with ("": none); `outcome` is "overtaken" if it is another one by now.
    """
    while True:
        ask(job, version, environment)
        released = roll_out(job, version, environment, against)
        if released.outcome != WAITING:
            return released


def to_production(job: Job, mine: Turn, built: Built) -> tuple[Built, Released]:
    """A build goes to production, and has been compared with the champion that it replaces.

    Raises GateStopped if it is not good enough beside a champion that came in the meantime.
    """
    for _ in range(ROUNDS):
        against = built.evaluated.champion or ""
        released = bring(job, built.version, PRODUCTION, against)
        if released.outcome != OVERTAKEN:
            return built, released
        evaluated = evaluate(job, built.snapshot, built.trained)
        verdicts = {**built.verdicts, "evaluate": evaluated.verdicts}
        built = mine.keep(built.model_copy(update={"evaluated": evaluated, "verdicts": verdicts}))
        pull_the_cord(f"evaluation against v{evaluated.champion}", evaluated.verdicts)
    raise GateStopped(
        f"{job.model} v{built.version} was compared with {ROUNDS} champions, and each time "
        "another one was released before it; deliver it again"
    )
