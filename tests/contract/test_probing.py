"""Probes of what serves, on real parts that fail, hang, are slow, or are gone."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from uuid import uuid4

import pytest
from release_kit import PRODUCTION, Place, place
from support import wait_until

from andon.adapters import knocking
from andon.adapters.ledger import Ledger, Measure, open_ledger
from andon.adapters.readings import FILES, MEMORY, of_platform
from andon.spec import ModelSpec, ResourceMonitor, ServiceMonitor
from andon.verdict import Outcome, Verdict
from tasks import probe
from tasks.line import Line

SPEC = ModelSpec(name="churn", data="d.csv", target="left", task="binary")
MONITOR = ServiceMonitor(persistence={"of": 2, "need": 2}, p95_ms=400)
ALL = {"answers", "right answers", "errors", "latency p95"}


@pytest.fixture(scope="module")
def here() -> Iterator[Place]:
    with place(versions=1) as made:
        yield made


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(knocking, "TIMEOUT", 1.0)
    monkeypatch.setattr(knocking, "PATIENCE", 2.0)


def look(here: Place, monitor: ServiceMonitor = MONITOR) -> dict[str, Verdict]:
    champion = here.ledger.champion(PRODUCTION, "churn")
    verdicts, _ = probe._service(Line(here.settings, SPEC, here.ledger), champion, monitor)
    return {it.check.removeprefix("service: "): it for it in verdicts}


def failing(found: dict[str, Verdict]) -> set[str]:
    return {name for name, it in found.items() if it.outcome is Outcome.FAIL}


def well(here: Place) -> bool:
    return {it.outcome for it in look(here).values()} == {Outcome.PASS}


@pytest.fixture(autouse=True)
def _well(here) -> None:
    wait_until(lambda: well(here), 60, "all is well")


def test_known_requests_are_answered_and_counted(here):
    found = look(here)
    assert found.keys() == ALL
    assert not failing(found)
    assert found["answers"].n == MONITOR.requests
    assert found["errors"].n >= MONITOR.requests, "the gateway has counted them"
    assert here.ledger.measures(PRODUCTION, "churn")


def test_a_server_that_fails_is_an_incident_at_the_second_look(here):
    with here.fault("1", "500"):
        assert not failing(look(here))
        found = look(here)
    assert failing(found) == {"answers", "errors"}
    assert "HTTP 500" in found["answers"].detail


def test_a_server_that_hangs_is_not_waited_for(here):
    assert here.signal("1", signal.SIGSTOP)
    try:
        assert "answers" in failing(look(here)) | failing(look(here))
    finally:
        here.signal("1", signal.SIGCONT)


def test_a_slow_server_is_slow(here):
    with here.fault("1", "slow 0.6"):
        look(here)
        found = look(here)
    assert failing(found) == {"latency p95"}


def test_a_gateway_that_is_gone_is_a_failure_and_no_crash(here):
    here.supervisor.stop("gateway")
    try:
        look(here)
        found = look(here)
    finally:
        here.supervisor.start("gateway")
        wait_until(here.gateway_answers, 60, "Traefik answers")
    assert failing(found) == {"answers"}
    assert "ConnectError" in found["answers"].detail
    assert found["errors"].outcome is Outcome.INCONCLUSIVE
    wait_until(lambda: well(here), 60, "its counters began anew")


def test_another_answer_than_the_known_one_is_wrong(here, monkeypatch):
    monkeypatch.setattr(knocking, "same_answer", lambda *_: False)
    look(here)
    assert failing(look(here)) == {"right answers"}


def test_what_server_and_platform_use_is_read(here):
    champion = here.ledger.champion(PRODUCTION, "churn")
    line = Line(here.settings, SPEC, here.ledger)
    verdicts, lines = probe._resources(line, champion, ResourceMonitor())
    checks = {it.check: it for it in verdicts}
    server = "resources: production-churn-v1"
    wanted = {f"{server} {MEMORY}", f"{server} {FILES}", "resources: disk"}
    assert wanted | {f"resources: gateway {MEMORY}"} <= checks.keys()
    assert checks[f"{server} {MEMORY}"].value > 0
    assert "gateway memory" in lines
    again, _ = probe._resources(line, champion, ResourceMonitor())
    assert {it.check for it in again} == checks.keys()
    assert {it.what for it in here.ledger.measures(*probe.PLATFORM)} == of_platform(
        here.settings
    ).keys()


@pytest.fixture
def ledger(tmp_path) -> Iterator[Ledger]:
    found = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield found
    found.engine.dispose()


def test_figures_are_kept_by_place_and_let_go_in_time(ledger):
    model, now = f"m{uuid4().hex[:6]}", [1_000.0]
    ledger.clock = lambda: now[0]
    ledger.add_measures(PRODUCTION, model, {"a": 1.0, "b": 2.0})
    ledger.add_measures(PRODUCTION, "another", {"a": 7.0})
    now[0] = 2_000.0
    ledger.add_measures(PRODUCTION, model, {"a": 3.0})
    found = [(it.what, it.value, it.at) for it in ledger.measures(PRODUCTION, model)]
    assert found == [("a", 1.0, 1_000.0), ("b", 2.0, 1_000.0), ("a", 3.0, 2_000.0)]
    assert len(ledger.measures(PRODUCTION, model, since=1_500.0)) == 1
    now[0] += 15 * 86_400
    ledger.add_measures(PRODUCTION, model, {})
    assert ledger.measures(PRODUCTION, model) == []
    assert len(ledger.measures(PRODUCTION, "another")) == 1


def test_requests_by_the_hour_leave_out_ours_and_survive_a_restart_of_the_gateway():
    def look(hours_ago: float, requests: float, server: str = "a") -> list[Measure]:
        figures = {probe.SENT: 5.0, f"{probe.REQUESTS} of {server}": requests}
        at = 1_000_000 - 3_600 * hours_ago
        return [Measure(PRODUCTION, "churn", what, n, at) for what, n in figures.items()]

    looks = [
        *look(2.9, 1_000), *look(2.5, 1_105), *look(1.5, 50), *look(0.5, 255), *look(0.2, 40, "b"),
        *look(0.1, 145, "b"),
    ]  # fmt: skip
    found = probe.hourly(looks, 1_000_000)
    assert found == {2: 100.0, 1: 45.0, 0: 300.0}


def test_small_pictures_of_readings():
    assert probe.sparkline([0.0, 5.0, 10.0]) == "▁▅█"
    assert probe.sparkline([3.0, 3.0]) == "▁▁"
    assert probe.sparkline([]) == ""
