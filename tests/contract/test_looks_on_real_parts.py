"""What a release sees where Traefik copies the requests and real servers write the logs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from release_kit import Asked, Place, place, plan

from andon.adapters.inference_log import read_window
from andon.adapters.step_watch import StepWatch
from andon.adapters.watching.loading import GatewayLoad
from andon.looks import Look
from andon.ports import ServerSpec
from andon.rollout import Phase
from andon.spec import Load

GATE = ["errors", "agreement"]


@pytest.fixture(scope="module")
def here() -> Iterator[Place]:
    with place(versions=3) as made:
        yield made


@pytest.fixture
def looks(monkeypatch) -> list[Look]:
    kept: list[Look] = []
    plain = StepWatch.measure

    def measure(self, *given, **more):
        kept.append(plain(self, *given, **more))
        return kept[-1]

    monkeypatch.setattr(StepWatch, "measure", measure)
    return kept


def shadow(seconds: float) -> dict:
    steps = [{"mirror": 100, "for": seconds, "min_requests": 50, "gate": GATE}]
    return plan("shadow_only", steps=steps)


def test_copies_of_live_requests_are_paired_with_what_clients_got(here, looks):
    with here.load(60) as load:
        release = here.run(Asked("2", plan=shadow(4)))
    load.check(at_least=1)
    assert release.rollout.phase is Phase.SHADOWED, release.rollout.reason
    pairs = [it for look in looks for it in look.pairs if not it.probe]
    rows = sum(it.candidate.answers.rows for it in looks)
    assert len(pairs) >= 100
    assert len(pairs) >= 0.8 * rows  # the rest has its partner in a later look
    assert not [it for it in pairs if it.differ or it.candidate != it.champion]
    assert not [it for it in looks if it.missing.keys() & {*GATE, "inputs"}]
    assert sum(it.candidate.traffic.requests for it in looks) >= rows > 0
    live = here.ledger.live_spans("production", "churn", release.started_at)
    window = read_window(here.settings, "production", "churn", since=release.started_at, live=live)
    assert {it["version"] for it in window.rows} == {"1"}


def test_a_quiet_service_passes_a_mirror_by_requests_of_the_lines_own(here, looks):
    release = here.run(Asked("3", plan=shadow(1)))
    assert release.rollout.phase is Phase.SHADOWED, release.rollout.reason
    pairs = [it for look in looks for it in look.pairs]
    assert len(pairs) >= 30
    assert all(it.probe and not it.differ for it in pairs)
    assert sum(it.candidate.answers.rows for it in looks) == 0


def test_a_load_of_known_answers_passes_through_the_gateway(here):
    version = here.champion()
    bundle = here.settings.state / "store/bundles/churn" / f"v{version}"
    spec = ServerSpec("production", "churn", version, bundle, "digest")
    run = GatewayLoad(here.settings)(spec, Load(rps=100, seconds=2), threading.Event())
    assert run is not None
    assert (run.sent, run.failed) == (200, 0), run.example
