"""What monitors said before, the same on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from andon.adapters.ledger import Ledger, open_ledger
from andon.adapters.ledger.ledger import WATCHED_SECONDS
from andon.verdict import Outcome, Verdict

STATION, SUBJECT = "monitor drift", "v1 in production"


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request, tmp_path) -> Iterator[Ledger]:
    if request.param == "sqlite":
        found = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    else:
        found = open_ledger(request.getfixturevalue("postgresql_url"))
    yield found
    found.engine.dispose()


def say(
    ledger: Ledger, run: str, at: float, *outcomes: Outcome,
    model: str = "m", station: str = STATION, subject: str = SUBJECT,
) -> None:  # fmt: skip
    ledger.clock = lambda: at
    given = [Verdict(check=f"c{n}", outcome=it) for n, it in enumerate(outcomes)]
    ledger.add_verdicts(given, run_id=run, model=model, station=station, subject=subject)


def test_the_last_runs_of_a_place_come_oldest_first_and_no_others(ledger):
    for n in range(40):
        outcome = Outcome.FAIL if n % 2 else Outcome.PASS
        say(ledger, f"r{n}", 1_000.0 + n, outcome, Outcome.PASS)
    say(ledger, "s", 1_020.0, Outcome.FAIL, station="probe service")
    say(ledger, "r39", 1_500.0, Outcome.FAIL, subject="v1 in staging")
    say(ledger, "t", 1_500.0, Outcome.FAIL, model="other")
    found = ledger.last_seen("m", "production", [STATION], runs=30)
    assert [it.run_id for it in found] == [f"r{n}" for n in range(10, 40)]
    assert [it.outcome for it in found[-1].verdicts] == ["fail", "pass"]
    both = ledger.last_seen("m", "production", [STATION, "probe service"], runs=3)
    assert [it.run_id for it in both] == ["s", "r37", "r38", "r39"]
    assert ledger.last_seen("m", "nowhere", [STATION]) == []


def test_the_latest_words_on_a_subject_are_of_one_station_and_run(ledger):
    assert ledger.latest_verdicts("m", SUBJECT) == []
    say(ledger, "a", 1.0, Outcome.PASS, Outcome.FAIL)
    say(ledger, "b", 2.0, Outcome.PASS)
    say(ledger, "b", 3.0, Outcome.FAIL, Outcome.PASS, station="probe service")
    found = ledger.latest_verdicts("m", SUBJECT)
    assert [(it.run_id, it.station, it.outcome) for it in found] == [
        ("b", "probe service", "fail"), ("b", "probe service", "pass"),
    ]  # fmt: skip
    assert len(ledger.verdicts("m", run_id="a")) == 2


def test_what_monitors_said_long_ago_is_let_go_and_the_rest_is_kept(ledger):
    say(ledger, "a", 1_000.0, Outcome.PASS)
    say(ledger, "d", 1_000.0, Outcome.PASS, station="train")
    say(ledger, "b", 1_000.0 + WATCHED_SECONDS + 1, Outcome.PASS)
    assert {it.run_id for it in ledger.verdicts("m")} == {"b", "d"}
