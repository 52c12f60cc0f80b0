"""`andon incidents`: what a person is shown, may say, and is told of a wrong id."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from incident_kit import FAIL, PASS, Place, place_on
from rich.console import Console
from typer.testing import CliRunner, Result

from andon.errors import LineError
from deployments import incidents_cli, notify_cli
from deployments.cli import app


@pytest.fixture(params=["sqlite"])
def place(request, tmp_path, monkeypatch) -> Iterator[Place]:
    wide = Console(highlight=False, width=200)
    monkeypatch.setattr(incidents_cli, "out", wide)
    monkeypatch.setattr(notify_cli, "out", wide)
    with place_on(request, tmp_path, monkeypatch) as found:
        found.ledger.start_run("m", flow="monitor", model=found.model, trigger="t")
        yield found


def andon(*words: str) -> Result:
    return CliRunner().invoke(app, ["incidents", *words])


def says(*words: str) -> str:
    done = andon(*words)
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def refuses(*words: str) -> str:
    done = andon(*words)
    assert isinstance(done.exception, LineError)
    return str(done.exception)


def test_what_is_open_is_listed_and_what_is_closed_if_asked_for(place):
    assert says() == "no incident is open"
    place.see(drift=FAIL)
    listed = says()
    assert listed == says("list") == says(place.model)
    for it in (place.open.id, f"production/{place.model}", "drift", "retraining", "alert: drift"):
        assert it in listed
    place.ledger.close(place.open.id, "ada", "a holiday")
    assert says() == "no incident is open; 1 closed: --all"
    assert "closed by ada: a holiday" in says(place.model, "--all")
    assert "no run of a model 'nobody' yet" in refuses("nobody")


def test_the_story_goes_from_the_signal_to_the_all_clear(place):
    place.register("1", "2")
    place.serve("1")
    place.see("1", drift=FAIL)
    alert = place.alerts[0]
    place.ledger.start_run("r2", flow="retrain", model=place.model, trigger="alert")
    place.ledger.take_up(alert.id, "r2", "retraining started by run r2")
    place.serve("2", "r2")
    place.ledger.end_run("r2", "completed", "")
    place.ledger.tell(alert.incident, "v2 released; waiting for a clear window", "retrained")
    place.see("2", drift=PASS)
    told = says("show", alert.incident)
    order = [
        "alert: drift: age: moved; 5,000 labelled rows to learn from",
        f"retrain is asked for by event {alert.id}",
        "retrain begins: run r2",
        "retraining started by run r2",
        "v2 in production: promoted",
        "retrain ends: completed",
        "v2 released; waiting for a clear window",
        "clear on 900 rows",
    ]
    places = [told.find(it) for it in order]
    assert -1 not in places, told
    assert places == sorted(places)
    assert "state closed" in told and "severity warning" in told


def test_a_look_lets_it_go_on_and_a_close_ends_it(place):
    place.see(drift=FAIL)
    id_ = place.open.id
    place.ledger.tell(id_, "ended without a release: 0.7 is not better than 0.8", "escalated")
    assert "nothing more happens by itself" in says("show", id_)
    looked = says("look", id_, "--by", "ada", "--note", "new customers")
    assert looked == f"{id_}: escalated → open; looked at by ada: new customers"
    assert "looked at by ada" in says("show", id_)
    assert "why it is over" in refuses("close", id_, "--by", "ada")
    assert "closed by ada: mended" in says("close", id_[:-2], "--by", "ada", "--note", "mended")
    assert "is closed already" in refuses("close", id_, "--by", "ada", "--note", "again")
    assert "is closed already" in refuses("look", id_)


def test_an_unknown_id_is_answered_with_those_that_there_are(place):
    assert "there is none yet" in refuses("show", "m-1")
    place.see(drift=FAIL)
    assert f"the latest: {place.open.id}" in refuses("show", "nobody-1")
    place.ledger.close(place.open.id, "ada", "")
    place.see(drift=FAIL)
    assert "begins 2 ids" in refuses("look", place.model)


def notify(*words: str) -> Result:
    return CliRunner().invoke(app, ["notify", *words])


def test_who_is_told_and_what_waits(place):
    assert "nobody is told" in notify("list").output
    assert "no `notify`: see docs/notifications.md" in str(notify("test").exception)
    routes = "notify: [{name: ops, block: slack-webhook/ops}]"
    (place.project / "andon.yaml").write_text(routes)
    place.see(drift=FAIL)
    (notice,) = place.ledger.unaddressed()
    place.ledger.address(notice, [("ops", 0.0)])
    (waiting,) = place.ledger.waiting()
    place.ledger.not_sent([waiting.id], "HTTP 503", 0.0)
    shown = notify("list").output
    assert "slack-webhook/ops" in shown and "HTTP 503" in shown
    refused = notify("test", "nobody").exception
    assert isinstance(refused, LineError)
    assert str(refused) == "andon.yaml has no route 'nobody'; there are: ops"
