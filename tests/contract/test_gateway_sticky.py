"""A client stays with the version that answered it first, as far as that has traffic at all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gateway_worlds import two_versions
from support import wait_until

from andon.errors import GatewayError
from andon.ports import Route

V1, V2 = "production-churn-v1", "production-churn-v2"
VISITORS = 8  # clients, of whom about half start with either version


def split(route: Route, weight: int) -> Route:
    return replace(route, weights={V1: 100 - weight, V2: weight})


def sticky(world, weight: int) -> Route:
    route = replace(two_versions(world.serve, "churn", weight=weight), sticky="version")
    world.gateway.apply(route)
    return route


def visitors(world) -> dict[str, list]:
    """Clients by the version that answered them first; each version has some."""
    found: dict[str, list] = {V1: [], V2: []}
    for _ in range(VISITORS):
        visit = world.visitor("churn")
        found[visit()[1]].append(visit)
    assert all(found.values())
    return found


def test_a_client_stays_with_its_version_as_weights_move(world):
    route = sticky(world, 50)
    found = visitors(world)
    for weight in (5, 25, 50, 95):
        world.gateway.apply(split(route, weight))
        for version, visits in found.items():
            assert {visit() for visit in visits for _ in range(5)} == {(200, version)}


@pytest.mark.parametrize(("weight", "left"), [(0, V1), (100, V2)])
def test_nobody_stays_with_a_version_without_traffic(world, weight, left):
    route = sticky(world, 50)
    found = visitors(world)
    world.gateway.apply(split(route, weight))
    assert {visit() for visits in found.values() for visit in visits} == {(200, left)}


def test_a_client_of_a_candidate_that_was_removed_goes_to_the_champion(world):
    route = sticky(world, 50)
    found = visitors(world)
    alone = {"backends": {V1: route.backends[V1]}, "weights": {V1: 100}, "versions": {V1: "1"}}
    world.gateway.apply(replace(route, **alone))
    assert {visit() for visit in found[V2] for _ in range(3)} == {(200, V1)}


def test_when_its_version_dies_another_answers_its_client(world):
    sticky(world, 50)
    found = visitors(world)
    world.harm(V2, "killed")
    for visits in found.values():
        assert {visit() for visit in visits for _ in range(5)} == {(200, V1)}


def test_a_pin_is_stronger_than_a_cookie(world):
    sticky(world, 50)
    visitors(world)
    assert world.send("churn", version="1") == (200, V1)
    assert world.send("churn", version="2") == (200, V2)


def test_clients_are_free_where_nothing_is_sticky(world):
    world.gateway.apply(two_versions(world.serve, "churn", weight=50))
    visit = world.visitor("churn")
    assert {visit() for _ in range(10)} == {(200, V1), (200, V2)}


@pytest.mark.parametrize("name", ["a b", "a;b", "x" * 65, "ä"])
def test_a_cookie_that_cannot_be_sent_is_refused(world, name):
    route = replace(two_versions(world.serve, "churn", weight=50), sticky=name)
    with pytest.raises(GatewayError, match="sticky: found"):
        world.gateway.apply(route)


def test_the_cookie_is_for_this_model_alone_and_not_for_scripts(traefik_world):
    world = traefik_world
    sticky(world, 50)
    given = world.ask("/production/churn/predict", content=b"{}").headers["set-cookie"]
    name, *attributes = given.split("; ")
    assert name.startswith("version=")
    assert {*attributes} == {"Path=/production/churn", "HttpOnly", "SameSite=Lax"}


def test_the_cookie_passes_for_bodies_of_each_size_that_takes_part(traefik_world):
    world = traefik_world
    sticky(world, 50)
    for size, takes_part in ((2, True), (300_000, True), (2_000_000, False)):
        reply = world.ask("/production/churn/predict", content=b"x" * size)
        assert ("set-cookie" in reply.headers) == takes_part


def test_a_client_that_another_answered_is_given_no_cookie(traefik_world):
    """Else it would be kept at the version that failed it."""
    world = traefik_world
    route = two_versions(world.serve, "churn", weight=100, mode="failing")
    world.gateway.apply(replace(route, sticky="version"))
    reply = world.ask("/production/churn/predict", content=b"{}")
    assert (reply.json()["name"], reply.headers.get("set-cookie")) == (V1, None)


def test_a_killed_gateway_still_knows_whose_client_is_whose(world):
    sticky(world, 50)
    found = visitors(world)
    world.kill_gateway()
    world.start_gateway()
    wait_until(lambda: world.send("churn")[0] == 200, 60, "the route is back")
    for version, visits in found.items():
        assert {visit() for visit in visits} == {(200, version)}
