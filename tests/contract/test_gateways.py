"""What every gateway promises; the same suite for the fake and for a real Traefik."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import inf

import pytest
from gateway_worlds import two_versions
from helpers import Load
from support import wait_until

from andon.errors import GatewayError
from andon.ports import Route, Traffic

V1, V2 = "production-churn-v1", "production-churn-v2"
# Both split by weighted round robin, not by dice, but a change of the route begins a new round.
TOLERANCE = 0.05


def shares(world, n: int = 200, model: str = "churn") -> dict[str, float]:
    answers = Counter(world.send(model) for _ in range(n))
    assert {status for status, _ in answers} == {200}
    return {server: count / n for (_, server), count in answers.items()}


def test_the_route_last_applied_is_known_and_followed(world):
    route = two_versions(world.serve, "churn", weight=0)
    assert world.gateway.route("production", "churn") is None
    world.gateway.apply(route)
    assert world.gateway.route("production", "churn") == route
    assert shares(world, n=10) == {V1: 1.0}

    changed = replace(route, weights={V1: 0, V2: 100})
    world.gateway.apply(changed)
    assert world.gateway.route("production", "churn") == changed
    assert shares(world, n=10) == {V2: 1.0}


def test_one_backend_is_a_route_too_and_can_be_pinned(world):
    route = Route("production", "churn", {V1: world.serve(V1)}, {V1: 100}, V1, {V1: "1"})
    world.gateway.apply(route)
    assert world.send("churn") == world.send("churn", version="1") == (200, V1)


@pytest.mark.parametrize("weight", [10, 30, 50])
def test_weights_are_honoured(world, weight):
    world.gateway.apply(two_versions(world.serve, "churn", weight=weight))
    assert shares(world)[V2] == pytest.approx(weight / 100, abs=TOLERANCE)


def test_changes_under_a_steady_load_lose_nothing(world):
    route = two_versions(world.serve, "churn", weight=0)
    only_v1 = replace(route, backends={V1: route.backends[V1]}, weights={V1: 100}, versions={})
    only_v2 = replace(
        route, backends={V2: route.backends[V2]}, weights={V2: 100}, stable=V2, versions={}
    )
    world.gateway.apply(only_v1)
    with Load(lambda: world.send("churn")) as load:
        for weight in (0, 10, 50, 100):
            world.gateway.apply(replace(route, weights={V1: 100 - weight, V2: weight}))
            load.wait_for(20)
        for last in (only_v2, route, only_v1, only_v2):
            world.gateway.apply(last)
            load.wait_for(20)
    assert load.failures == []
    assert set(load.answers) == {V1, V2}


def test_a_whole_release_under_a_steady_load_loses_nothing(world):
    """Alone, mirror, split, all of it, back to a split, promoted, and alone: 200 requests each."""
    route = two_versions(world.serve, "churn", weight=0)
    v1, v2 = ({it: route.backends[it]} for it in (V1, V2))
    plan = [
        replace(route, backends=v1, weights={V1: 100}, versions={V1: "1"}),
        replace(route, mirrors={V2: 100}),
        replace(route, weights={V1: 95, V2: 5}, sticky="version"),
        replace(route, weights={V1: 50, V2: 50}, sticky="version"),
        replace(route, weights={V1: 0, V2: 100}),
        replace(route, weights={V1: 50, V2: 50}),
        replace(route, weights={V1: 0, V2: 100}, stable=V2),
        replace(route, backends=v2, weights={V2: 100}, stable=V2, versions={V2: "2"}),
    ]
    world.gateway.apply(plan[0])
    with Load(lambda: world.send("churn")) as load:
        for it in (*plan, plan[0], *plan[1:3], plan[0]):
            world.gateway.apply(it)
            load.wait_for(200)
    assert load.failures == []
    assert set(load.answers) == {V1, V2}


@pytest.mark.parametrize("how", ["killed", "hung", "failing"])
def test_a_bad_canary_costs_clients_nothing_and_its_errors_are_counted(world, how):
    mode = "failing" if how == "failing" else "good"
    world.gateway.apply(two_versions(world.serve, "churn", weight=30, mode=mode))
    before = world.gateway.traffic()
    with Load(lambda: world.send("churn")) as load:
        load.wait_for(50)
        if how != "failing":
            world.harm(V2, how)
        load.wait_for(200)
    assert load.failures == []
    after = world.gateway.traffic()
    assert after[V2].errors > before.get(V2, Traffic()).errors
    assert after[V1].errors == before.get(V1, Traffic()).errors


def test_a_version_can_be_pinned_even_without_weight(world):
    world.gateway.apply(two_versions(world.serve, "churn", weight=0))
    before = world.gateway.traffic().get(V2, Traffic())
    assert [world.send("churn", version="2") for _ in range(5)] == [(200, V2)] * 5
    assert [world.send("churn", version="1") for _ in range(5)] == [(200, V1)] * 5
    assert world.gateway.traffic()[V2].requests == before.requests + 5


@pytest.mark.parametrize("weight", [0, 50, 100])
def test_a_pin_on_a_dead_version_shows_the_truth(world, weight):
    world.gateway.apply(two_versions(world.serve, "churn", weight=weight))
    world.harm(V2, "killed")
    status, _ = world.send("churn", version="2")
    assert status in (502, 503)
    assert world.send("churn", version="1") == (200, V1)


def test_a_pin_on_a_version_that_is_not_here_is_answered_by_nobody(world):
    world.gateway.apply(two_versions(world.serve, "churn", weight=50))
    assert world.send("churn", version="3") == (404, "")


def test_what_was_never_routed_is_not_found(world):
    world.gateway.apply(two_versions(world.serve, "churn", weight=0))
    assert world.send("churn2")[0] == world.send("chur")[0] == 404
    assert world.send("churn", environment="staging")[0] == 404


def test_traffic_counts_every_request_and_how_long_it_took(world):
    world.gateway.apply(two_versions(world.serve, "churn", weight=50))
    before = world.gateway.traffic()
    shares(world, n=40)
    for name in (V1, V2):
        now, then = world.gateway.traffic()[name], before.get(name, Traffic())
        assert now.requests - then.requests == 20
        assert now.errors == then.errors
        assert now.buckets[inf] == now.requests
        assert list(now.buckets) == sorted(now.buckets)
        assert list(now.buckets.values()) == sorted(now.buckets.values())


@pytest.mark.parametrize("mirror", [{}, {V2: 25}])
def test_a_killed_gateway_comes_back_with_its_routes(world, mirror):
    route = two_versions(world.serve, "churn", weight=0 if mirror else 50)
    route = replace(route, mirrors=mirror)
    world.gateway.apply(route)
    world.kill_gateway()
    world.start_gateway()
    wait_until(lambda: world.send("churn")[0] == 200, 60, "the route is back")
    assert world.forgetful().route("production", "churn") == route
    assert world.forgetful().differences("production", "churn") == []
    assert shares(world).get(V2, 0) == pytest.approx(0 if mirror else 0.5, abs=TOLERANCE)
    if mirror:  # of these 200, and of the first
        wait_until(lambda: world.gateway.traffic()[V2].requests >= 50, 10, "copies go on")


def test_a_gateway_that_is_down_confirms_nothing_and_says_so(world):
    route = two_versions(world.serve, "churn", weight=50)
    world.kill_gateway()
    try:
        with pytest.raises(
            GatewayError, match=r"production--churn: not confirmed.*does not answer"
        ):
            world.impatient().apply(route)
        with pytest.raises(GatewayError, match="does not answer"):
            world.impatient().traffic()
    finally:
        world.start_gateway()
    wait_until(lambda: world.send("churn")[0] == 200, 60, "it takes the route when it is back")
    assert shares(world)[V2] == pytest.approx(0.5, abs=TOLERANCE)


def test_a_removed_model_is_not_found_and_can_be_removed_again(world):
    world.gateway.apply(two_versions(world.serve, "churn", weight=50))
    world.gateway.remove("production", "churn")
    assert world.send("churn")[0] == world.send("churn", version="1")[0] == 404
    assert world.gateway.route("production", "churn") is None
    world.gateway.remove("production", "churn")


def test_two_models_and_two_environments_do_not_disturb_each_other(world):
    churn = two_versions(world.serve, "churn", weight=50)
    staged = two_versions(world.serve, "churn", weight=100, environment="staging")
    world.gateway.apply(churn)
    world.gateway.apply(staged)
    with Load(lambda: world.send("churn")) as load:
        tumor = two_versions(world.serve, "tumor", weight=30)
        for weight in (30, 0, 100):
            v1, v2 = tumor.backends
            world.gateway.apply(replace(tumor, weights={v1: 100 - weight, v2: weight}))
            load.wait_for(20)
        assert shares(world, n=10, model="tumor") == {"production-tumor-v2": 1.0}
        world.gateway.remove("production", "tumor")
        load.wait_for(20)
    assert load.failures == []
    assert world.send("churn", environment="staging") == (200, "staging-churn-v2")
    assert world.gateway.route("production", "churn") == churn


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"stable": "nobody"}, "stable: found 'nobody', the backends are production-churn-v1"),
        ({"weights": {V1: 90}}, "sum to 100"),
        ({"weights": {V1: 110, V2: -10}}, "0 or more"),
        ({"weights": {V1: 50, "nobody": 50}}, "weights: 'nobody' is no backend"),
        ({"versions": {"nobody": "1"}}, "versions: 'nobody' is no backend"),
        ({"versions": {V1: "1", V2: "1"}}, "each may be named once"),
        ({"versions": {V1: "1`) || PathPrefix(`/"}}, "allowed are letters, digits"),
        ({"backends": {V1: "localhost:80", V2: "http://h:1"}}, "expected http://HOST:PORT"),
        ({"model": "../etc"}, "model: found '../etc'"),
        ({"environment": "a--b"}, "environment: found 'a--b'"),
    ],
)
def test_a_route_that_makes_no_sense_is_refused_before_anything_changes(world, change, complaint):
    route = two_versions(world.serve, "churn", weight=0)
    world.gateway.apply(route)
    with pytest.raises(GatewayError, match=complaint.replace("(", r"\(").replace("|", r"\|")):
        world.gateway.apply(replace(route, **change))
    assert world.gateway.route("production", "churn") == route
    assert world.send("churn") == (200, V1)


def test_two_routes_cannot_have_a_server_of_one_name(world):
    """`a-b` serving `c` and `a` serving `b-c` would name theirs alike, and take each other's."""
    url = world.serve("a-b-c-v1")
    world.gateway.apply(Route("a-b", "c", {"a-b-c-v1": url}, {"a-b-c-v1": 100}, "a-b-c-v1"))
    with pytest.raises(GatewayError, match="a--b-c: backend 'a-b-c-v1' belongs to a-b--c already"):
        world.gateway.apply(Route("a", "b-c", {"a-b-c-v1": url}, {"a-b-c-v1": 100}, "a-b-c-v1"))
    assert world.send("b-c", environment="a")[0] == 404
    assert world.send("c", environment="a-b") == (200, "a-b-c-v1")
