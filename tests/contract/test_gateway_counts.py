"""Whom a request is counted for; the same suite for the fake and for a real Traefik."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from math import inf

import pytest
from gateway_worlds import two_versions
from support import wait_until

from andon.ports import Route, Traffic

V1, V2 = "production-churn-v1", "production-churn-v2"


def counted(world, before: dict[str, Traffic]) -> dict[str, Traffic]:
    now = world.gateway.traffic()
    return {it: now.get(it, Traffic()).since(before.get(it, Traffic())) for it in (V1, V2)}


def send(world, n: int) -> Counter[tuple[int, str]]:
    return Counter(world.send("churn") for _ in range(n))


@pytest.mark.parametrize(("weight", "first"), [(10, 36), (50, 20), (100, 0)])
def test_what_the_champion_answers_in_anothers_place_is_not_its_own(world, weight, first):
    """Else the failures of a candidate would hide in the requests of its champion."""
    world.gateway.apply(two_versions(world.serve, "churn", weight=weight, mode="failing"))
    before = world.gateway.traffic()
    assert send(world, 40) == {(200, V1): 40}
    found = counted(world, before)
    assert found[V1].requests == first
    assert found[V1].errors == 0
    assert found[V2].requests == found[V2].errors == 40 - first


def test_a_dead_candidate_hides_nothing_either(world):
    world.gateway.apply(two_versions(world.serve, "churn", weight=50))
    before = world.gateway.traffic()
    world.harm(V2, "killed")
    assert send(world, 40) == {(200, V1): 40}
    assert counted(world, before)[V1].requests == 20


def test_alone_and_without_weight_the_champion_counts_all(world):
    route = two_versions(world.serve, "churn", weight=0, mode="failing")
    alone = replace(route, backends={V1: route.backends[V1]}, weights={V1: 100}, versions={V1: "1"})
    for it in (route, alone):
        world.gateway.apply(it)
        before = world.gateway.traffic()
        send(world, 10)
        assert counted(world, before)[V1].requests == 10
        assert counted(world, before)[V2].requests == 0


def test_pinned_requests_are_counted_where_they_were_sent(world):
    world.gateway.apply(two_versions(world.serve, "churn", weight=50))
    before = world.gateway.traffic()
    for version in ("1", "2", "2"):
        world.send("churn", version=version)
    found = counted(world, before)
    assert (found[V1].requests, found[V2].requests) == (1, 2)


def test_refused_requests_are_invalid_and_no_errors(world):
    world.gateway.apply(two_versions(world.serve, "churn", weight=50, mode="refusing"))
    before = world.gateway.traffic()
    assert send(world, 20) == {(200, V1): 10, (422, ""): 10}
    found = counted(world, before)
    assert (found[V2].requests, found[V2].invalid, found[V2].errors) == (10, 10, 0)
    assert found[V1].invalid == 0


def test_what_has_no_route_is_counted_for_nobody(world):
    world.gateway.apply(two_versions(world.serve, "churn", weight=50))
    before = world.gateway.traffic()
    assert world.send("churn2")[0] == world.send("churn", version="9")[0] == 404
    assert {it.requests for it in counted(world, before).values()} == {0}


def test_a_name_that_would_not_be_counted_is_refused(world):
    name = "production-churn-v1--fallback"
    route = Route("production", "churn", {name: world.serve(name)}, {name: 100}, name)
    with pytest.raises(Exception, match="must not end in --fallback"):
        world.gateway.apply(route)


@pytest.mark.parametrize("mode", ["good", "failing", "refusing"])
@pytest.mark.parametrize("percent", [100, 25])
def test_a_mirror_gets_its_share_of_copies_and_they_are_counted(world, percent, mode):
    route = two_versions(world.serve, "churn", weight=0, mode=mode)
    world.gateway.apply(replace(route, mirrors={V2: percent}))
    before = world.gateway.traffic()
    assert send(world, 40) == {(200, V1): 40}
    copies = 40 * percent // 100
    wait_until(lambda: counted(world, before)[V2].requests >= copies, 10, "copies arrive")
    found = counted(world, before)
    assert found[V1].requests == 40
    assert found[V2].requests == copies
    assert found[V2].errors == (copies if mode == "failing" else 0)
    assert found[V2].invalid == (copies if mode == "refusing" else 0)


def test_latencies_are_told_finely_enough_to_compare_quantiles(traefik_world):
    world = traefik_world
    world.gateway.apply(two_versions(world.serve, "churn", weight=50, mode="slow"))
    before = world.gateway.traffic()
    send(world, 2)
    bounds = [it for it in world.gateway.traffic()[V2].buckets if it != inf]
    assert (min(bounds), max(bounds)) == (0.0005, 10)
    assert max(high / low for low, high in pairwise(bounds)) < 1.3
    assert {0.005, 0.05, 0.5, 1, 2} < {*bounds}
    counts = counted(world, before)[V2].buckets
    assert (counts[1.0], counts[10]) == (0, 1)
