"""A release in progress, for people: its steps, what is waited for, its gate, its timeline."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from andon.adapters.ledger import Release, Transition, VerdictRow
from andon.errors import GatewayError
from andon.gates import sides
from andon.ports import Route, version_in
from andon.rollout import Phase, Rollout
from andon.spec import AnyStep, Approval, Mirror, Step
from deployments.parts import Parts, shares

LATEST = 8  # transitions shown
SIGNS = {
    "pass": Text("✓ pass", "green"),
    "fail": Text("✗ fail", "red"),
    "inconclusive": Text("? inconclusive", "yellow"),
}
UNTESTED = Text("· not tested", "dim")
COMING, DONE, HERE = Text("·", "dim"), Text("✓", "green"), Text("▶", "bold cyan")
HELD, LEFT = Text("‖", "bold yellow"), Text("✗", "red")


@dataclass(frozen=True)
class View:
    """A release with all that is shown of it. `now`: epoch seconds."""

    release: Release
    transitions: tuple[Transition, ...]
    verdicts: tuple[VerdictRow, ...]
    route: Route | None
    now: float


def look(parts: Parts, release: Release) -> View:
    """Read what there is on a release."""
    place = release.environment, release.model
    try:
        route = parts.gateway.route(*place)
    except GatewayError:
        route = None
    return View(
        release=release,
        transitions=tuple(parts.ledger.transitions(release.seq)),
        verdicts=tuple(_gate(parts, release)),
        route=route,
        now=parts.ledger.clock(),
    )


def _gate(parts: Parts, release: Release) -> list[VerdictRow]:
    """The last gate that was written down of this release, by whatever run drove it."""
    subject = f"v{release.version} in {release.environment}"
    found = [
        it
        for it in parts.ledger.verdicts(release.model, since=release.started_at)
        if it.subject == subject and it.station == f"release to {release.environment}"
    ]
    return [it for it in found if it.run_id == found[-1].run_id]


def block(view: View, latest: int | None = LATEST) -> RenderableType:
    """All of it, one part below the other; `latest`: how many transitions, None for all."""
    shown: list[RenderableType] = [_title(view), _steps(view)]
    shown += [Padding(Text(it), (0, 0, 0, 2)) for it in _told(view)]
    if view.verdicts:
        shown += [Text(), _verdicts(view), *_doubts(view)]
    return Group(*shown, Text(), _timeline(view, latest or len(view.transitions)))


def _title(view: View) -> Text:
    release, rollout = view.release, view.release.rollout
    over = f" over v{version_in(rollout.champion)}" if rollout.champion else ", the first"
    title = Text(f"{release.environment}/{release.model} v{release.version}{over}", "bold")
    state = "red" if rollout.phase is Phase.ROLLED_BACK else "cyan"
    title.append(f"  {rollout}", f"bold {state}")
    title.append(f"\n  {release.kind} {release.seq}, asked by {release.trigger}", "dim")
    return title


def _steps(view: View) -> RenderableType:
    rollout = view.release.rollout
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for _ in range(4):
        table.add_column()
    starting = rollout.phase is Phase.STARTING
    begun = HERE if starting else DONE
    patience = f"within {span(rollout.start_seconds)}"
    table.add_row(begun, "ready", patience, _elapsed(view, rollout.start_seconds, starting))
    for at, step in enumerate(rollout.steps):
        here = rollout.current is not None and at == rollout.step
        held = step.seconds if isinstance(step, Step | Mirror) else step.within
        sign = _sign(rollout, at)
        table.add_row(sign, _what(step, rollout), _needs(step), _elapsed(view, held, here))
    return Padding(table, (0, 0, 0, 2))


def _sign(rollout: Rollout, at: int) -> Text:
    if rollout.phase in (Phase.PROMOTED, Phase.SHADOWED):
        return DONE
    if rollout.phase is Phase.STARTING or at > rollout.step:
        return COMING
    if at < rollout.step:
        return DONE
    return {Phase.PAUSED: HELD, Phase.ROLLED_BACK: LEFT}.get(rollout.phase, HERE)


def _what(step: AnyStep, rollout: Rollout) -> str:
    if isinstance(step, Approval):
        return f"{step.approve} approve"
    if isinstance(step, Mirror):
        return f"mirror {step.mirror} %"
    return f"{step.weight if rollout.champion else 100} %"


def _needs(step: AnyStep) -> str:
    if isinstance(step, Approval):
        return f"within {span(step.within)}"
    requests = f", {step.min_requests:,} requests" if step.min_requests else ""
    return f"for {span(step.seconds)}{requests}"


def _elapsed(view: View, held: float, here: bool) -> Text:
    """How much of its time a state has had."""
    if not here or view.release.rollout.phase is Phase.PAUSED:
        return Text()
    elapsed = max(0.0, view.now - view.release.rollout.since)
    if elapsed < held:
        return Text(f"{span(elapsed)} of {span(held)}", "cyan")
    return Text(f"{span(elapsed)}, its time is over", "yellow")


def _told(view: View) -> Iterator[str]:
    """What is waited for, for how long, and what a person can do."""
    release, rollout = view.release, view.release.rollout
    flags = f"{release.model}" + (
        f" -e {release.environment}" if release.environment != "production" else ""
    )
    if view.route is not None and not rollout.ended:
        names = (rollout.champion, rollout.candidate)
        split = (f"v{version_in(it)} {shares(view.route, it)}" for it in names if it)
        yield f"traffic: {', '.join(split)}"
    if rollout.phase is Phase.PAUSED:
        until = _until(view, rollout.pause_seconds)
        on = "" if rollout.by_hand else " it goes on when its gate can be decided, or by"
        yield f"{rollout.reason};{on} `andon resume {flags}`; rolled back {until}"
    elif rollout.approval is not None:
        until = _until(view, rollout.approval.within)
        yield f"waits for {rollout.approval.approve}: `andon approve {flags}`; rolled back {until}"
    elif rollout.phase is Phase.STEPPING:
        yield from _patience(view)
    elif rollout.reason:
        yield rollout.reason
    if rollout.warm and rollout.champion:
        until = _until(view, rollout.warm_seconds)
        yield f"v{version_in(rollout.champion)} is kept warm, to return at once; let go {until}"


def _patience(view: View) -> Iterator[str]:
    """What happens next to a gate that stays undecided."""
    rollout, step = view.release.rollout, view.release.rollout.current
    held = step.seconds if isinstance(step, Step | Mirror) else 0.0
    if view.now - rollout.since <= held + 1:
        return
    words = {"pause": "paused", "continue": "passed over, as the plan says", "abort": "rolled back"}
    until = _until(view, held + rollout.inconclusive_seconds)
    yield f"its gate is not decided yet; {words[rollout.on_inconclusive]} {until}"


def _until(view: View, seconds: float) -> str:
    end = view.release.rollout.since + seconds
    left = end - view.now
    return f"at {clock(end, view.now)} UTC" + (f", in {span(left)}" if left > 0 else "")


def _verdicts(view: View) -> RenderableType:
    """The gate as it was written down last; both sides where a check compares them."""
    found = [sides(it.evidence) for it in view.verdicts]
    compared = any(found)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    title = f"gate at {clock(view.verdicts[-1].at, view.now)}"
    table.add_column(title, min_width=len(title))
    for column in (*(("candidate", "champion") if compared else ()), "measured", "limit", "n"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for it, both in zip(view.verdicts, found, strict=True):
        cells = [_number(side) for side in both or (None, None)] if compared else []
        cells += [_number(it.value), _number(it.limit), f"{it.n:,}"]
        untested = it.outcome == "pass" and it.value is None and not it.n
        table.add_row(it.check, *cells, UNTESTED if untested else SIGNS[it.outcome])
    return Padding(table, (0, 0, 0, 2))


def _doubts(view: View) -> Iterator[RenderableType]:
    for it in view.verdicts:
        if it.outcome != "pass" and it.detail:
            text = Text(f"{it.check}: {it.detail}", "red" if it.outcome == "fail" else "yellow")
            yield Padding(text, (0, 0, 0, 4))


def _timeline(view: View, latest: int) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="dim")
    table.add_column(ratio=1)
    table.add_column(style="dim")
    for it in view.transitions[-latest:]:
        table.add_row(clock(it.at, view.now), Text(it.what), split_of(it))
    return Padding(table, (0, 0, 0, 2))


def split_of(transition: Transition) -> str:
    """The traffic in a state: `v2 75 %, v3 25 %`."""
    return ", ".join(f"v{version_in(it)} {w} %" for it, w in sorted(transition.weights.items()))


def clock(at: float, now: float | None = None) -> str:
    """A time of day (UTC), with the date if that is another one."""
    when, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now or time.time(), UTC)
    return f"{when:%H:%M:%S}" if when.date() == today.date() else f"{when:%Y-%m-%d %H:%M:%S}"


def span(seconds: float) -> str:
    """A duration in its two largest units."""
    whole = round(seconds)
    for size, unit, below, small in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {unit}" + (f" {rest} {small}" if rest else "")
    return f"{seconds:.1f} s" if 0 < seconds < 1 else f"{whole} s"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value / 1e6:,.0f} M" if abs(value) >= 1e5 else f"{value:.4g}"
