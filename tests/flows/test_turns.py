"""Whose turn it is, what a run is on the ledger when it leaves, and where a rollback leads."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from prefect import flow
from prefect.exceptions import Pause
from support import REPOSITORY, free_port_block

from andon.adapters import database
from andon.adapters.driver import driven
from andon.adapters.going_back import to_release
from andon.adapters.ledger import Ledger, lock, open_ledger
from andon.errors import LineError, PlatformError
from andon.rollout import Phase, Rollout
from andon.spec import Step
from tasks.line import Job, _ledger, at_work, line_for
from tasks.release import version_before
from tasks.results import Built, Evaluated, Snapshot, Trained
from tasks.turns import turn

pytestmark = pytest.mark.usefixtures("prefect")

JOB = Job(run_id="mine", flow="deliver", model="tumor", trigger="test")
PLACE = "production", "tumor"
BUILT = Built(
    snapshot=Snapshot(hash="h", folder="f", rows=1, columns={}, source="s"),
    trained=Trained(key="k", folder="f", metrics={}, rows=(1, 1), verdicts=()),
    evaluated=Evaluated(champion=None, verdicts=(), folder="f"),
    version="1",
    verdicts={"validate": (), "split": ()},
)


@pytest.fixture
def project(tmp_path, monkeypatch) -> Iterator[Any]:
    """The example `tumor`, on a ledger of its own and without a platform."""
    monkeypatch.setenv("ANDON_PROJECT", str(tmp_path))
    monkeypatch.setenv("ANDON_PORT_BASE", str(free_port_block()))
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setattr(database, "url", lambda *_: url)
    (tmp_path / "andon.yaml").touch()
    shutil.copytree(REPOSITORY / "models" / "tumor", tmp_path / "models" / "tumor")
    (tmp_path / ".andon").mkdir()
    yield tmp_path
    _ledger(url).engine.dispose()


@pytest.fixture
def ledger(project) -> Iterator[Ledger]:
    found = open_ledger(database.url())
    found.start_run("mine", flow="deliver", model="tumor", trigger="test")
    yield found
    found.engine.dispose()


def newer(project, word: str) -> None:
    with (project / "models" / "tumor" / "model.yaml").open("a") as file:
        file.write(f"release: {{production: {{newer: {word}}}}}\n")


def taken(ledger: Ledger) -> bool:
    """Whether another delivery would have to wait."""

    class Taken(Exception):
        pass

    def leave() -> None:
        raise Taken

    try:
        with lock(ledger, "line/tumor", leave):
            return False
    except Taken:
        return True


@pytest.mark.parametrize(("word", "after"), [("queue", True), ("supersede", False)])
def test_a_delivery_has_the_line_until_it_is_done_or_until_it_may_be_superseded(
    project, ledger, word, after
):
    newer(project, word)
    seen: list[Any] = []

    @flow
    def line() -> None:
        with turn(JOB) as mine:
            seen.extend((mine.built, taken(ledger)))
            mine.keep(BUILT)
            seen.append(taken(ledger))

    line()
    assert seen == [None, True, after]
    assert not taken(ledger)


def test_who_comes_back_has_built_and_waits_for_nobody(project, ledger):
    seen: list[Any] = []

    @flow
    def line() -> None:
        with turn(JOB) as mine:
            seen.append(mine.built)

    ledger.keep_built("mine", BUILT.model_dump(mode="json"))
    with lock(ledger, "line/tumor"):
        line()
    assert seen == [BUILT]
    assert list(seen[0].verdicts) == ["validate", "split"]


@pytest.mark.parametrize(
    ("error", "raised", "outcome", "says"),
    [
        (Pause(), Pause, "waiting", "a person is asked"),
        (
            sa.exc.OperationalError("SELECT", {}, Exception("no route to host")),
            PlatformError,
            "failed",
            "does not answer (no route to host); what serves goes on as it is",
        ),
    ],
)
def test_how_a_run_left_stands_on_the_ledger(project, ledger, error, raised, outcome, says):
    caught: list[BaseException] = []

    @flow
    def line() -> None:
        try:
            with at_work("deliver", "tumor", "test"):
                raise error
        except raised as found:
            caught.append(found)

    line()
    assert caught
    (run,) = [it for it in ledger.runs("tumor") if it.id != "mine"]
    assert run.outcome == outcome
    assert says in run.message


def released(ledger: Ledger, version: str, phase: Phase, champion: str | None) -> None:
    rollout = Rollout(
        candidate=f"production-tumor-v{version}", steps=(Step(weight=100),), since=0.0,
        champion=champion and f"production-tumor-v{champion}",
    )  # fmt: skip
    opened = ledger.open_release(
        rollout, environment="production", model="tumor", version=version, kind="release",
        trigger="t", run_id=version,
    )  # fmt: skip
    ledger.save_release(opened, rollout.model_copy(update={"phase": phase}))


def back_to(run_id: str) -> str:
    @flow
    def line() -> str:
        return version_before(JOB.model_copy(update={"run_id": run_id}), "production")

    return line()


def test_a_rollback_without_a_version_leads_out_of_what_is_in_progress(project, ledger, tmp_path):
    name = tmp_path.name  # results of Prefect outlive this test's ledger
    with pytest.raises(LineError, match="nothing to roll back"):
        back_to(f"{name}-0")
    released(ledger, "1", Phase.STEPPING, None)
    assert back_to(f"{name}-1") == "", "nothing served before"
    ledger.save_release(
        ledger.unfinished(*PLACE),
        ledger.unfinished(*PLACE).rollout.model_copy(update={"phase": Phase.PROMOTED}),
    )
    released(ledger, "2", Phase.PROMOTED, "1")
    assert back_to(f"{name}-2") == "1", "nothing is in progress: the one before"
    released(ledger, "3", Phase.STEPPING, "2")
    assert back_to(f"{name}-3") == "2", "the champion"


def test_a_version_that_is_gone_is_told_with_those_that_are_there(project, ledger):
    for version in ("1", "2"):
        ledger.add_candidate(
            model="tumor", version=version, build="b", snapshot="s", git_sha="g", git_dirty=False,
            bundle=f"store/v{version}", digest="d", image=None, metrics={}, trigger="t", run_id="r",
        )  # fmt: skip
    (project / ".andon" / "store" / "v2").mkdir(parents=True)
    line = line_for("tumor")
    release = partial(to_release, line.settings, line.ledger, "tumor")
    assert release("2").version == "2"
    with pytest.raises(LineError, match=r"v1 is gone \(store/v1\); to be had: 2"):
        release("1")
    with pytest.raises(LineError, match="knows no version 7 of tumor; to be had: 2"):
        release("7")


def test_whether_somebody_drives_is_asked_of_the_lock(ledger):
    assert not driven(ledger, *PLACE)
    with lock(ledger, "release/production/tumor"):
        assert driven(ledger, *PLACE)
    assert not driven(ledger, *PLACE)
