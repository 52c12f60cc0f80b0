"""A driver on fakes and a real ledger, with a clock of its own, that can be killed anywhere."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import pytest
import sqlalchemy as sa

from andon.adapters.driver import Driver, Order
from andon.adapters.fakes import FakeGateway, FakeTarget
from andon.adapters.ledger import Candidate, Ledger, open_ledger
from andon.adapters.watching.loading import LoadFunction
from andon.looks import Both, Probe
from andon.rollout import Phase
from andon.settings import Settings
from andon.spec import Canary, Limits, Plan, ShadowOnly, Step

LEDGER = "ledger.db"
PLACE = ("production", "churn")
STEPS = tuple(Step(weight=weight, seconds=0.25, min_requests=20) for weight in (10, 50, 100))
AT_ONCE = (Step(weight=100, seconds=0, min_requests=0),)  # of a rollback


def _name_of(plan: type[Plan]) -> str:
    return str(get_args(plan.model_fields["strategy"].annotation)[0])


COMPILED: dict[Any, Any] = {}  # SQLAlchemy's own is empty in each new engine
CLIENTS = 20  # requests of clients that come while the driver sleeps


class Killed(BaseException):
    """SIGKILL: nothing of ours runs after it."""


KINDS = {_name_of(it): it for it in (Canary, ShadowOnly)}


def server(version: str) -> str:
    return f"production-churn-v{version}"


def answer(i: int, otherwise: bool) -> dict[str, Any]:
    """What is said of row i, as a client gets it."""
    score = 0.1 + 0.01 * (i % 20)
    score = 1 - score if otherwise else score
    label = "yes" if score >= 0.5 else "no"
    return {"label": label, "probabilities": {"no": 1 - score, "yes": score}}


def kill() -> None:
    raise Killed


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Tapped:
    """Passes every call on, and tells before and after each."""

    def __init__(self, inner: object, before: Callable[[str], None]) -> None:
        self._inner, self._before = inner, before

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def tapped(*args: Any, **kwargs: Any) -> Any:
            self._before(name)
            return found(*args, **kwargs)

        return tapped


def untapped(name: str) -> None:
    pass


class DriverWorld:
    """Everything a driver works with. `tap` is called with the name of each call it makes."""

    def __init__(self, folder: Path, ledger: Path | None = None) -> None:
        """With a copy of `ledger`, if there is one: migrating takes longer than a whole release."""
        path = folder / LEDGER
        if ledger is None:
            self.ledger = open_ledger(f"sqlite:///{path}")
        else:
            shutil.copy(ledger, path)
            options = {"compiled_cache": COMPILED}
            self.ledger = Ledger(sa.create_engine(f"sqlite:///{path}", execution_options=options))
        sa.event.listen(self.ledger.engine, "connect", _in_no_hurry_to_the_disk)
        self.clock = self.ledger.clock = Clock()
        self.settings = Settings(project=folder)
        self.target, self.gateway = FakeTarget(), FakeGateway()
        self.tap: Callable[[str], None] = untapped
        self.busy = True  # clients send requests
        self.differ: set[str] = set()  # versions that answer otherwise than others
        self.load: LoadFunction | None = None
        self._served = False  # from here on there is always a champion

    def close(self) -> None:
        self.ledger.engine.dispose()

    def driver(self) -> Driver:
        """A new process of the line."""

        def tap(name: str) -> None:
            self.check()
            self.tap(name)

        def tapped(inner: object) -> Any:
            return Tapped(inner, tap)

        driver = Driver(
            self.settings,
            tapped(self.ledger),
            tapped(self.target),
            tapped(self.gateway),
            tapped(self).probe,
            clock=self.clock,
            sleep=tapped(self).sleep,
        )
        driver.send_load = self.load or driver.send_load
        return driver

    def plain_driver(self) -> Driver:
        """A new process whose calls nobody taps: another person's."""
        return Driver(
            self.settings, self.ledger, self.target, self.gateway, self.probe,
            clock=self.clock, sleep=self.sleep,
        )  # fmt: skip

    def sleep(self, seconds: float) -> None:
        self.clock.now += seconds
        if self.busy and not self.gateway.down:
            for _ in range(CLIENTS):
                self.gateway.send(*PLACE)

    def probe(
        self, *, environment: str, model: str, version: str, bundle: Path, n: int,
        against: str = "", mirrored: bool = False,
    ) -> Probe:  # fmt: skip
        """Asks the champion, too, if it is to be compared: but for versions that `differ` all
        answer alike."""
        replies = [self.gateway.send(environment, model, version) for _ in range(n)]
        both = []
        for i, reply in enumerate(replies if against else []):
            theirs = self.gateway.send(environment, model, None if mirrored else against)
            if {reply.status, theirs.status} == {200}:
                said = (answer(i, it in self.differ) for it in (version, against))
                both.append(Both({"x": i}, *said))
        failed = sum(it.status != 200 for it in replies)
        return Probe(sent=n, failed=failed, both=tuple(both))

    def candidate(self, version: str) -> Candidate:
        return self.ledger.add_candidate(
            model="churn", version=version, build=f"build-{version}", snapshot="s", git_sha="g",
            git_dirty=False, bundle=f"store/bundles/churn/v{version}", digest=f"digest-{version}",
            image=None, metrics={}, trigger="test", run_id="r",
        )  # fmt: skip

    def release(self, version: str, **changes: Any) -> Any:
        """One run of a release: (the ended release, the last verdicts)."""
        return self.driver().release(self.candidate(version), self.order(version, **changes))

    def order(self, version: str, **changes: Any) -> Order:
        """What a run asks for; keys of a plan and of an order may be changed."""
        values = {
            "environment": "production", "limits": Limits(), "trigger": "test",
            "run_id": f"deliver-{version}", "inconclusive_seconds": 10.0,
        }  # fmt: skip
        plan = {"steps": STEPS, "on_inconclusive": "abort", "keep_warm": 0, "rollback_window": 0}
        changed = {it: changes.pop(it) for it in [*changes] if it in Canary.model_fields}
        kind = KINDS[changed.pop("strategy", "canary")]
        values["plan"] = kind(**{**plan, **changed, "strategy": _name_of(kind)})
        return Order(**{**values, **changes})

    def at(self, n: int, then: Callable[[], None]) -> Callable[[str], None]:
        """A tap that does something right before the n-th call from now."""
        calls = 0

        def tap(name: str) -> None:
            nonlocal calls
            calls += 1
            if calls == n:
                then()

        return tap

    def champion(self) -> str | None:
        found = self.ledger.champion(*PLACE)
        return found and found.version

    def weights(self) -> list[dict[str, int]]:
        """The splits that the gateway had, in order."""
        splits = [{n: w for n, w in it.weights.items() if w} for it in self.gateway.applied]
        return [it for i, it in enumerate(splits) if i == 0 or it != splits[i - 1]]

    def end(self) -> tuple[Any, ...]:
        """What counts once a release has ended."""
        route = self.gateway.route(*PLACE)
        promoted = [
            it.version for it in self.ledger.releases("churn") if it.rollout.phase is Phase.PROMOTED
        ]
        return (
            self.champion(),
            sorted(promoted),
            self.ledger.unfinished(*PLACE),
            sorted(self.target.names()),
            route and (route.weights, route.stable, sorted(route.backends)),
        )

    def check(self) -> None:
        """What holds at every moment once there is a champion: its traffic is answered."""
        route = self.gateway.route(*PLACE)
        self._served = self._served or self.champion() is not None
        if not self._served or not self.gateway.applied:
            return
        assert route is not None, "a champion, and no route"
        assert sum(route.weights.values()) == 100
        assert set(route.backends) <= self.target.names(), "traffic for a server that is stopped"
        reply = self.gateway.send(*PLACE) if not self.gateway.down else None
        assert reply is None or reply.status == 200


def serving_v1(folders: pytest.TempPathFactory) -> DriverWorld:
    """A world of its own that serves v1."""
    world = DriverWorld(folders.mktemp("driver"), _ledger_with_v1(folders.getbasetemp()))
    world.driver().restore(*PLACE)
    return world


@functools.cache
def _ledger_with_v1(parent: Path) -> Path:
    folder = parent / "served"
    folder.mkdir()
    with closing(DriverWorld(folder)) as world:
        world.release("1")
        assert world.champion() == "1"
    return folder / LEDGER


def _in_no_hurry_to_the_disk(connection: Any, _: Any) -> None:
    connection.execute("PRAGMA synchronous = OFF")
