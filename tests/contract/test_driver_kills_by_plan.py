"""Every plan, killed before each of its calls and run again: the end is that of an undisturbed one.

With people in it: they say their word whenever the ledger shows the state that they wait for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from driver_world import PLACE, STEPS, DriverWorld, Killed, kill, serving_v1, untapped

from andon.adapters.driver import Order
from andon.errors import GatewayError
from andon.rollout import Phase, Rollout, abort, answer, pause, proceed
from andon.spec import Approval, Limits, Mirror, ShadowOnly, Sticky

DAY = 86_400.0
SHORT = {"seconds": 0.25, "min_requests": 20}
ASKS = (STEPS[0], Approval(approve="managers", within=DAY), STEPS[-1])
MIRRORS = (Mirror(mirror=50, gate=("errors", "latency"), **SHORT), STEPS[-1])
Person = Callable[[DriverWorld, Rollout], None]


def nobody(world: DriverWorld, rollout: Rollout) -> None:
    pass


def says(change: Any) -> Person:
    def act(world: DriverWorld, rollout: Rollout) -> None:
        world.plain_driver().command(*PLACE, change)

    return act


def pauses_once(world: DriverWorld, rollout: Rollout) -> None:
    """And says go on, when it sees the pause."""
    if rollout.phase is Phase.PAUSED:
        world.plain_driver().command(*PLACE, partial(proceed, reason="go on"))
    elif rollout.phase is Phase.STEPPING and rollout.orders == 0:
        world.plain_driver().command(*PLACE, partial(pause, reason="wait"))


def aborts_at_50(world: DriverWorld, rollout: Rollout) -> None:
    if rollout.phase is Phase.STEPPING and rollout.step == 1:
        world.plain_driver().command(*PLACE, partial(abort, reason="enough"))


def mends_the_gateway(world: DriverWorld, rollout: Rollout) -> None:
    """Once the line has paused because it cannot be read."""
    if rollout.phase is Phase.PAUSED:
        vars(world.gateway).pop("traffic", None)


def unreadable(world: DriverWorld) -> None:
    def traffic() -> Any:
        raise GatewayError("no counters")

    world.gateway.traffic = traffic


def fine(world: DriverWorld) -> None:
    pass


def release(world: DriverWorld, **changes: Any) -> None:
    world.release("2", **changes)


def shadow(world: DriverWorld) -> None:
    plan = ShadowOnly(strategy="shadow_only", steps=MIRRORS[:1], rollback_window=0)
    order = Order("production", plan, Limits(), "test", "deliver-2", inconclusive_seconds=10.0)
    world.driver().release(world.candidate("2"), order)


def asked(world: DriverWorld) -> None:
    """The run goes away at the approval; a guard carries on."""
    order = world.order("2", steps=ASKS)
    found, _ = world.driver().release(world.candidate("2"), order, leave_at_approval=True)
    if not found.rollout.ended:
        world.driver().carry_on(*PLACE)


def cooled(world: DriverWorld) -> None:
    world.release("2", keep_warm=600)
    world.clock.now += 601
    world.driver().restore(*PLACE)


def left_behind(world: DriverWorld) -> None:
    """A release of v2 in mid-step, whose driver is gone."""

    def tap(name: str) -> None:
        found = world.ledger.unfinished(*PLACE)
        if name == "sleep" and found and found.rollout.phase is Phase.STEPPING:
            raise Killed

    world.tap = tap
    with pytest.raises(Killed):
        world.release("2")
    world.tap = untapped


@dataclass(frozen=True)
class Scenario:
    """`shows`: what the undisturbed run's states are told as, among others."""

    run: Callable[[DriverWorld], None]
    shows: str
    person: Person = nobody
    prepare: Callable[[DriverWorld], None] = fine


APPROVES = says(partial(answer, approved=True, by="ada"))
REJECTS = says(partial(answer, approved=False, by="ada"))
SCENARIOS = {
    "mirror": Scenario(partial(release, steps=MIRRORS), "mirrors 50 %"),
    "a mirror that fails": Scenario(
        partial(release, steps=MIRRORS), "rolled back", prepare=lambda it: it.gateway.dead.add(V2)
    ),
    "shadow_only": Scenario(shadow, "shadowed"),
    "approved": Scenario(asked, "approved by ada", APPROVES),
    "rejected": Scenario(asked, "rolled back: rejected", REJECTS),
    "paused by hand": Scenario(partial(release, pause_within=DAY), "paused: wait", pauses_once),
    "aborted": Scenario(release, "rolled back: enough", aborts_at_50),
    "paused by the line": Scenario(
        partial(release, on_inconclusive="pause", pause_within=DAY, inconclusive_seconds=1.0),
        "paused: inconclusive",
        mends_the_gateway,
        unreadable,
    ),
    "continued": Scenario(
        partial(release, on_inconclusive="continue", inconclusive_seconds=0.5),
        "the plan says to continue",
        prepare=unreadable,
    ),
    "kept warm": Scenario(partial(release, keep_warm=10 * DAY), "promoted"),
    "let go": Scenario(cooled, "the one before is let go"),
    "sticky": Scenario(partial(release, sticky=Sticky(cookie="who")), "promoted"),
    "supersedes": Scenario(
        lambda world: world.release("3", newer="supersede"),
        "promoted",
        prepare=left_behind,
    ),
}
V2 = "production-churn-v2"


def attempt(folders: pytest.TempPathFactory, it: Scenario, n: int) -> tuple[DriverWorld, bool]:
    """A run that is killed before its n-th call; whether it was."""
    world = serving_v1(folders)
    it.prepare(world)
    plain = world.sleep

    def sleep(seconds: float) -> None:
        plain(seconds)
        if found := world.ledger.unfinished(*PLACE):
            it.person(world, found.rollout)

    world.sleep = sleep
    world.tap = world.at(n, kill)
    try:
        it.run(world)
    except Killed:
        return world, True
    return world, False


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_any_call_a_plan_comes_to_the_same_end(tmp_path_factory, scenario):
    it = SCENARIOS[scenario]
    undisturbed, _ = attempt(tmp_path_factory, it, 0)
    last = undisturbed.ledger.releases("churn")[0]
    told = [state.what for state in undisturbed.ledger.transitions(last.seq)]
    assert any(it.shows in what for what in told), told
    n, killed = 0, True
    while killed:
        n += 1
        world, killed = attempt(tmp_path_factory, it, n)
        world.tap = untapped
        world.clock.now += 3_600  # nobody noticed for an hour
        it.run(world)
        assert world.end() == undisturbed.end(), f"killed before call {n}"
        assert world.gateway.route(*PLACE) == undisturbed.gateway.route(*PLACE)
        world.check()
        assert len(world.ledger.releases("churn")) == len(undisturbed.ledger.releases("churn"))
        world.close()
    assert n > 20, "the tap taps nothing"
    undisturbed.close()
