"""The ledger, the same on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from andon.adapters.ledger import Ledger, lock, open_ledger, opening
from andon.errors import LineError
from andon.rollout import Rollout, advance
from andon.spec import Step
from andon.verdict import Outcome, Verdict


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request, tmp_path) -> Iterator[Ledger]:
    if request.param == "sqlite":
        found = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    else:
        found = open_ledger(request.getfixturevalue("postgresql_url"))
    yield found
    found.engine.dispose()


def rollout(candidate: str = "c", champion: str | None = None) -> Rollout:
    return Rollout(candidate=candidate, champion=champion, steps=(Step(weight=100),), since=0.0)


def release(ledger: Ledger, version: str = "1", environment: str = "production"):
    return ledger.open_release(
        rollout(f"v{version}"), environment=environment, model="m", version=version,
        kind="release", trigger="test", run_id="r",
    )  # fmt: skip


def promote(ledger: Ledger, opened):
    state = advance(opened.rollout, Outcome.PASS, 1.0)
    stepped = ledger.save_release(opened, state)
    return ledger.save_release(stepped, advance(state, Outcome.PASS, 1e6))


def test_a_promoted_release_is_the_champion_and_an_older_one_was(ledger):
    first = promote(ledger, release(ledger, "1"))
    second = promote(ledger, release(ledger, "2"))
    assert ledger.champion("production", "m").version == "2"
    assert ledger.champion("production", "m", at=first.ended_at).version == "1"
    assert ledger.champion("production", "m", at=first.started_at - 1) is None
    assert ledger.champion("staging", "m") is None
    assert [it.seq for it in ledger.releases("m")] == [second.seq, first.seq]


def test_every_state_is_kept_as_a_transition(ledger):
    done = promote(ledger, release(ledger))
    assert [it.phase for it in ledger.transitions(done.seq)] == ["starting", "stepping", "promoted"]
    assert ledger.unfinished("production", "m") is None


def test_a_second_driver_of_one_release_has_to_stop(ledger):
    opened = release(ledger)
    state = advance(opened.rollout, Outcome.PASS, 1.0)
    ledger.save_release(opened, state)
    with pytest.raises(LineError, match="another run"):
        ledger.save_release(opened, state)
    assert len(ledger.transitions(opened.seq)) == 2


def test_a_station_run_again_replaces_its_verdicts(ledger):
    place = {"run_id": "r", "model": "m", "station": "validate", "subject": "s"}
    for n in (1, 2):
        ledger.add_verdicts([Verdict(check="c", outcome=Outcome.PASS, n=n)], **place)
    assert [it.n for it in ledger.verdicts("m")] == [2]


def test_alerts_on_one_cause_are_one_incident_until_it_is_closed(ledger):
    def alert():
        return ledger.raise_alert(
            model="m", environment="production", monitor="drift", action="retrain",
            message="drifted", window=(0.0, 1.0),
        )  # fmt: skip

    first, second = alert(), alert()
    assert first.incident == second.incident
    ledger.tell(first.incident, "all clear", "closed")
    assert alert().incident != first.incident
    assert len(ledger.open_incidents("m", "production")) == 1
    story = ledger.incidents("m")[0].story
    assert [what for _, what in story] == ["alert: drifted", "alert: drifted", "all clear"]


def test_an_alert_is_taken_up_by_one_run_only(ledger):
    alert = ledger.raise_alert(
        model="m", environment="production", monitor="drift", action="retrain", message="x",
        window=(0.0, 1.0),
    )  # fmt: skip
    assert [it.id for it in ledger.unhandled_alerts()] == [alert.id]
    assert ledger.claim_alert(alert.id, "run-1")
    assert ledger.claim_alert(alert.id, "run-1"), "a retry of the same run may go on"
    assert not ledger.claim_alert(alert.id, "run-2")
    assert ledger.unhandled_alerts() == []


def test_a_lineage_is_written_once(ledger):
    values = dict(
        model="m", version="1", build="b", snapshot="s", git_sha="g", git_dirty=False, bundle="p",
        digest="d", image=None, metrics={"auc": 0.5}, trigger="t", run_id="r",
    )  # fmt: skip
    first = ledger.add_candidate(**values)
    again = ledger.add_candidate(**{**values, "digest": "other"})
    assert again == first


def test_a_lock_is_waited_for_and_freed(ledger):
    order: list[str] = []
    held, waits = threading.Event(), threading.Event()

    def second():
        held.wait(10)
        with lock(ledger, "deliver/m", waits.set):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with lock(ledger, "deliver/m"):
        held.set()
        assert waits.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_ledger_of_a_later_version_is_refused(tmp_path):
    import sqlalchemy as sa

    from andon.errors import PlatformError

    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    with open_ledger(url).engine.begin() as tx:
        tx.execute(sa.text("update alembic_version set version_num = '9999'"))
    with pytest.raises(PlatformError, match="another version"):
        open_ledger(url)


def test_the_revision_of_this_version_is_alembic_s():
    """It is read from the files' names, without Alembic."""
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(opening.MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == opening.head()
