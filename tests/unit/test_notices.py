"""Who is told, when, and what."""

from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from andon.notices import LONGEST, About, body, due, quiet_until, retry_in, title, wants
from andon.spec.notify import Quiet, Route

ABOUT = About("churn-1", "churn", "production", "warning", 1_764_000_000.0)
CRITICAL = About("churn-1", "churn", "production", "critical", 1_764_000_000.0)
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]
clocks = st.times().map(lambda it: it.replace(second=0, microsecond=0, fold=0))
moments = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)).map(
    lambda it: it.replace(tzinfo=UTC).timestamp()
)
hours = st.tuples(clocks, clocks).filter(lambda it: it[0] != it[1])
nights = st.builds(
    lambda it, zone: Quiet(**{"from": it[0], "to": it[1], "zone": zone}),
    hours, st.sampled_from(ZONES),
)  # fmt: skip


def route(**given_: object) -> Route:
    return Route(**{"name": "ops", "block": "slack-webhook/ops", **given_})


def night(**more: object) -> Quiet:
    return Quiet(**{"from": "22:00", "to": "07:00", "zone": "Europe/Berlin", **more})


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()


def test_a_route_has_what_it_asked_for():
    assert wants(route(), ABOUT)
    assert not wants(route(severity="critical"), ABOUT)
    assert wants(route(severity="critical"), CRITICAL)
    assert not wants(route(models=["other"]), ABOUT)
    assert wants(route(models=["other", "churn"], environments=["production"]), ABOUT)
    assert not wants(route(environments=["staging"]), ABOUT)


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-01-10T21:59", "2026-01-10T21:59"), ("2026-01-10T22:00", "2026-01-11T07:00"),
        ("2026-01-11T06:59", "2026-01-11T07:00"), ("2026-01-11T07:00", "2026-01-11T07:00"),
        ("2026-03-28T23:00", "2026-03-29T07:00"), ("2026-10-24T23:00", "2026-10-25T07:00"),
    ],
)  # fmt: skip
def test_quiet_hours_go_over_midnight_and_follow_the_clock_on_the_wall(now, until):
    assert quiet_until(night(), at(now)) == at(until)


@given(nights, moments)
def test_a_message_is_due_at_once_or_at_the_end_of_the_quiet_hours(quiet, now):
    until = quiet_until(quiet, now)
    assert now <= until <= now + 25.5 * 3_600
    if until > now:
        there = datetime.fromtimestamp(until, ZoneInfo(quiet.zone))
        shown = there.time().replace(fold=0)
        # An end that the clock leaps over comes as much later as it leaps.
        leapt = there.utcoffset() != datetime.fromtimestamp(now, ZoneInfo(quiet.zone)).utcoffset()
        assert shown == quiet.end or leapt


@given(nights, moments)
def test_critical_ones_pass_unless_that_is_not_wanted(quiet, now):
    assert due(route(quiet=quiet), CRITICAL, now) == now
    silent = quiet.model_copy(update={"critical": False})
    assert due(route(quiet=silent), CRITICAL, now) == due(route(quiet=silent), ABOUT, now)


@given(st.integers(0, 10_000))
def test_it_is_tried_again_later_and_later_but_every_hour(attempts):
    assert retry_in(0) <= retry_in(attempts) <= retry_in(attempts + 1) <= 3_600


def test_a_message_says_what_where_since_when_and_where_to_look():
    assert title(ABOUT, "opened") == "Incident: churn in production (warning)"
    assert title(ABOUT, "clear").startswith("All clear:")
    said = body(
        ABOUT, [(1_764_000_000.0, "drift: fee"), (1_764_000_900.0, "x" * 9_000)], "http://p"
    )
    assert said.splitlines()[0] == "2025-11-24 16:00 UTC: drift: fee"
    assert "andon incidents show churn-1" in said and "http://p" in said
    assert len(said) < LONGEST + 500


@pytest.mark.parametrize(
    ("given_", "key", "what"),
    [
        ({"block": "ops"}, "block", "pattern"), ({"severity": "loud"}, "severity", "warning"),
        ({"quiet": {"from": "25:00", "to": "07:00"}}, "from", "as 22:00"),
        ({"quiet": {"from": "22:00", "to": "22:00"}}, "to", "another time"),
        ({"quiet": {"from": "22:00", "to": "07:00", "zone": "Berlin"}}, "zone", "Europe/Berlin"),
        ({"quiet": {"from": "22:00", "to": "07:00", "zone": "../etc"}}, "zone", "Europe/Berlin"),
        ({"loud": True}, "loud", "not permitted"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_key(given_, key, what):
    with pytest.raises(ValidationError) as found:
        route(**given_)
    (error,) = found.value.errors()
    assert error["loc"][-1] == key
    assert what in error["msg"]


def test_times_are_read_as_yaml_gives_them():
    assert Quiet(**{"from": 1_320, "to": "7:00"}).begin == time(22)
