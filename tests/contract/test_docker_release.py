"""Releases and a rollback of real bundles in containers, behind the real gateway, under load."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest
from docker_kit import MODEL, make_bundle
from helpers import Load

from andon.adapters.driver import Driver, Order
from andon.adapters.ledger import Candidate, open_ledger
from andon.adapters.local import local_driver
from andon.rollout import Phase
from andon.settings import Environment, Settings
from andon.spec import AllAtOnce, Canary, Limits, Step
from serving.bundle import read_samples, verify

GATE = ("errors", "latency", "resources")
STEPS = tuple(Step(weight=it, seconds=1, min_requests=10, gate=GATE) for it in (20, 50, 100))
PLAN = Canary(steps=STEPS, on_inconclusive="abort", keep_warm=600, rollback_window=0)
AT_ONCE = AllAtOnce(strategy="all_at_once", steps=(Step(weight=100, seconds=0, min_requests=0),))


@pytest.fixture
def settings(traefik, dockered) -> Settings:
    """Of the running gateway, with production in containers."""
    changes = {
        "environments": {"production": dockered.settings.environments["production"],
                         "staging": Environment()},
        "base_image": dockered.settings.base_image,
    }  # fmt: skip
    return traefik.settings.model_copy(update=changes)


@pytest.fixture
def driver(settings, tmp_path):
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    found = local_driver(settings, ledger)
    yield found
    found._gateway.remove("production", MODEL)
    for name in found._target.names():
        found._target.stop(name)
    ledger.engine.dispose()


def candidate(driver: Driver, settings: Settings, version: str) -> Candidate:
    folder = make_bundle(
        settings.state / "store" / f"v{version}", version, 1 + int(version) / 10, MODEL
    )
    return driver._ledger.add_candidate(
        model=MODEL, version=version, build=f"build-{version}", snapshot="s", git_sha="g",
        git_dirty=False, bundle=str(folder.relative_to(settings.state)), digest=verify(folder),
        image=None, metrics={}, trigger="test", run_id="r",
    )  # fmt: skip


def order(run: str) -> Order:
    limits = Limits(p95_ms=2_000, latency_ratio=50, cpu_ratio=100)
    return Order(
        environment="production", plan=PLAN, limits=limits, trigger="test", run_id=run,
        inconclusive_seconds=60,
    )  # fmt: skip


@pytest.mark.docker
def test_versions_come_and_go_in_containers_and_no_request_fails(settings, driver):
    first, second = (candidate(driver, settings, it) for it in ("1", "2"))
    release, verdicts = driver.release(first, order("r1"))
    assert release.rollout.phase is Phase.PROMOTED, verdicts
    url = f"{settings.gateway_url}/production/{MODEL}/predict"
    body = {"records": [read_samples(settings.state / first.bundle).records[0]]}
    with httpx.Client(timeout=20.0) as client:

        def send() -> tuple[int, str]:
            reply = client.post(url, json=body)
            return reply.status_code, reply.json()["version"] if reply.is_success else reply.text

        with Load(send, threads=1, pause=0.05) as load:
            load.wait_for(20)
            release, verdicts = driver.release(second, order("r2"))
            assert release.rollout.phase is Phase.PROMOTED, verdicts
            assert "memory growth" in {it.check for it in verdicts}
            load.wait_for(20)
            assert send()[1] == "2"
            back = replace(order("r3"), plan=AT_ONCE, kind="rollback")
            release, verdicts = driver.release(first, back)
            assert release.rollout.phase is Phase.PROMOTED, verdicts
            load.wait_for(20)
            assert send()[1] == "1"
    assert load.failures == []
    assert set(load.answers) == {"1", "2"}
