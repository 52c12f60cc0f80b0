"""All requests with one value of a header go to one version."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from gateway_worlds import two_versions
from support import wait_until

from andon.adapters.traefik_headersplit import version_of
from andon.errors import GatewayError
from andon.ports import Route

V1, V2 = "production-churn-v1", "production-churn-v2"
SALT = "production--churn"
CUSTOMERS = [f"customer {it}" for it in range(20)]


def by_header(world, weight: int, **change: str) -> Route:
    route = two_versions(world.serve, "churn", weight=weight)
    route = replace(route, **{"sticky_header": "X-Customer", **change})
    world.gateway.apply(route)
    return route


def split(route: Route, weight: int) -> Route:
    return replace(route, weights={V1: 100 - weight, V2: weight})


def answered(world, customers: list[str] = CUSTOMERS) -> dict[str, str]:
    """Which version answers each customer, and no other."""
    found = {}
    for it in customers:
        visit = world.visitor("churn", it)
        (found[it],) = {visit() for _ in range(3)}
    assert {status for status, _ in found.values()} == {200}
    return {it: server for it, (_, server) in found.items()}


def test_a_customer_goes_where_its_hash_says_from_the_first_request_on(world):
    route = by_header(world, 50)
    expected = {it: version_of(route, SALT, it) for it in CUSTOMERS}
    assert {*expected.values()} == {V1, V2}
    assert answered(world) == expected


def test_who_is_with_the_candidate_stays_with_it_while_its_weight_grows(world):
    route = by_header(world, 5)
    before: set[str] = set()
    for weight in (20, 60, 100):
        world.gateway.apply(split(route, weight))
        with_it = {it for it, server in answered(world).items() if server == V2}
        assert before < with_it
        before = with_it
    world.gateway.apply(split(route, 0))
    assert {*answered(world).values()} == {V1}


def test_when_its_version_dies_another_answers_its_customer(world):
    by_header(world, 50)
    world.harm(V2, "killed")
    assert {*answered(world, CUSTOMERS[:8]).values()} == {V1}


@pytest.mark.parametrize("cookie", ["", "version"])
def test_who_does_not_send_it_is_free_or_follows_the_cookie(world, cookie):
    by_header(world, 50, sticky=cookie)
    visit = world.visitor("churn")
    assert len({visit() for _ in range(10)}) == (1 if cookie else 2)


def test_the_header_comes_before_the_cookie_and_a_pin_before_both(traefik_world):
    world = traefik_world
    route = by_header(world, 50, sticky="version")
    one = next(it for it in CUSTOMERS if version_of(route, SALT, it) == V1)
    other = next(it for it in CUSTOMERS if version_of(route, SALT, it) == V2)
    client = world.client_of()
    world.visitors.append(client)
    for customer, server in ((one, V1), (other, V2), (one, V1)):
        headers = {"X-Customer": customer}
        reply = client.post("/production/churn/predict", content=b"{}", headers=headers)
        assert reply.json()["name"] == server
    headers |= {"X-Andon-Version": "2"}
    reply = client.post("/production/churn/predict", content=b"{}", headers=headers)
    assert reply.json()["name"] == V2


def test_the_share_of_customers_is_the_weight():
    route = Route("production", "churn", {V1: "", V2: ""}, {V1: 80, V2: 20}, V1)
    found = [version_of(route, SALT, f"{it}") for it in range(5_000)]
    assert found.count(V2) / 5_000 == pytest.approx(0.2, abs=0.02)
    other = [version_of(route, "production--tumor", f"{it}") for it in range(5_000)]
    assert found != other


@pytest.mark.parametrize("name", ["X Customer", "X:Y", "x" * 65, "ä"])
def test_a_header_that_cannot_be_sent_is_refused(world, name):
    route = replace(two_versions(world.serve, "churn", weight=50), sticky_header=name)
    with pytest.raises(GatewayError, match="sticky_header: found"):
        world.gateway.apply(route)


def test_a_hand_in_the_shares_is_noticed(traefik_world):
    world = traefik_world
    by_header(world, 50)
    assert world.gateway.differences("production", "churn") == []
    path = world.watched / "production--churn.yml"
    path.write_text(path.read_text().replace('"X-Customer"', '"X-Other"'))
    told = r"Traefik, middleware .*header: expected X-Customer, found X-Other"
    wait_until(
        lambda: any(re.search(told, it) for it in world.gateway.differences("production", "churn")),
        10,
        "it is told",
    )


def test_without_the_plugin_nothing_is_changed(traefik_world):
    world = traefik_world
    route = two_versions(world.serve, "churn", weight=50)
    world.gateway.apply(route)
    plugins = world.traefik.settings.state / "plugins-local"
    away = plugins.with_name("away")
    plugins.rename(away)
    world.kill_gateway()
    world.start_gateway()
    try:
        with pytest.raises(GatewayError, match="Traefik runs without the plugin"):
            world.gateway.apply(replace(route, sticky_header="X-Customer"))
        assert world.gateway.route("production", "churn") == route
        assert {world.send("churn") for _ in range(4)} == {(200, V1), (200, V2)}
    finally:
        away.rename(plugins)
        world.kill_gateway()
        world.start_gateway()
