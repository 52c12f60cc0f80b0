"""What `andon status` and its `--watch` show of releases, as a terminal without colours would."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from driver_world import PLACE, STEPS
from rich.console import Console
from steering_desk import Desk, text

from andon.adapters.routes import key
from andon.rollout import pause
from andon.spec import Approval, Mirror
from andon.verdict import Outcome, Verdict
from deployments import steering
from deployments.show import live, one_release, places, releases
from deployments.views import block, look, span
from deployments.watch import Frames, watch

STEP = "step 2/3 at 50 %"
ASKS = (STEPS[0], Approval(approve="managers", within=600), STEPS[-1])
WAITS = "step 2/3 waits for managers"


def shown(desk: Desk, width: int = 100) -> str:
    """The release in progress, or the last."""
    (release,) = desk.world.ledger.releases("churn", limit=1)
    return text(block(look(desk.parts, release)), width=width)


def rows(desk: Desk) -> list[tuple[str, str, str]]:
    return [(it.slot, it.version, it.traffic) for it in desk.parts.places()]


def test_a_share_of_the_traffic_is_told_with_its_steps(desk):
    desk.leave(STEP, "2")
    assert rows(desk) == [("active", "1", "50 %"), ("rollout", "2", "50 %")]
    said = shown(desk)
    assert "production/churn v2 over v1  step 2/3 at 50 %" in said
    assert [it.split()[0] for it in said.splitlines() if " %" in it and "for" in it] == [
        "✓", "▶", "·",
    ]  # fmt: skip
    assert "traffic: v1 50 %, v2 50 %" in said


def test_a_mirror_is_told_as_one(desk):
    mirror = Mirror(mirror=100, seconds=60, min_requests=20)
    desk.leave("step 1/2 mirrors 100 %", "2", steps=(mirror, STEPS[-1]))
    assert rows(desk) == [("active", "1", "100 %"), ("rollout", "2", "mirror 100 %")]
    assert "for 1 min, 20 requests" in shown(desk)


def test_a_warm_predecessor_is_told_with_the_time_it_is_let_go(desk):
    desk.deliver("2", keep_warm=600)
    assert rows(desk) == [("active", "2", "100 %"), ("warm", "1", "0 %")]
    said = shown(desk)
    assert "v1 is kept warm, to return at once; let go at" in said and "in 10 min" in said
    assert "kept until" in text(live(desk.parts.places(), desk.world.clock.now))


def test_an_approval_is_told_with_its_deadline_and_what_to_call(desk):
    desk.leave(WAITS, "2", steps=ASKS)
    said = shown(desk)
    assert "waits for managers: `andon approve churn`; rolled back at" in said
    assert "in 10 min" in said


def test_a_pause_is_told_with_who_its_deadline_and_what_to_call(desk):
    desk.leave(STEP, "2", pause_within=1_200)
    desk.say(steering.pause, "lunch")
    said = shown(desk)
    assert "paused by ada: lunch; `andon resume churn`; rolled back at" in said
    assert "in 20 min" in said
    assert "‖" in said


def test_a_gate_is_a_table_with_both_sides_where_they_are_compared(desk):
    desk.leave(STEP, "2")
    release = desk.world.ledger.unfinished(*PLACE)
    rates = {"candidate_k": 30, "candidate_n": 120, "champion_k": 10, "champion_n": 100}
    memory = {"candidate": 250_000_000, "champion": 118_000_000, "least": 1}
    verdicts = [
        Verdict(check="errors", outcome=Outcome.PASS, value=0.5, limit=0.75, n=1_200,
                evidence=rates),
        Verdict(check="memory", outcome=Outcome.FAIL, value=2.12, limit=2, n=9, evidence=memory),
        Verdict(check="latency", outcome=Outcome.INCONCLUSIVE, detail="no counters yet"),
        Verdict(check="labels", outcome=Outcome.PASS, detail="nothing was tested: no labels"),
    ]  # fmt: skip
    desk.world.ledger.add_verdicts(
        verdicts, run_id=release.run_id, model="churn", station="release to production",
        subject="v2 in production",
    )  # fmt: skip
    said = [it.split() for it in shown(desk, width=80).splitlines()]
    assert ["candidate", "champion", "measured", "limit", "n", "verdict"] in [it[3:] for it in said]
    for row in (
        "errors 0.25 0.1 0.5 0.75 1,200 ✓ pass",
        "memory 250 M 118 M 2.12 2 9 ✗ fail",
        "latency 0 ? inconclusive",
        "latency: no counters yet",
        "labels 0 · not tested",
    ):
        assert row.split() in said


@pytest.mark.parametrize("state", [STEP, WAITS])
def test_it_fits_a_terminal_of_80_columns(desk, state):
    desk.leave(state, "2", steps=ASKS if state == WAITS else STEPS)
    told = text(block(look(desk.parts, desk.world.ledger.unfinished(*PLACE))), width=80)
    table = text(live(desk.parts.places(), desk.world.clock.now), width=80)
    assert "…" not in told + table
    assert max(len(it.rstrip()) for it in (told + table).splitlines()) <= 80


def test_a_gateway_that_was_edited_by_hand_is_told(desk):
    desk.world.gateway.edited[key(*PLACE)] = ["services churn: weights differ"]
    console = Console(width=200, record=True, quiet=False, file=desk.out.file)
    places(console, desk.parts)
    said = console.export_text()
    assert "! production/churn: edited by hand: services churn: weights differ; `andon up`" in said


def test_a_change_that_is_just_being_made_is_nobody_s_hand(desk, monkeypatch):
    answers = iter([["weights differ"], []])
    monkeypatch.setattr(desk.world.gateway, "differences", lambda *_: next(answers))
    assert desk.parts.edited(*PLACE) == []
    assert next(answers, None) is None


def test_a_silent_gateway_is_told_and_the_rest_is_shown(desk):
    desk.world.gateway.down = True
    places(desk.out, desk.parts)
    said = desk.out.file.getvalue()
    assert "! production/churn: no configuration: the gateway does not answer" in said
    assert "production/churn  active  v1" in said


def test_history_says_who_did_what(desk):
    desk.leave(WAITS, "2", steps=ASKS)
    desk.say(steering.answer, "seen it", approved=True)
    desk.say(steering.pause)
    desk.say(steering.abort)
    desk.out.width = 200
    releases(desk.out, desk.parts, "churn")
    said = " ".join(desk.out.file.getvalue().split())
    for word in ("approved by ada: seen it;", "paused by ada;", "rolled back: aborted by ada"):
        assert word in said
    before = len(desk.out.file.getvalue())
    one_release(desk.out, desk.parts, "churn", desk.world.ledger.releases("churn")[0].seq)
    assert "step 3/3 at 100 %: approved by ada: seen it" in desk.out.file.getvalue()[before:]


def test_a_picture_is_a_new_one_only_when_something_has_changed(desk):
    frames = Frames(desk.parts)
    _, first = frames.next()
    desk.world.clock.now += 5
    _, second = frames.next()
    assert first == second
    desk.leave(STEP, "2")
    picture, third = frames.next()
    assert third != second
    assert STEP in text(picture)
    desk.world.plain_driver().command(*PLACE, lambda it, now: pause(it, now, "by ada"))
    assert frames.next()[1] != third


def test_a_release_that_ends_while_one_watches_stays_in_the_picture(desk):
    frames = Frames(desk.parts)
    desk.leave(STEP, "2")
    desk.world.clock.now += 1
    desk.say(steering.abort)
    said = text(frames.next()[0])
    assert "rolled back" in said and "no release is in progress" in said
    assert "rolled back" not in text(Frames(desk.parts).next()[0])


def test_a_database_that_goes_away_is_told_and_waited_for(desk, monkeypatch):
    frames = Frames(desk.parts)
    frames.next()

    def silent():
        raise sa.exc.OperationalError("select", {}, Exception("server closed the connection"))

    with monkeypatch.context() as patch:
        patch.setattr(desk.world.ledger, "places", silent)
        picture, _ = frames.next()
        said = text(picture)
        assert "production/churn" in said, "the last picture is gone"
        assert "database does not answer since" in said and "server closed" in said
    assert "does not answer" not in text(frames.next()[0])


@pytest.mark.parametrize("terminal", [False, True])
def test_watching_ends_with_ctrl_c_and_leaves_the_last_picture(desk, terminal):
    looks = 0

    def sleep(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise KeyboardInterrupt

    desk.world.target.looks_until_ready = 0
    out = Console(file=desk.out.file, width=100, force_terminal=terminal)
    watch(desk.parts, out, sleep)
    said = desk.out.file.getvalue()
    assert "production/churn" in said
    if not terminal:
        assert said.count("--- ") == 1, "nothing changed, and it was printed again"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0 s"), (0.5, "0.5 s"), (59.6, "1 min"), (60, "1 min"), (61, "1 min 1 s"), (3_600, "1 h"),
     (3_725, "1 h 2 min"), (86_400, "1 d"), (90_000, "1 d 1 h")],
)  # fmt: skip
def test_a_duration_has_two_units_at_most(seconds, told):
    assert span(seconds) == told
