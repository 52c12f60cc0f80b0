"""Copies of requests: nothing that happens to them reaches a client."""

from __future__ import annotations

import time
from dataclasses import replace

import httpx
import psutil
import pytest
import tiny_server
from gateway_worlds import two_versions
from helpers import Load
from support import wait_until

from andon.adapters.traefik_config import COPIES
from andon.errors import GatewayError
from andon.ports import Route, Traffic

V1, V2 = "production-churn-v1", "production-churn-v2"


def mirrored(world, percent: int = 100, mode: str = "good") -> Route:
    route = replace(two_versions(world.serve, "churn", weight=0, mode=mode), mirrors={V2: percent})
    world.gateway.apply(route)
    return route


def served(world, version: str = "2") -> int:
    """How many requests a server has seen, besides this one."""
    return world.ask("/production/churn/predict", version).json()["served"] - 1


@pytest.mark.parametrize("how", ["killed", "hung", "failing", "slow"])
def test_what_happens_to_a_copy_never_reaches_a_client(world, how):
    mirrored(world, mode=how if how in ("failing", "slow") else "good")
    before = world.gateway.traffic()
    with Load(lambda: world.send("churn")) as load:
        load.wait_for(50)
        if how in ("killed", "hung"):
            world.harm(V2, how)
        load.wait_for(200)
    assert load.failures == []
    assert set(load.answers) == {V1}
    now, then = world.gateway.traffic(), before.get(V2, Traffic())
    assert now[V1].errors == before.get(V1, Traffic()).errors
    if how != "slow":
        wait_until(lambda: world.gateway.traffic()[V2].errors > then.errors, 10, "errors count")


def test_both_versions_can_be_pinned_while_one_gets_copies(world):
    mirrored(world)
    assert world.send("churn", version="1") == (200, V1)
    assert world.send("churn", version="2") == (200, V2)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"mirrors": {V1: 100}}, "mirrors: found 'production-churn-v1', the backends besides"),
        ({"mirrors": {"nobody": 100}}, "mirrors: found 'nobody'"),
        ({"mirrors": {V2: 0}}, "found 0 % .* expected 1 to 100"),
        ({"mirrors": {V2: 101}}, "found 101 % .* expected 1 to 100"),
        ({"mirrors": {V2: 50}, "weights": {V1: 50, V2: 50}}, "mirrors: only while all requests"),
    ],
)
def test_copies_that_make_no_sense_are_refused(world, change, complaint):
    route = two_versions(world.serve, "churn", weight=0)
    with pytest.raises(GatewayError, match=complaint):
        world.gateway.apply(replace(route, **change))


def test_copies_end_with_the_mirror(world):
    route = mirrored(world)
    world.send("churn")
    world.gateway.apply(replace(route, mirrors={}))
    with Load(lambda: world.send("churn")) as load:
        load.wait_for(5)
        before = world.gateway.traffic()[V2].requests
        load.wait_for(50)
    assert world.gateway.traffic()[V2].requests == before


def test_a_client_does_not_wait_for_a_slow_copy(traefik_world):
    world = traefik_world
    mirrored(world, mode="slow")
    begin = time.monotonic()
    assert {world.send("churn") for _ in range(10)} == {(200, V1)}
    assert time.monotonic() - begin < 10 * tiny_server.SLOW


@pytest.mark.parametrize(("size", "copies"), [(50, 3), (300_000, 3), (2_000_000, 0)])
def test_a_body_of_any_size_is_answered_and_copied_up_to_a_limit(traefik_world, size, copies):
    world = traefik_world
    mirrored(world)
    answers = [world.ask("/production/churn/predict", content=b"x" * size) for _ in range(3)]
    assert {(it.status_code, it.json()["name"]) for it in answers} == {(200, V1)}
    if copies:
        wait_until(lambda: world.gateway.traffic().get(V2, Traffic()).requests >= copies, 10, "n")
    assert served(world) == copies


def test_what_is_of_unknown_size_or_a_label_is_answered_and_not_copied(traefik_world):
    world = traefik_world
    mirrored(world)
    chunked = world.client.post("/production/churn/predict", content=iter([b"x" * 200] * 3))
    label = world.ask("/production/churn/feedback", content=b"{}")
    for reply in (chunked, label):
        assert (reply.status_code, reply.json()["name"]) == (200, V1)
    assert served(world) == 0


def test_a_request_without_a_body_is_copied(traefik_world):
    world = traefik_world
    mirrored(world)
    assert world.client.get("/production/churn/").json()["name"] == V1
    wait_until(lambda: world.gateway.traffic().get(V2, Traffic()).requests, 10, "the copy")


def test_copies_do_not_pile_up_before_a_server_that_hangs(traefik_world):
    world = traefik_world
    mirrored(world)
    port = world.servers[V2].port
    gateway = psutil.Process(world.traefik.pid)
    world.harm(V2, "hung")
    most = 0
    with Load(lambda: world.send("churn")) as load:
        while load.answers.total() < 600:
            found = gateway.net_connections("tcp")
            most = max(most, sum(bool(it.raddr) and it.raddr.port == port for it in found))
    assert load.failures == []
    assert COPIES["amount"] / 2 < most <= COPIES["amount"] + 3  # the health check has its own


@pytest.mark.parametrize("copied", [True, False])
def test_requests_wait_for_a_champion_that_is_being_restarted(traefik_world, copied):
    """Also while they are copied, or it stands in for another."""
    world = traefik_world
    route = mirrored(world)
    if not copied:
        world.gateway.apply(replace(route, mirrors={}, weights={V1: 50, V2: 50}))
    assert world.send("churn")[0] == 200
    world.harm(V1, "killed")
    before = refusals(world)
    with Load(lambda: world.send("churn")) as load:
        wait_until(lambda: refusals(world) >= before + 8, 10, "each was refused, and again")
        world.servers[V1].start()
        load.wait_for(50)
    assert load.failures == []


def test_a_large_body_waits_for_a_champion_too(traefik_world):
    world = traefik_world
    mirrored(world)
    world.harm(V1, "killed")
    before = refusals(world)
    with Load(lambda: (large(world), ""), threads=1) as load:
        wait_until(lambda: refusals(world) >= before + 2, 10, "it is tried")
        world.servers[V1].start()
        load.wait_for(1)
    assert load.failures == []


def large(world) -> int:
    return world.ask("/production/churn/predict", content=b"x" * 2_000_000).status_code


def refusals(world) -> int:
    """How often the champion refused a connection, under each of its names."""
    metrics = httpx.get(f"{world.traefik.settings.gateway_admin_url}/metrics").text
    lines = [it for it in metrics.splitlines() if "traefik_service_requests_total" in it]
    return sum(int(it.split()[-1]) for it in lines if f'"{V1}' in it and '"502"' in it)
