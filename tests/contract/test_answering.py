"""Runs that answer alerts: taken up once, told to the incident, given back when they die."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from incident_kit import FAIL, PASS, Killed, Mortal, Place, place_on
from prefect.states import Cancelled, Completed, Crashed, Failed

import tasks.line
import tasks.reconcile
import tasks.retrain
import tasks.undo
from andon.adapters.learning import TooFewLabels
from andon.adapters.ledger import Alert
from andon.errors import DataError
from andon.verdict import Verdict
from tasks.line import GateStopped, Job
from tasks.reconcile import free_the_dead, resend_alerts
from tasks.retrain import answering, take_up
from tasks.sound import began, broken_spans
from tasks.undo import returning, take_up_rollback, version_undone


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path, monkeypatch) -> Iterator[Place]:
    with place_on(request, tmp_path, monkeypatch) as found:
        found.register("1", "2")
        found.serve("1")
        yield found


def job(place: Place, run_id: str = "one", flow: str = "retrain") -> Job:
    return Job(run_id=run_id, flow=flow, model=place.model, trigger="test")


def alerted(place: Place, action: str = "retrain") -> Alert:
    place.spec([{"kind": "drift", "action": action}, {"kind": "data"}])
    place.see("1", drift=FAIL, data=PASS)
    return place.alerts[-1]


def states(place: Place) -> str:
    return place.incidents[-1].state


def told(place: Place) -> str:
    return place.incidents[-1].story[-1][1]


def test_an_alert_is_taken_up_by_one_run_and_only_while_it_is_waited_for(place):
    alert = alerted(place)
    assert take_up.fn(job(place), alert.id)
    assert told(place) == "retraining started by run one"
    assert not take_up.fn(job(place, "two"), alert.id)
    assert take_up.fn(job(place), alert.id), "a retry of the same run"
    assert sum("started" in what for _, what in place.open.story) == 1
    place.ledger.close(place.open.id, "ada", "a holiday")
    assert not take_up.fn(job(place), alert.id)
    with pytest.raises(DataError, match="knows no alert 'none'"):
        take_up.fn(job(place), "none")


def test_nothing_is_learned_if_data_began_to_break_after_the_alert(place):
    alert = alerted(place)
    verdict = Verdict(check="data: age", outcome=FAIL, detail="9 points more nulls")
    place.ledger.add_verdicts(
        [verdict], run_id="m", model=place.model, station="monitor data", subject="v1 in production"
    )
    assert not take_up.fn(job(place), alert.id)
    assert states(place) == "open"
    assert told(place).startswith("waits for sound data: ")
    place.see("1", drift=FAIL, data=FAIL)
    assert len(place.posted) == 1
    place.see("1", drift=FAIL, data=PASS)
    assert [it.action for it in place.posted] == ["retrain", "retrain"]


def test_rows_from_before_data_were_sound_again_are_not_learned_from(place):
    place.spec([{"kind": "drift"}, {"kind": "data"}])
    now = place.ledger.clock()
    verdict = Verdict(check="data: age", outcome=FAIL, detail="9 points more nulls")

    def broken(run_id: str) -> None:
        place.ledger.add_verdicts(
            [verdict], run_id=run_id, model=place.model, station="monitor data",
            subject="v1 in production",
        )  # fmt: skip
        place.see("1", drift=FAIL, data=FAIL)

    broken("m1")
    first = place.ledger.clock()
    broken("m2")
    ((begin, end),) = broken_spans(place.ledger, place.model, "production")
    assert (begin, first < end) == (1.0, True)
    assert began(place.ledger, place.open) == end > now
    assert broken_spans(place.ledger, place.model, "staging") == []
    place.see("1", drift=FAIL, data=PASS)
    assert tasks.retrain.since_when(tasks.line.line_for(place.model), place.posted[0].id) == end


@pytest.mark.parametrize(
    ("error", "state", "says"),
    [
        (GateStopped("evaluation failed: as good on recent live rows: 0.7"), "escalated", "0.7"),
        (TooFewLabels("12 labelled live rows"), "open", "waits for labels: 12 labelled"),
    ],
)
def test_a_retraining_without_a_release_is_told_with_its_figures(place, error, state, says):
    alert = alerted(place)
    take_up.fn(job(place), alert.id)
    with pytest.raises(type(error)), answering(job(place), alert.id):
        raise error
    assert (states(place), says in told(place)) == (state, True)


def retrains(place: Place, alert: Alert, run_id: str = "one") -> None:
    """The run of `retrain`, in short."""
    mine = job(place, run_id)
    if not take_up.fn(mine, alert.id):
        return
    with answering(mine, alert.id):
        if place.ledger.champion("production", place.model).version == "1":
            place.serve("2", run_id)


def test_a_release_is_told_with_what_it_gained(place):
    alert = alerted(place)
    found = Verdict(check="as good on recent live rows", outcome=PASS, detail="v1 on 200: +0.1")
    place.ledger.add_verdicts(
        [found], run_id="one", model=place.model, station="evaluate", subject="build b2"
    )
    retrains(place, alert)
    assert states(place) == "retrained"
    assert told(place) == (
        "v2 released; waiting for a clear window; as good on recent live rows: v1 on 200: +0.1"
    )


@pytest.mark.parametrize("done", [False, True])
def test_a_retraining_that_is_killed_anywhere_and_tried_again_ends_once(place, monkeypatch, done):
    kills = 0
    while True:
        alert = alerted(place)
        mortal = Mortal(place.ledger, kills + 1, done=done)
        with monkeypatch.context() as patched:
            mortal.kills(patched, tasks.retrain)
            with contextlib.suppress(Killed):
                retrains(place, alert)
        if mortal.left > 0:
            break
        kills += 1
        retrains(place, alert)
        retrains(place, alert, "another")
        assert states(place) == "retrained"
        started = [what for _, what in place.open.story if "started" in what]
        assert started == ["retraining started by run one"]
        place.ledger.close(place.open.id, "test", "next")
        place.serve("1")
    assert kills >= 6


@pytest.fixture
def prefect(monkeypatch) -> dict[str, Any]:
    """Prefect's states of runs."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(tasks.reconcile, "get_client", lambda **_: contextlib.nullcontext())
    monkeypatch.setattr(tasks.reconcile, "_ended", lambda _, run: found.get(run))
    return found


def test_what_a_dead_run_had_taken_up_is_asked_for_again_and_at_last_is_for_people(
    place, prefect, monkeypatch
):
    events: list[tuple[str, int]] = []
    monkeypatch.setattr(tasks.reconcile, "send", lambda it, again: events.append((it.id, again)))
    alert = alerted(place)
    for number, run in enumerate(("one", "two", "three")):
        assert take_up.fn(job(place, run), alert.id)
        assert free_the_dead.fn() == {}, "it is at work"
        prefect[run] = Crashed()
        assert list(free_the_dead.fn()) == [f"alert {alert.id}"]
        if number < 2:
            assert states(place) == "retraining"
            resend_alerts.fn()
    assert events == [(alert.id, 1), (alert.id, 2)], "events of their own: the first is known"
    assert states(place) == "escalated"
    assert free_the_dead.fn() == {}
    assert resend_alerts.fn() == {}


def test_a_run_that_died_right_after_its_release_is_not_repeated(place, prefect):
    alert = alerted(place)
    assert take_up.fn(job(place), alert.id)
    place.serve("2", "one")
    prefect["one"] = Crashed()
    free_the_dead.fn()
    retrains(place, alert, "two")
    assert place.ledger.champion("production", place.model).run_id == "one"
    assert states(place) == "retrained"
    assert told(place) == "v2 serves since after the alert; waiting for a clear window"


@pytest.mark.parametrize("state", [Cancelled(), Completed()])
def test_a_run_that_was_cancelled_is_for_people(place, prefect, state):
    alert = alerted(place)
    take_up.fn(job(place), alert.id)
    prefect["one"] = state
    free_the_dead.fn()
    assert states(place) == "escalated"
    assert "and did not say how" in told(place)


def test_a_run_that_ended_as_it_should_is_left_alone(place, prefect):
    alert = alerted(place)
    retrains(place, alert)
    prefect["one"] = Failed()
    assert free_the_dead.fn() == {}
    assert states(place) == "retrained"


def rolls_back(place: Place, alert: Alert, run_id: str = "back") -> None:
    mine = job(place, run_id, "rollback")
    if not take_up_rollback.fn(mine, alert.id):
        return
    with returning(mine, alert.id):
        place.serve(version_undone.fn(mine, alert.id), run_id)


def test_a_rollback_goes_back_once_and_says_so(place):
    place.serve("2")
    place.spec([{"kind": "drift", "action": "rollback"}])
    place.see("2", drift=FAIL)
    (alert,) = place.alerts
    for run in ("back", "again"):
        rolls_back(place, alert, run)
    assert place.ledger.champion("production", place.model).version == "1"
    assert states(place) == "returned"
    assert told(place) == "rolled back to v1; waiting for a clear window"
    place.see("1", drift=PASS)
    assert states(place) == "closed"


def test_a_rollback_whose_version_was_replaced_meanwhile_undoes_nothing(place):
    place.serve("2")
    place.spec([{"kind": "drift", "action": "rollback"}])
    place.see("2", drift=FAIL)
    place.register("3")
    place.serve("3", "ada's")
    rolls_back(place, place.alerts[0])
    assert place.ledger.champion("production", place.model).version == "3"
    assert "nothing to undo" in told(place)


def test_a_rollback_that_fails_is_for_people(place):
    place.serve("2")
    place.spec([{"kind": "drift", "action": "rollback"}])
    place.see("2", drift=FAIL)
    mine = job(place, "back", "rollback")
    assert take_up_rollback.fn(mine, place.alerts[0].id)
    with pytest.raises(GateStopped), returning(mine, place.alerts[0].id):
        raise GateStopped("v1 was not ready")
    assert (states(place), told(place)) == ("escalated", "the rollback failed: v1 was not ready")
