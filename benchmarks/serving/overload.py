"""More than a server can do: what is answered in time, and how soon all is well again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from closed_loop import WrongAnswer
from forms import Model
from measure import Run, warm
from processes import LOAD_CORE, pinned
from results import Load, Results
from servers import BY_NAME, HERE, of_role
from targets import FALLBACK_RATE, HUNDRED, MANY, OVERLOAD, OWN_OVERLOAD, PEERS

MOST = 5_000.0  # requests a second that one core can send on a schedule
LONGER = 4  # times as long as a load


@dataclass(frozen=True)
class Burst:
    """So many requests a second, whatever becomes of them. `name` says where the rate is from."""

    name: str
    model: str
    server: str
    rate: float
    rows: int = 1


def bursts(results: Results, names: Sequence[str]) -> list[Burst]:
    """Twice the best peer's capacity for all; for ours also more than twice their own."""
    return [it for it in _all(results) if it.server in names]


def _all(results: Results) -> Iterator[Burst]:
    best = results.best("per_second", OVERLOAD, PEERS, MANY, most=True)
    if best:
        rate = 2 * _capacity(results, OVERLOAD, best, MANY)
        for name in of_role("ours", "fallback", "peer"):
            yield Burst("twice", OVERLOAD, name, rate)
    yield Burst("fallback", OVERLOAD, "andon-sklearn", FALLBACK_RATE)
    for name in of_role("ours", "fallback"):
        # Of 100 rows each, for no client can send twice what the server can answer of single ones.
        rate = 2 * _capacity(results, OWN_OVERLOAD, name, HUNDRED)
        if 0 < rate <= MOST:
            yield Burst("own", OWN_OVERLOAD, name, rate, 100)


def _capacity(results: Results, model: str, server: str, load: Load) -> float:
    spread = results.spread("per_second", model, server, load)
    return spread.median if spread else 0.0


def overload(run: Run, model: Model, burst: Burst) -> None:
    """One burst on a schedule, and the time until the server answers again."""
    server = BY_NAME[burst.server]
    with run.served(server, model) as (tree, port, _):
        warm(server, model, port)
        run.say(f"{burst.rate:.0f} requests a second")
        script = (HERE / "open_loop.py", port, server.path, model.bodies(server, burst.rows))
        options = (str(burst.rate), str(LONGER * run.seconds))
        command = pinned(LOAD_CORE, sys.executable, *map(str, script), *options)
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise WrongAnswer(f"the burst failed: {done.stderr.strip()[-500:]}\n{tree.tail()}")
        found = json.loads(done.stdout)
    about = {"model": model.kind, "server": burst.server, "burst": burst.name}
    run.results.add("overload", **about, rows=burst.rows, rate=burst.rate, **found)
