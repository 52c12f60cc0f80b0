"""A server that has too much to do: refuses in time, stays alive, and is right all the while."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import httpx
import pytest
from server_kit import Author, Server, author
from support import wait_until

from serving.engine import same

CLIENTS = 64


@pytest.fixture(scope="module")
def forest() -> Author:
    return author("forest")


@pytest.fixture(scope="module")
def bundle(forest, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    forest.write(folder, engines=["sklearn"])
    return folder


def predicted(server: Server, records: list) -> list:
    reply = httpx.post(f"{server.url}/predict", json={"records": records}, timeout=60)
    assert reply.status_code == 200
    return [it | {"id": ""} for it in reply.json()["predictions"]]


def test_overload_is_refused_and_what_is_answered_is_right(forest, bundle):
    with Server(bundle, "--deadline-ms", 100) as server:
        expected = predicted(server, forest.records)
        found: Counter[int] = Counter()

        async def client(http: httpx.AsyncClient, number: int) -> None:
            for turn in range(6):
                start = (number + turn) % len(forest.records)
                some = (forest.records[start:] + forest.records[:start]) * 8
                right = (expected[start:] + expected[:start]) * 8
                reply = await http.post("/predict", json={"records": some})
                found[reply.status_code] += 1
                if reply.status_code == 200:
                    answers = [it | {"id": ""} for it in reply.json()["predictions"]]
                    assert all(map(same, answers, right))
                else:
                    assert int(reply.headers["retry-after"]) >= 1
                assert (await http.get("/healthz")).status_code == 200

        async def burst() -> None:
            limits = httpx.Limits(max_connections=CLIENTS)
            async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits) as http:
                await asyncio.gather(*(client(http, number) for number in range(CLIENTS)))

        asyncio.run(burst())
        assert set(found) == {200, 503}
        assert sum(found.values()) == 6 * CLIENTS

        def answers() -> bool:
            record = {"records": forest.records[:1]}
            return httpx.post(f"{server.url}/predict", json=record).status_code == 200

        wait_until(answers, 30, "the server answers again")
        assert predicted(server, forest.records) == expected
        text = httpx.get(f"{server.url}/metrics").text
        shed = next(it for it in text.splitlines() if it.startswith("andon_shed_total"))
        assert int(shed.split()[1]) == found[503]
        assert server.stop() == 0


def test_a_row_scores_the_same_alone_in_a_batch_and_among_other_requests(forest, bundle):
    """Nulls in categories included, which data frames of one row and of many hold differently."""
    with Server(bundle) as server:
        together = predicted(server, forest.records)
        assert any(record["plan"] is None for record in forest.records)

        async def at_once() -> list[httpx.Response]:
            async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
                asked = [http.post("/predict", json={"records": [it]}) for it in forest.records]
                return await asyncio.gather(*asked)

        for reply, expected in zip(asyncio.run(at_once()), together, strict=True):
            (answer,) = reply.json()["predictions"]
            assert same(answer | {"id": ""}, expected)
        text = httpx.get(f"{server.url}/metrics").text
        batches = next(it for it in text.splitlines() if it.startswith("andon_batches_total"))
        assert int(batches.split()[1]) < len(forest.records) + 1  # some were computed together
