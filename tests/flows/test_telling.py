"""What a release tells while it goes on, to a real Prefect server and to none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from support import free_port_block, wait_until

from andon.adapters import database
from andon.adapters.ledger import Ledger, Release, open_ledger
from andon.rollout import Phase, Rollout, advance, answer
from andon.spec import Approval, Step
from andon.verdict import Outcome, Verdict
from tasks import telling
from tasks.line import Job, _ledger
from tasks.telling import Report, percent, timeline

STEPS = (
    Step(weight=10, seconds=10, min_requests=100),
    Approval(approve="managers", within=60),
    Step(weight=50, seconds=10, min_requests=100),
    Step(weight=100, seconds=0, min_requests=0),
)
START = Rollout(candidate="p-m-v2", champion="p-m-v1", steps=STEPS, since=1_000.0)
JOB = Job(run_id="r", flow="deliver", model="m", trigger="test")
SEEN = Verdict(
    check="error rate", outcome=Outcome.PASS, n=50, value=0.01, limit=0.02,
    evidence={"candidate": 0.01, "champion": 0.0125},
)  # fmt: skip


def at(step: int, **changes: Any) -> Rollout:
    return START.model_copy(update={"phase": Phase.STEPPING, "step": step, **changes})


@pytest.mark.parametrize(
    ("rollout", "n", "now", "expected"),
    [
        (START, 0, 1_005.0, 0.0),
        (at(0), 100, 1_005.0, 12.5),  # half its time
        (at(0), 25, 1_009.0, 6.2),  # a quarter of its requests
        (at(0), 500, 2_000.0, 25.0),  # never more than the step
        (at(1), 500, 2_000.0, 25.0),  # a person's time is no progress
        (at(2, phase=Phase.PAUSED), 100, 1_009.0, 50.0),
        (at(3), 0, 1_000.0, 100.0),
        (at(0, phase=Phase.ROLLED_BACK), 0, 1_000.0, 100.0),
    ],
)
def test_the_bar_moves_within_a_step_by_what_is_slower(rollout, n, now, expected):
    assert percent(rollout, [SEEN.model_copy(update={"n": n})], now) == expected


@pytest.fixture
def ledger(tmp_path, monkeypatch) -> Iterator[Ledger]:
    monkeypatch.setenv("ANDON_PROJECT", str(tmp_path))
    monkeypatch.setenv("ANDON_PORT_BASE", str(free_port_block()))
    (tmp_path / "andon.yaml").touch()
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setattr(database, "url", lambda *_: url)
    found = open_ledger(url)
    yield found
    found.engine.dispose()
    _ledger(url).engine.dispose()


def opened(ledger: Ledger) -> Release:
    return ledger.open_release(
        START, environment="p", model="m", version="2", kind="release", trigger="t", run_id="r"
    )


def test_the_last_page_has_every_state_both_sides_and_who_answered(ledger):
    release = opened(ledger)
    for now in (1_001.0, 1_100.0):
        state = advance(release.rollout, Outcome.PASS, now)
        release = ledger.save_release(release, state)
    said = answer(release.rollout, 1_101.0, approved=True, by="ada", note="a | b")
    page = timeline(ledger, ledger.save_release(release, said), [SEEN])
    for expected in (
        "# m v2 in p: step 3/4 at 50 %", "v1: 90 %, v2: 10 %", "approved by ada: a \\| b",
        "Approved by ada on 1970-01-01 00:18:21: a | b", "| error rate | 0.01 | 0.0125 |",
    ):  # fmt: skip
        assert expected in page, expected


def artifacts(key: str) -> list[Any]:
    with get_client(sync_client=True) as client:
        return [it for it in client.read_artifacts() if it.key == key]


def test_it_is_seen_while_it_goes_on_in_one_bar_and_one_page(prefect, ledger, monkeypatch):
    monkeypatch.setattr(telling, "EVERY", 0.1)
    seen: list[float] = []

    @flow
    def line() -> None:
        release = opened(ledger)
        report = Report(JOB, ledger, "p", "2")
        for now in (1_001.0, 1_100.0):
            report(release, [SEEN])
            wait_until(lambda: artifacts("m-p-progress"), 30, "it is told")
            state = advance(release.rollout, Outcome.PASS, now)
            release = ledger.save_release(release, state)
        report(release, [SEEN])
        wait_until(lambda: artifacts("m-p-progress")[0].data == 25.0, 30, "the bar moves")
        seen.append(artifacts("m-p-progress")[0].data)
        report.close()

    line()
    (bar,), (page,) = artifacts("m-p-progress"), artifacts("m-release-p")
    assert bar.description == "v2 in p: step 2/4 waits for managers"
    assert "| error rate | 0.01 | 0.0125 |" in page.data
    (kept,) = ledger.verdicts("m")
    assert (kept.run_id, kept.station, kept.subject) == ("r", "release to p", "v2 in p")


def test_a_silent_prefect_keeps_nobody_from_watching(prefect, ledger, monkeypatch, caplog):
    def silent(*_: Any, **__: Any) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setattr(telling, "create_progress_artifact", silent)

    @flow
    def line() -> float:
        release, began = opened(ledger), time.monotonic()
        report = Report(JOB, ledger, "p", "2")
        report(release, [SEEN])
        report.follow(ledger.save_release(release, at(0)))
        report.close()
        return time.monotonic() - began

    assert line() < telling.PATIENCE
    assert len([it for it in caplog.messages if "nobody there" in it]) == 1
