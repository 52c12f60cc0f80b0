"""What only a real Traefik can get wrong: its files, its limits, a server that is restarted."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from gateway_worlds import two_versions
from support import wait_until

from andon.errors import GatewayError
from andon.ports import Route

V1, V2 = "production-churn-v1", "production-churn-v2"
HARM = {
    "truncated": lambda path: path.write_text(path.read_text()[:200]),
    "emptied": lambda path: path.write_text(""),
    "edited": lambda path: path.write_text(path.read_text().replace("/production/", "/elsewhere/")),
    "deleted": lambda path: path.unlink(),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_file_damaged_by_hand_is_repaired_by_apply(traefik_world, harm):
    world, route = traefik_world, two_versions(traefik_world.serve, "churn", weight=100)
    world.gateway.apply(route)
    HARM[harm](world.watched / "production--churn.yml")
    world.gateway.apply(route)
    # Not at once: Traefik may have read the damaged file already, and not have obeyed it yet.
    wait_until(lambda: world.send("churn") == (200, V2), 10, "the route is mended")


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_file_of_one_model_does_not_stop_a_change_of_another(traefik_world, harm):
    world = traefik_world
    world.gateway.apply(two_versions(world.serve, "tumor", weight=0))
    HARM[harm](world.watched / "production--tumor.yml")
    world.gateway.apply(two_versions(world.serve, "churn", weight=100))
    assert world.send("churn") == (200, V2)
    wait_until(
        lambda: world.send("tumor") == (200, "production-tumor-v1"), 10, "the other is mended too"
    )


def test_an_unchanged_route_is_not_written_again(traefik_world):
    world, route = traefik_world, two_versions(traefik_world.serve, "churn", weight=50)
    world.gateway.apply(route)
    before = (world.watched / "production--churn.yml").stat()
    world.forgetful().apply(route)
    after = (world.watched / "production--churn.yml").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert oct(after.st_mode & 0o777) == "0o644"


def test_a_stranger_that_breaks_the_folder_is_named(traefik_world):
    world, stranger = traefik_world, traefik_world.watched / "notes.yml"
    stranger.write_text("http: [")
    try:
        with pytest.raises(GatewayError, match=r"expected .*, found nothing.*notes\.yml is broken"):
            world.impatient().apply(two_versions(world.serve, "churn", weight=50))
    finally:
        stranger.unlink()


def test_a_route_file_damaged_by_hand_is_no_route_but_an_error(traefik_world):
    world, route = traefik_world, two_versions(traefik_world.serve, "churn", weight=50)
    world.gateway.apply(route)
    kept = world.watched.parent / "routes" / "production--churn.json"
    kept.write_text(kept.read_text()[:-20])
    with pytest.raises(GatewayError, match=r"production--churn\.json: not a route .*apply"):
        world.gateway.route("production", "churn")
    world.gateway.apply(route)
    assert world.gateway.route("production", "churn") == route


@pytest.mark.parametrize(
    ("size", "servers"), [(50, {V1, V2}), (300_000, {V1, V2}), (2_000_000, {V1})]
)
def test_a_body_of_any_size_is_answered_while_the_traffic_is_split(traefik_world, size, servers):
    world = traefik_world
    world.gateway.apply(two_versions(world.serve, "churn", weight=50))
    answers = [world.ask("/production/churn/predict", content=b"x" * size) for _ in range(6)]
    assert {it.status_code for it in answers} == {200}
    assert {it.json()["name"] for it in answers} == servers


def test_a_body_of_unknown_size_is_answered_while_the_traffic_is_split(traefik_world):
    world = traefik_world
    world.gateway.apply(two_versions(world.serve, "churn", weight=50))
    reply = world.client.post("/production/churn/predict", content=iter([b"x" * 200] * 3))
    assert (reply.status_code, reply.json()["name"]) == (200, V1)


def test_the_server_sees_the_path_without_the_route(traefik_world):
    world = traefik_world
    world.gateway.apply(two_versions(world.serve, "churn", weight=50))
    paths = {"": "/", "/": "/", "/predict": "/predict", "/a/b?c=1": "/a/b?c=1"}
    for version in (None, "1", "2"):
        found = {it: world.ask(f"/production/churn{it}", version).json()["path"] for it in paths}
        assert found == paths


def test_requests_wait_for_a_server_that_is_being_restarted(traefik_world):
    world = traefik_world
    route = Route("production", "churn", {V1: world.serve(V1)}, {V1: 100}, V1, {V1: "1"})
    world.gateway.apply(route)
    world.harm(V1, "killed")
    assert world.send("churn", version="1")[0] == 502
    before = world.gateway.traffic()[V1].errors
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(world.send, "churn") for _ in range(4)]
        while world.gateway.traffic()[V1].errors < before + 8:  # each was refused, and again
            assert not any(it.done() for it in waiting)
        world.servers[V1].start()
        assert Counter(it.result() for it in waiting) == {(200, V1): 4}


def test_a_dead_stable_server_does_not_take_the_canary_with_it(traefik_world):
    world = traefik_world
    route = two_versions(world.serve, "churn", weight=0)
    world.gateway.apply(route)
    world.harm(V1, "killed")
    world.gateway.apply(replace(route, weights={V1: 50, V2: 50}))
    assert {world.send("churn") for _ in range(4)} == {(200, V2), (502, "")}
    world.gateway.apply(replace(route, stable=V2, weights={V1: 0, V2: 100}))
    assert {world.send("churn") for _ in range(4)} == {(200, V2)}
