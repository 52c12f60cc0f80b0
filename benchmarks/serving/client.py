"""A plain HTTP client: asks a server for scores, one request after the other or many at once."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from case import Record
from closed_loop import WrongAnswer
from numpy.typing import NDArray
from processes import Tree
from servers import Server

PATIENCE = 60.0
START_SECONDS = 120.0
POLL = 0.002
JSON = {"Content-Type": "application/json"}
Scores = NDArray[np.float64]


@contextmanager
def connection(port: int) -> Iterator[http.client.HTTPConnection]:
    """Kept alive while the block runs."""
    with contextlib.closing(
        http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    ) as found:
        yield found


def ask(
    to: http.client.HTTPConnection, server: Server, records: list[Record]
) -> tuple[int, Scores | str]:
    """The status, and the scores; or what the server said instead."""
    to.request("POST", server.path, server.body(records), JSON)
    answer = to.getresponse()
    content = answer.read()
    if answer.status != 200:
        return answer.status, content.decode(errors="replace")[:500]
    return 200, np.asarray(server.scores(json.loads(content)), dtype=np.float64)


def scores(
    to: http.client.HTTPConnection, server: Server, records: list[Record], batch: int
) -> Scores:
    """Scores of rows, so many a request; raises WrongAnswer unless all are answered."""
    parts = []
    for start in range(0, len(records), batch):
        some = records[start : start + batch]
        status, found = ask(to, server, some)
        if isinstance(found, str) or found.shape != (len(some), 2):
            raise WrongAnswer(f"{server.name} answered {status}: {found}")
        parts.append(found)
    return np.concatenate(parts)


def scores_at_once(
    port: int, server: Server, records: Sequence[Record], clients: int = 32
) -> Scores:
    """Scores of rows that many clients send at the same time, each row alone."""
    local = threading.local()
    with contextlib.ExitStack() as stack:

        def one(record: Record) -> Scores:
            if not hasattr(local, "connection"):
                local.connection = stack.enter_context(connection(port))
            return scores(local.connection, server, [record], 1)

        with ThreadPoolExecutor(clients) as pool:
            return np.concatenate(list(pool.map(one, records)))


def all_logged(port: int) -> None:
    """Raises WrongAnswer unless our server has every row it answered in its inference log."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with connection(port) as to:
            to.request("GET", "/metrics")
            lines = to.getresponse().read().decode().splitlines()
            samples = [it.rpartition(" ") for it in lines if not it.startswith("#")]
        counts = {name: float(value) for name, _, value in samples}
        lost = sum(
            counts[f'andon_log_{it}_total{{log="inference"}}'] for it in ("dropped", "errors")
        )
        rows = counts['andon_log_rows_total{log="inference"}']
        if lost or time.monotonic() > deadline:
            raise WrongAnswer(f"of {counts['andon_rows_total']:.0f} rows {rows:.0f} were logged")
        if rows == counts["andon_rows_total"] > 0:
            return
        time.sleep(10 * POLL)


def first_answer(
    tree: Tree, port: int, server: Server, record: Record, expected: Scores | None
) -> float:
    """Seconds since the process began until it answers a row right."""
    while time.perf_counter() - tree.began < START_SECONDS:
        if tree.process.poll() is not None:
            raise WrongAnswer(f"{server.name} ended as it started:\n{tree.tail()}")
        try:
            with connection(port) as to:
                status, found = ask(to, server, [record])
        except (OSError, http.client.HTTPException):
            time.sleep(POLL)
            continue
        if status == 200:
            wrong = expected is not None and not np.allclose(found, expected, atol=1e-6)
            if wrong:
                raise WrongAnswer(f"{server.name} answered {found}, expected {expected}")
            return time.perf_counter() - tree.began
        time.sleep(POLL)
    raise WrongAnswer(f"{server.name} did not answer within {START_SECONDS:g} s:\n{tree.tail()}")
