"""A round of a run: each server in turn, and the model alone."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from case import Record
from client import JSON, all_logged, connection, first_answer
from closed_loop import WrongAnswer, measure
from correct import check, has_null_category
from forms import Model
from processes import SERVER_CORE, Tree, free_ports, pinned, running
from results import Load, Results
from servers import HERE, Place, Server
from targets import LOADS, MANY, ONE

Say = Callable[[str], None]
WARM = {1: 50, 100: 3}  # requests before anything is measured, by rows in each
CHECKED, ALONE = 2_000, 200  # rows that a peer answers beforehand; ours answers all
FULL_ALONE = 2_000
FULL_BATCH = 1_000
MEGABYTE = 1e6


@dataclass(frozen=True)
class Run:
    """What all phases need. `environments` has one for each server and kind of model."""

    results: Results
    environments: dict[tuple[str, str], tuple[Path, float]]
    seconds: int
    say: Say

    @contextmanager
    def served(self, server: Server, model: Model) -> Iterator[tuple[Tree, int, float]]:
        """The server's processes, its port, and seconds until its first right answer."""
        environment, _ = self.environments[server.name, model.kind]
        with tempfile.TemporaryDirectory(prefix="andon-bench-") as name:
            folder = Path(name)
            first, second, third = free_ports(3)
            ports = (first, second, third)
            place = Place(environment / "bin", model.form(server), folder, ports)
            with running(server.launch(place), folder / "output.log") as tree:
                yield tree, first, self._first(server, model, tree, first)

    def _first(self, server: Server, model: Model, tree: Tree, port: int) -> float:
        number = next(i for i, it in enumerate(model.rows.records) if not has_null_category(it))
        record: Record = model.rows.records[number]
        hello = server.role == "floor"
        expected = None if hello else model.rows.scores[number : number + 1]
        return first_answer(tree, port, server, record, expected)


def one_turn(run: Run, server: Server, model: Model, round_: int) -> None:
    """One server, in one round: start, check, load, memory."""
    where = {"model": model.kind, "server": server.name}
    with run.served(server, model) as (tree, port, seconds):
        run.say("warm-up")
        warm(server, model, port)
        if round_ == 0 and server.role != "floor":
            run.say("checking its answers")
            run.results.add("exact", **where, **_checked(server, model, port))
        for load in _loads(server):
            run.say(f"{load.rows} row{'s' * (load.rows > 1)}, {load.clients} client(s)")
            url = f"http://127.0.0.1:{port}{server.path}"
            bodies = model.bodies(server, load.rows)
            found = measure(tree, url, bodies, load.clients, run.seconds)
            of_load = {"round": round_, "rows": load.rows, "clients": load.clients}
            run.results.add("load", **where, **of_load, **found)
        if server.role in ("ours", "fallback"):
            all_logged(port)
        memory, size = tree.memory() / MEGABYTE, run.environments[server.name, model.kind][1]
        costs = {"seconds": seconds, "memory_mb": memory, "environment_mb": size / MEGABYTE}
        run.results.add("start", **where, round=round_, **costs)


def _loads(server: Server) -> Sequence[Load]:
    if server.role == "floor":
        return (ONE, MANY)
    return (MANY,) if server.role == "batching" else LOADS


def warm(server: Server, model: Model, port: int) -> None:
    """Some requests of each size, so that nothing is computed for the first time."""
    with connection(port) as to:
        for size, count in WARM.items():
            for body in model.bodies(server, size).read_bytes().splitlines()[:count]:
                to.request("POST", server.path, body, JSON)
                answer = to.getresponse()
                content = answer.read()
                if answer.status != 200:
                    raise WrongAnswer(f"{server.name} said {answer.status}: {content[:500]!r}")


def _checked(server: Server, model: Model, port: int) -> dict[str, object]:
    rows = model.rows
    if server.role == "ours":
        return check(server, port, rows, FULL_ALONE, FULL_BATCH)
    if server.role == "fallback":
        return check(server, port, rows, ALONE, FULL_BATCH)
    return check(server, port, rows.first(CHECKED), ALONE)


def bare(run: Run, model: Model, round_: int) -> None:
    """The model called in a loop, without any server: on the server's core."""
    files = (model.folder / "model.joblib", model.folder / "bundle", model.folder / "records.json")
    command = pinned(
        SERVER_CORE, sys.executable, HERE / "floors" / "bare.py", *files, str(run.seconds / 4)
    )
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise WrongAnswer(f"the model alone failed: {done.stderr.strip()[-500:]}")
    for rows, found in json.loads(done.stdout).items():
        for what, microseconds in found.items():
            sample = {"what": what, "rows": int(rows), "us": microseconds}
            run.results.add("bare", model=model.kind, round=round_, **sample)
