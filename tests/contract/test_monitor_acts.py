"""What a monitor's verdicts do to alerts and incidents, on a real ledger."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
from prefect.logging import disable_run_logger

from andon.adapters import database
from andon.adapters.files import load_settings
from andon.adapters.ledger import Alert, Ledger
from andon.verdict import Outcome, Verdict
from tasks.act import act_on
from tasks.line import Job, ledger_of
from tasks.results import Watched

SPEC = """
data: d.csv
target: y
task: binary
monitors: [{kind: drift, action: %s}]
retraining: {cooldown_minutes: 60}
"""


@pytest.fixture
def ledger(postgresql, tmp_path, monkeypatch) -> Iterator[Ledger]:
    monkeypatch.setenv("ANDON_PROJECT", str(tmp_path))
    monkeypatch.setenv("ANDON_DATABASE_URL", database.url(postgresql, "postgres", driver=""))
    (tmp_path / "andon.yaml").touch()
    settings = load_settings()
    database.ensure_databases(settings)
    found = ledger_of(settings)
    with disable_run_logger():
        yield found
    found.engine.dispose()


@pytest.fixture
def job(tmp_path, request) -> Job:
    """A model of this test's own; its monitor's action is the test's parameter, or `notify`."""
    name = f"m{uuid4().hex[:12]}"
    folder = tmp_path / "models" / name
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text(SPEC % getattr(request, "param", "notify"))
    return Job(run_id="r", flow="monitor", model=name, trigger="test")


def watched(outcome: Outcome) -> Watched:
    verdict = Verdict(check="drift: age", outcome=outcome, value=0.3, n=900)
    return Watched(
        windows={"drift": (1.0, 2.0)}, rows={"drift": 900}, verdicts={"drift": (verdict,)}
    )


def see(job: Job, outcome: Outcome) -> None:
    act_on.fn(job, "production", watched(outcome))


def asked_for_retraining(ledger: Ledger, job: Job) -> Alert:
    return ledger.raise_alert(
        model=job.model, environment="production", monitor="drift", action="retrain",
        message="drifted", window=(1.0, 2.0),
    )  # fmt: skip


def test_one_cause_is_one_alert_and_a_clear_window_closes_it(ledger, job):
    for outcome in (Outcome.FAIL, Outcome.FAIL, Outcome.INCONCLUSIVE):
        see(job, outcome)
    assert len(ledger.alerts(job.model)) == 1
    (incident,) = ledger.open_incidents(job.model, "production")
    see(job, Outcome.PASS)
    assert ledger.open_incidents(job.model, "production") == []
    assert ledger.incidents(job.model)[0].story[-1][1] == "clear on 900 rows"
    see(job, Outcome.FAIL)
    assert ledger.open_incidents(job.model, "production")[0].id != incident.id


def test_what_could_not_be_judged_raises_nothing(ledger, job):
    see(job, Outcome.INCONCLUSIVE)
    see(job, Outcome.PASS)
    assert ledger.alerts(job.model) == []


def test_an_incident_whose_retraining_has_not_ended_is_not_closed(ledger, job):
    asked_for_retraining(ledger, job)
    see(job, Outcome.PASS)
    assert len(ledger.open_incidents(job.model, "production")) == 1


def test_a_failure_after_the_retraining_is_for_people(ledger, job):
    alert = asked_for_retraining(ledger, job)
    ledger.tell(alert.incident, "v2 released", "retrained")
    see(job, Outcome.FAIL)
    (incident,) = ledger.open_incidents(job.model, "production")
    assert incident.state == "escalated"
    assert len(ledger.alerts(job.model)) == 1, "it does not retrain again by itself"


@pytest.mark.parametrize("job", ["retrain"], indirect=True)
def test_within_the_cooldown_nothing_is_retrained_again(ledger, job):
    alert = asked_for_retraining(ledger, job)
    ledger.tell(alert.incident, "all clear", "closed")
    see(job, Outcome.FAIL)
    again = ledger.alerts(job.model)[-1]
    assert again.action == "notify" and "cooldown" in again.message


BROKEN = SPEC.replace("monitors: [{", "monitors: [{kind: data}, {")


@pytest.mark.parametrize("job", ["retrain"], indirect=True)
def test_nothing_is_learned_from_data_that_look_broken(ledger, job, tmp_path):
    (tmp_path / "models" / job.model / "model.yaml").write_text(BROKEN % "retrain")
    drifted = watched(Outcome.FAIL)
    both = {"data": drifted.verdicts["drift"], **drifted.verdicts}
    spans = dict.fromkeys(both, (1.0, 2.0))
    act_on.fn(job, "production", Watched(windows=spans, rows=dict.fromkeys(both, 9), verdicts=both))
    (alert,) = ledger.alerts(job.model)
    assert (alert.action, alert.monitor) == ("notify", "data+drift")
    assert "nothing is learned from data that look broken" in alert.message
