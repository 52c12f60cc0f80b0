"""What a release needs goes away in the middle of it, on real parts under load."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa
from release_kit import PRODUCTION, Asked, Place, place, plan
from support import wait_until

from deployments.platform import gateway as platform_gateway

pytestmark = [pytest.mark.slow]
LONG = 90.0
SHORT = {"for": 0.3, "min_requests": 20}
HELD = [{"weight": 30, "for": 6, "min_requests": 100}, {"weight": 100, **SHORT}]


@pytest.fixture(scope="module")
def shared() -> Iterator[Place]:
    with place(versions=2) as made:
        yield made


@pytest.fixture
def here(shared) -> Place:
    """v1 serves, and nothing else runs."""
    if shared.champion() != "1":
        shared.run(Asked("1", kind="rollback"))
    shared.settled()
    return shared


def gateway_dies(here: Place) -> float:
    """kill -9; returns when its supervisor has it back, and it knows its routes."""
    before = here.supervisor.info("gateway").pid
    psutil.Process(before).kill()
    wait_until(lambda: here.supervisor.info("gateway").pid not in (0, before), LONG, "another")
    wait_until(here.gateway_answers, LONG, "Traefik answers")
    return time.time()


def test_a_gateway_that_dies_in_mid_canary_comes_back_with_its_split_and_it_goes_on(here):
    with here.load() as load:
        run = here.spawn(Asked("2", plan=plan(steps=HELD, on_inconclusive="pause")))
        wait_until(lambda: here.weights() == {"1": 70, "2": 30}, LONG, "the split")
        died = time.time()
        back = gateway_dies(here)
        assert here.weights() == {"1": 70, "2": 30}
        version, phase, reason = json.loads(run.communicate(timeout=LONG)[0])
        assert (version, phase) == ("2", "promoted"), reason
        here.settled()
    lost = [it for it in load.failures() if not died - 1 < it.at + it.seconds < back + 0.5]
    assert not lost, f"while the gateway was there: {lost[:5]}"
    assert load.sent()[-1].at > back
    print(f"Traefik was away for {back - died:.1f} s")


@contextmanager
def ledger_away(here: Place) -> Iterator[None]:
    """Somebody has the whole database, and does not let go."""
    engine = sa.create_engine(here.ledger_url)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN EXCLUSIVE")
        yield
        connection.exec_driver_sql("ROLLBACK")
    engine.dispose()


def test_without_its_ledger_a_release_changes_nothing_and_goes_on_when_it_is_back(here):
    asked = Asked("2", run_id=f"run-{time.monotonic_ns()}", plan=plan(steps=HELD))
    with here.load() as load:
        run = here.spawn(asked)
        wait_until(lambda: here.weights() == {"1": 70, "2": 30}, LONG, "the split")
        with ledger_away(here):
            said = run.communicate(timeout=LONG)
            assert run.returncode == 1, said
            assert here.weights() == {"1": 70, "2": 30}
            assert here.process("1") is not None
            assert here.process("2") is not None
        assert here.state().startswith("step 1/2")
        again = here.spawn(asked)
        assert json.loads(again.communicate(timeout=LONG)[0])[:2] == ["2", "promoted"]
        here.settled()
    load.check(at_least=int(0.9 * load.rate * load.seconds))
    # What a station tries again, and then tells in words.
    assert "OperationalError" in said[1], said[1][-300:]


def test_a_gateway_file_edited_by_hand_is_mended_and_said_so(here):
    """In the middle of a release that nobody drives at the moment."""
    asked = Asked("2", run_id=f"run-{time.monotonic_ns()}", plan=plan(steps=HELD))
    file = here.settings.state / "run" / "gateway" / "dyn" / f"{PRODUCTION}--churn.yml"
    with here.load() as load:
        run = here.spawn(asked)
        wait_until(lambda: here.weights() == {"1": 70, "2": 30}, LONG, "the split")
        run.kill()
        run.communicate()
        text = file.read_text()
        assert '"weight": 70' in text
        here.order(file, text.replace('"weight": 70', '"weight": 7'))
        wait_until(lambda: here.weights() == {"1": 7, "2": 30}, LONG, "Traefik believes it")
        told = here.driver().restore(PRODUCTION, "churn")
        assert here.weights() == {"1": 70, "2": 30}
        assert told.startswith("v2: step 1/2 at 30 %; mended: ")
        assert "weights.production-churn-v1: expected 70, found 7" in told
        file.unlink()
        wait_until(lambda: not here.weights(), LONG, "Traefik has forgotten it")
        gone = time.time()
        assert "mended: " in here.driver().restore(PRODUCTION, "churn")
        assert json.loads(here.spawn(asked).communicate(timeout=LONG)[0])[:2] == ["2", "promoted"]
    # A deleted route is a 404 for everyone, until it is mended.
    assert all(gone - 1 < it.at < gone + 2 for it in load.failures())


def test_without_any_traffic_probes_fill_in(here):
    release = here.run(Asked("2", plan=plan()))
    assert release.rollout.phase == "promoted", release.rollout.reason
    here.settled()


@contextmanager
def without_metrics(here: Place) -> Iterator[None]:
    """A Traefik that counts nothing."""
    file: Path = platform_gateway.static_file(here.settings)
    content = json.loads(file.read_text())
    content.pop("metrics")
    file.write_text(json.dumps(content))
    gateway_dies(here)
    yield
    platform_gateway.write(here.settings)
    gateway_dies(here)


ENDS = {
    "pause": ("rolled_back", "paused for "),
    "continue": ("promoted", "the plan says to continue"),
    "abort": ("rolled_back", "inconclusive for "),
}


@pytest.fixture(scope="module")
def blind(shared) -> Iterator[Place]:
    with without_metrics(shared):
        yield shared


@pytest.mark.parametrize("then", ENDS)
def test_without_metrics_it_is_inconclusive_and_ends_as_the_plan_says(blind, here, then):
    states = []
    with blind.load() as load:
        short = plan(on_inconclusive=then, pause_within=3)
        asked = Asked("2", plan=short, inconclusive_seconds=1.0)
        release = blind.run(asked, report=lambda it, verdicts: states.append(str(it.rollout)))
        phase, reason = ENDS[then]
        assert (release.rollout.phase, reason in release.rollout.reason) == (phase, True)
        assert any(it.endswith("paused") for it in states) == (then == "pause")
        blind.settled()
    load.check(at_least=int(0.9 * load.rate * load.seconds))
