"""What monitors' verdicts do to alerts and incidents, on real ledgers of both kinds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import httpx
import pytest
from incident_kit import FAIL, PASS, UNKNOWN, Killed, Mortal, Place, place_on

import tasks.act
from andon.adapters import after_release
from andon.verdict import Verdict


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path, monkeypatch) -> Iterator[Place]:
    with place_on(request, tmp_path, monkeypatch) as found:
        yield found


def test_one_failure_is_one_incident_one_alert_and_one_event(place):
    for _ in range(3):
        place.see(drift=FAIL)
    place.see(drift=UNKNOWN)
    (alert,) = place.alerts
    (posted,) = place.posted
    assert (posted.id, posted.sent_at) == (alert.id, None), "it was written down before"
    assert alert.sent_at is not None
    assert (place.open.state, place.open.severity) == ("retraining", "warning")
    assert place.open.story[0][1] == ("alert: drift: age: moved; 5,000 labelled rows to learn from")


def test_what_could_not_be_judged_raises_nothing(place):
    place.see(drift=UNKNOWN)
    place.see(drift=PASS)
    assert place.incidents == []


def test_a_clear_window_closes_what_only_notified_and_the_next_failure_is_another_incident(place):
    place.spec([{"kind": "drift", "action": "notify"}])
    place.see(drift=FAIL)
    first = place.open.id
    place.see(drift=PASS)
    assert place.incidents[0].story[-1][1] == "clear on 900 rows"
    assert place.incidents[0].closed_at is not None
    place.see(drift=FAIL)
    assert place.open.id != first
    assert place.posted == []


def test_broken_data_are_for_people_until_they_are_sound(place):
    """The same incident retrains then, if the drift is still there."""
    place.spec([{"kind": "data"}, {"kind": "drift"}])
    place.see(data=FAIL, drift=FAIL)
    assert (place.alerts[0].action, place.open.cause) == ("notify", "data+drift")
    assert "nothing is learned from data that look broken" in place.alerts[0].message
    place.see(data=FAIL, drift=FAIL)
    assert place.posted == []
    place.see(data=PASS, drift=FAIL)
    assert [it.action for it in place.posted] == ["retrain"]
    assert (place.open.cause, place.open.severity) == ("data+drift", "critical")


def test_what_it_waits_for_is_one_line_with_the_latest_figure(place):
    for place.labelled in (120, 121, 400, 400):
        place.see(drift=FAIL)
    story = [what for _, what in place.open.story]
    assert story == [
        "alert: drift: age: moved; waits for labels: 120 of 1,000",
        "waits for labels: 400 of 1,000",
    ]
    place.labelled = 1_000
    place.see(drift=FAIL)
    assert [it.action for it in place.alerts] == ["notify", "retrain"]
    assert place.open.state == "retraining"


def test_kinds_that_did_not_look_at_rows_leave_the_incident_of_the_rows_alone(place):
    place.spec([{"kind": it} for it in ("drift", "service", "resources")])
    place.see(drift=FAIL)
    before = place.open
    place.see(service=FAIL, resources=PASS)
    place.see(service=FAIL, resources=FAIL)
    rows, service, resources = place.ledger.open_incidents(place.model, "production")
    assert rows == before
    assert [it.cause for it in (service, resources)] == ["service", "resources"]
    place.see(drift=UNKNOWN)
    place.see(service=PASS, resources=FAIL)
    assert [it.state for it in place.incidents] == ["retraining", "closed", "open"]


def test_rows_of_a_version_that_serves_no_more_say_nothing(place):
    place.serve("1")
    place.see("1", drift=FAIL)
    place.serve("2")
    place.ledger.tell(place.open.id, "v2 released", "retrained")
    place.see("1", drift=FAIL)
    assert place.open.state == "retrained"
    place.see("2", drift=FAIL)
    assert place.open.state == "reopened"
    assert len(place.alerts) == 1, "it does not retrain again by itself"


def test_after_a_look_it_may_retrain_again(place):
    place.see(drift=FAIL)
    place.ledger.tell(place.open.id, "ended without a release", "escalated")
    place.see(drift=FAIL)
    assert len(place.alerts) == 1
    looked = place.ledger.look(place.open.id, "ada", "new customers")
    assert (looked.state, looked.looked_by) == ("open", "ada")
    assert looked.story[-1][1] == "looked at by ada: new customers"
    place.see(drift=FAIL)
    assert [it.action for it in place.alerts] == ["retrain", "retrain"]


def test_within_the_cooldown_nothing_is_retrained_again(place):
    place.spec([{"kind": "drift"}], retraining={"cooldown_minutes": 60})
    place.see(drift=FAIL)
    place.ledger.close(place.open.id, "ada", "a holiday")
    place.see(drift=FAIL)
    again = place.alerts[-1]
    assert again.action == "notify"
    assert "no retraining within the cooldown" in again.message


def test_a_policy_of_rollback_asks_for_it_and_only_where_there_is_an_earlier_version(place):
    place.spec([{"kind": "drift", "action": "rollback"}])
    place.serve("1")
    place.see("1", drift=FAIL)
    assert "no earlier version" in place.alerts[0].message
    place.ledger.close(place.open.id, "ada", "")
    place.serve("2")
    place.register("1", "2")
    place.see("2", drift=FAIL)
    assert [it.action for it in place.posted] == ["rollback"]
    assert (place.open.state, "back to v1" in place.alerts[-1].message) == ("returning", True)


@pytest.mark.parametrize("drift", [PASS, UNKNOWN, FAIL])
def test_a_release_that_is_worse_is_undone_once_and_stops_retraining(place, monkeypatch, drift):
    """Whatever the drift is by then, and until a person has looked."""
    found = Verdict(check="c", outcome=FAIL, n=300, detail="roc_auc 0.7, was 0.8")
    monkeypatch.setattr(after_release, "against_the_one_before", lambda *_, **__: found)
    place.register("1", "2")
    place.serve("1")
    place.see("1", drift=FAIL)
    place.serve("2")
    place.ledger.tell(place.open.id, "v2 released", "retrained")
    for _ in range(2):
        place.see("2", drift=drift)
    assert [it.action for it in place.posted] == ["retrain", "rollback"]
    assert place.open.state == "halted"
    assert "worse than the version before: roc_auc 0.7, was 0.8" in place.alerts[-1].message
    place.serve("1")
    place.see("1", drift=PASS)
    assert place.open.state == "halted", "clear, but nobody looked"
    place.ledger.look(place.open.id, "ada")
    assert place.open.state == "returning", "no run has taken it up yet"


def test_prefect_away_loses_no_alert(place):
    """The run fails and says so; the next one, or reconcile, sends what is on the ledger."""
    place.away = True
    for _ in range(2):
        with pytest.raises(httpx.ConnectError):
            place.see(drift=FAIL)
    (alert,) = place.ledger.unhandled_alerts()
    assert alert.sent_at is None
    place.away = False
    place.see(drift=UNKNOWN)
    assert [it.id for it in place.posted] == [alert.id]
    place.see(drift=FAIL)
    assert len(place.posted) == 1


@pytest.mark.parametrize("done", [False, True])
def test_a_run_that_is_killed_anywhere_loses_no_alert_and_doubles_none(place, monkeypatch, done):
    kills = 0
    while True:
        place.model, place.posted = f"m{uuid4().hex[:12]}", []
        place.spec([{"kind": "drift"}])
        mortal = Mortal(place.ledger, kills + 1, done=done)
        with monkeypatch.context() as patched:
            mortal.kills(patched, tasks.act)
            patched.setattr(tasks.act, "send", lambda a, w=mortal: w.call(place.send, a))
            with contextlib.suppress(Killed):
                place.see(drift=FAIL)
        if mortal.left > 0:
            break
        kills += 1
        place.see(drift=FAIL)
        (alert,) = place.alerts
        assert {it.id for it in place.posted} == {alert.id}, "an event of one id is one event"
        assert place.ledger.alert(alert.id).sent_at is not None
        assert sum(what.startswith("alert: ") for _, what in place.open.story) == 1
    assert kills >= 6, "settle, send, mark_sent and what is read before"


def test_a_storm_is_one_incident_one_alert_and_a_short_story(place):
    place.labelled = 120

    def see(number: int) -> None:
        if number == 600:
            place.labelled = 2_000
        place.see(drift=FAIL)

    with ThreadPoolExecutor(12) as many:
        list(many.map(see, range(1_000)))
    assert len(place.incidents) == 1
    assert [it.action for it in place.alerts] == ["notify", "retrain"]
    assert len(place.open.story) == 3
    assert {it.id for it in place.posted} == {place.alerts[-1].id}
