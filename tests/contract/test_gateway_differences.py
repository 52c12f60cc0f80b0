"""Somebody's hand in what the gateway was told is noticed, named, and mended by `apply`."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from gateway_worlds import two_versions
from support import wait_until

from andon.errors import GatewayError

V1, V2 = "production-churn-v1", "production-churn-v2"
PLACE = ("production", "churn")


def everything(world, **change):
    route = two_versions(world.serve, "churn", weight=50)
    route = replace(route, **{"sticky": "version", **change})
    world.gateway.apply(route)
    return route


def test_a_hand_in_a_route_is_noticed_and_mended_by_apply(world):
    route = everything(world)
    assert world.gateway.differences(*PLACE) == []
    world.edit("churn")
    assert world.gateway.differences(*PLACE) != []
    assert world.forgetful().route(*PLACE) == route
    world.gateway.apply(route)
    assert world.gateway.differences(*PLACE) == []


@pytest.mark.parametrize(
    "change",
    [
        {"weights": {V1: 100, V2: 0}, "mirrors": {V2: 30}},
        {"weights": {V1: 100, V2: 0}},
        {"sticky": ""},
        {"stable": V2},
    ],
)
def test_each_kind_of_route_is_taken_as_it_was_told_and_there_and_back(world, change):
    route = everything(world)
    for it in (replace(route, **change), route):
        world.gateway.apply(it)
        assert world.gateway.differences(*PLACE) == []


def test_what_was_never_applied_or_was_removed_differs_in_nothing(world):
    assert world.gateway.differences(*PLACE) == []
    everything(world)
    world.gateway.remove(*PLACE)
    assert world.gateway.differences(*PLACE) == []


def test_a_gateway_that_is_down_cannot_be_compared(world):
    everything(world)
    world.kill_gateway()
    try:
        with pytest.raises(GatewayError, match="does not answer"):
            world.forgetful().differences(*PLACE)
    finally:
        world.start_gateway()


FILE = r"/dyn/production--churn\.yml: "
EDITS = {
    "a weight": ('"weight": 50', '"weight": 49', r"split.*\.weight: expected 50, found 49"),
    "a percentage": ('"percent": 30', '"percent": 3', r"percent: expected 30, found 3"),
    "the cookie": ('"name": "version"', '"name": "v"', r"name: expected version, found v"),
    "the failover": ("500-504", "599-599", r"status\[0\]: expected 500-504, found 599"),
    "a middleware": ('"attempts": 12', '"attempts": 1', r"attempts: expected 12, found 1"),
    "a server": ("http://", "http://9", r"url: expected http://127.*, found http://9127"),
    "a time": ('"300ms"', '"900ms"', r"dialTimeout: expected 300ms, found 900ms"),
    "its syntax": ("{", "{[", r"is broken \(line \d+\)"),
}


@pytest.mark.parametrize("what", EDITS)
def test_a_hand_in_the_watched_file_is_named_before_anybody_has_read_it(traefik_world, what):
    """So it is noticed even if the gateway did not take it, or has not yet."""
    world, (old, new, told) = traefik_world, EDITS[what]
    mirrored = {"weights": {V1: 100, V2: 0}, "mirrors": {V2: 30}} if "percent" in old else {}
    route = everything(world, **mirrored)
    path = world.watched / "production--churn.yml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    found = world.gateway.differences(*PLACE)
    assert_told(found, FILE + f".*{told}")
    world.gateway.apply(route)
    wait_until(lambda: world.gateway.differences(*PLACE) == [], 10, "it is mended")


def test_a_deleted_file_is_named(traefik_world):
    world = traefik_world
    route = everything(world)
    (world.watched / "production--churn.yml").unlink()
    assert_told(world.gateway.differences(*PLACE), FILE + "expected a file, found nothing")
    world.gateway.apply(route)
    wait_until(lambda: world.gateway.differences(*PLACE) == [], 10, "it is mended")


def test_a_file_that_was_written_in_another_way_differs_in_nothing(traefik_world):
    world = traefik_world
    everything(world)
    path = world.watched / "production--churn.yml"
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert world.gateway.differences(*PLACE) == []


def test_what_the_gateway_took_from_a_hand_is_told_too(traefik_world):
    world = traefik_world
    everything(world)
    world.edit("churn")
    told = r"Traefik, service production--churn--split: weights\..*: expected 50, found 49"
    wait_until(lambda: any_of(world.gateway.differences(*PLACE), told), 10, "it took it")


def test_many_differences_are_counted_and_not_listed(traefik_world):
    world = traefik_world
    everything(world)
    path = world.watched / "production--churn.yml"
    path.write_text('{"http": {"services": {}, "routers": {}}}')
    found = world.gateway.differences(*PLACE)
    assert_told(found, FILE + r"and \d+ more")
    assert max(map(len, found)) < 500


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"production-churn-v1": 50', '"production-churn-v1": 51', r"not a route .*sum to 100"),
        ('"sticky": "version"', '"sticky": "other"', "changed since it was applied"),
        ('"model": "churn"', '"model": "tumor"', "not a route .*of production--tumor"),
        ('"weights": {', '"weights": 7, "x": {', "not a route"),
        ("{", "", "not a route"),
    ],
)
def test_a_hand_in_the_file_of_the_route_is_a_difference_and_no_error(
    traefik_world, old, new, told
):
    world = traefik_world
    route = everything(world)
    path = world.watched.parent / "routes" / "production--churn.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    assert_told(world.gateway.differences(*PLACE), rf"routes/production--churn\.json: {told}")
    world.gateway.apply(route)
    assert world.gateway.differences(*PLACE) == []


def test_a_route_changed_by_hand_is_not_carried_out_by_a_change_of_another(traefik_world):
    world = traefik_world
    route = everything(world)
    path = world.watched.parent / "routes" / "production--churn.json"
    edited = path.read_text().replace(": 50", ": 0", 1).replace(": 50", ": 100", 1)
    path.write_text(edited)
    world.gateway.apply(two_versions(world.serve, "tumor", weight=0))
    assert '"weight": 50' in (world.watched / "production--churn.yml").read_text()
    world.gateway.apply(route)


def test_a_broken_file_of_somebody_else_is_named(traefik_world):
    world, stranger = traefik_world, traefik_world.watched / "notes.yml"
    everything(world)
    stranger.write_text("http: [")
    try:
        assert_told(world.gateway.differences(*PLACE), r"/dyn/notes\.yml is broken, mend or remove")
    finally:
        stranger.unlink()


def test_a_router_of_somebody_else_that_takes_the_requests_is_named(traefik_world):
    world, stranger = traefik_world, traefik_world.watched / "notes.yml"
    everything(world)
    router = {"rule": "PathPrefix(`/production/churn`)", "priority": 999, "service": V1}
    stranger.write_text(json.dumps({"http": {"routers": {"notes": router}}}))
    try:
        told = r"Traefik, router notes@file: answers for /production/churn, and is of somebody else"
        wait_until(lambda: any_of(world.gateway.differences(*PLACE), told), 10, "it is named")
    finally:
        stranger.unlink()


def any_of(found: list[str], told: str) -> bool:
    return any(re.search(told, it) for it in found)


def assert_told(found: list[str], told: str) -> None:
    assert any_of(found, told), found
