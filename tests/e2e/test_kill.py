"""kill -9 of a delivery at every station in turn, and `prefect flow-run retry` each time."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import polars as pl
import pytest
from line_under_test import LONG, LineUnderTest
from support import wait_until
from survival import (
    Hold,
    Steady,
    all_well,
    hurry,
    kill_program,
    kill_run,
    retry,
    retry_quickly,
    rewrite,
    visits,
    wait_for,
)

from andon.adapters.ledger import Candidate, Release
from andon.adapters.process_target import ProcessTarget
from deployments.runs import ENDED

pytestmark = pytest.mark.slow

MODEL = "tumor"
# What each station shows as its last act: killed there, its work is done and nobody knows.
BEFORE_RELEASE = (
    "snapshot", "validation", "split", "metrics", "tests", "evaluation", "registered", "bundle",
)  # fmt: skip
WITH_WORKER = "evaluation"  # here the worker dies as well
STEPS = ("step 1/2 at 20 %", "step 2/2 at 100 %")
STEP_SECONDS = 1.5


@dataclass
class Course:
    """A delivery that was killed again and again; by moment, when, and what Prefect said of it."""

    run_id: str
    killed_at: dict[str, float] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def steady(line: LineUnderTest) -> Iterator[Steady]:
    """Version 1, delivered undisturbed, under traffic until the last test."""
    hurry(line, MODEL, STEP_SECONDS)
    line.andon("deliver", MODEL)
    with Steady(line, MODEL) as traffic:
        yield traffic


@pytest.fixture(scope="module")
def course(line: LineUnderTest, steady: Steady) -> Course:
    """Version 2, of other data and other code: killed at every moment, then left alone."""
    data = line.project / "models" / MODEL / "data" / "tumor.parquet"
    pl.read_parquet(data).head(-9).write_parquet(data)
    line.track(MODEL)
    rewrite(line, MODEL, "C=0.5,", "C=0.25,")
    hold = Hold(line.settings)
    moments = {
        **{it: hold.at(f"{MODEL}-{it}") for it in (*BEFORE_RELEASE, "release-staging")},
        **{it: at_state(line, it) for it in STEPS},
        "release-production": hold.at(f"{MODEL}-release-production"),
    }
    made = Course("")
    for name, moment in moments.items():
        with moment as reached:
            begin(line, made)
            reach(line, made.run_id, name, reached)
            if name == WITH_WORKER:
                kill_program(line.settings, "worker")
            kill_run(line, made.run_id)
            made.killed_at[name] = time.time()
        wait_for(line, made.run_id, "CRASHED")
        made.said[name] = line.runs.state(made.run_id)["message"]
    begin(line, made)
    wait_for(line, made.run_id, "COMPLETED")
    return made


def reach(line: LineUnderTest, run_id: str, name: str, reached: Callable[[], bool]) -> None:
    def reached_or_ended() -> bool:
        return reached() or line.runs.state(run_id)["type"] in ENDED

    wait_until(reached_or_ended, LONG, f"the delivery reaches {name}")
    state = line.runs.state(run_id)
    assert reached(), f"{name}: {state['name']}: {state['message']}"


def begin(line: LineUnderTest, course: Course) -> None:
    """The delivery, or its retry."""
    if not course.run_id:
        course.run_id = line.runs.start("deliver", {"model": MODEL})
    elif len(course.said) == 1:
        retry(line, course.run_id)
    else:
        retry_quickly(line, course.run_id)


@contextmanager
def at_state(line: LineUnderTest, state: str) -> Iterator[Callable[[], bool]]:
    """A state of the rollout in production, which lasts long enough to be seen."""

    def reached() -> bool:
        release = line.ledger.unfinished("production", MODEL)
        return release is not None and f"{release.rollout}" == state

    yield reached


def candidate(line: LineUnderTest, version: str) -> Candidate:
    found = line.ledger.candidate(MODEL, version)
    assert found is not None
    return found


def releases(line: LineUnderTest, version: str) -> dict[str, Release]:
    found = [it for it in line.ledger.releases(MODEL) if it.version == version]
    assert sorted(it.environment for it in found) == ["production", "staging"]
    return {it.environment: it for it in found}


def test_it_was_killed_everywhere_and_still_ends_as_if_undisturbed(line, course):
    assert set(course.said) == {*BEFORE_RELEASE, "release-staging", *STEPS, "release-production"}
    assert {line.champion(MODEL, it) for it in ("staging", "production")} == {"2"}
    run, first = [it for it in line.ledger.runs(MODEL) if it.flow == "deliver"]
    assert run.id == course.run_id
    assert (run.outcome, run.message) == (first.outcome, first.message) == ("completed", "")
    judged = defaultdict(list)
    for it in line.ledger.verdicts(MODEL):
        if it.check != "importance like the champion's":  # the first had none
            judged[it.run_id].append((it.station, it.check, it.outcome))
    assert sorted(judged[run.id]) == sorted(judged[first.id])
    assert line.ask(MODEL, line.sample(MODEL)).headers["X-Andon-Version"] == "2"


def test_finished_stations_are_not_done_twice(line, course):
    found = visits(line, course.run_id)
    done = Counter(it.station for it in found if it.state == "Completed")
    once = ("take snapshot", "validate", "train", "evaluate", "make bundle")
    assert {it: done[it] for it in once} == dict.fromkeys(once, 1)
    assert {it.state for it in found} == {"Completed", "Cached", "Crashed"}
    build = line.settings.store / "builds" / MODEL / candidate(line, "2").build
    # Killed after it was fitted, and before Prefect knew: it was found, not fitted again.
    assert build.stat().st_mtime < course.killed_at["metrics"]


def test_one_version_is_registered(line, course):
    assert [it.version for it in line.ledger.candidates(MODEL)] == ["2", "1"]
    url = f"{line.settings.registry_url}/api/2.0/mlflow"
    found = httpx.get(
        f"{url}/model-versions/search", params={"filter": f"name='{MODEL}'"}, trust_env=False
    ).json()["model_versions"]
    builds = {it["version"]: {tag["key"]: tag["value"] for tag in it["tags"]} for it in found}
    assert {version: tags["andon.build"] for version, tags in builds.items()} == {
        version: candidate(line, version).build for version in ("1", "2")
    }


def test_one_release_an_environment_is_promoted_and_goes_on_where_it_was_killed(line, course):
    found = releases(line, "2")
    assert {it.rollout.phase for it in found.values()} == {"promoted"}
    told = [it.what for it in line.ledger.transitions(found["production"].seq)]
    undisturbed = [it.what for it in line.ledger.transitions(releases(line, "1")["staging"].seq)]
    assert undisturbed == ["starting", "step 1/1 at 100 %", "promoted: every gate passed"]
    first, second = STEPS
    assert told == [
        *("starting", first, f"{first}: resumed"),
        *(second, f"{second}: resumed", "promoted: every gate passed"),
    ]


def test_the_champion_answered_all_the_time(line, course, steady):
    assert steady.failures == []
    versions = [it.version for it in steady.answers]
    assert versions[0] == "1"
    assert versions[-1] == "2"
    early = [it.version for it in steady.answers if it.at < course.killed_at["release-staging"]]
    assert set(early) == {"1"}


def test_no_server_is_left_over(line, course):
    """But the one before, which is kept warm."""
    serving = {f"{it}-{MODEL}-v2" for it in ("production", "staging")}
    assert ProcessTarget(line.settings).names() == serving | {f"production-{MODEL}-v1"}


def test_a_delivery_that_died_with_its_worker_does_not_run_for_ever(line, course):
    assert "died together with the worker" in course.said[WITH_WORKER]
    assert all("-9" in said for name, said in course.said.items() if name != WITH_WORKER)
    assert all_well(line.settings)
