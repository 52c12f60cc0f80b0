"""Station: is the service there, and what does it use?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from andon.adapters.knocking import counted, knock
from andon.adapters.ledger import Measure, Release
from andon.adapters.ledger.measures import KEPT_SECONDS
from andon.adapters.readings import CPU, Reading, of_platform, of_server
from andon.adapters.targets import local_target
from andon.checks import above
from andon.ports import Traffic, server_name
from andon.resources import Series, judge
from andon.service import Look, service, volume
from andon.spec import ResourceMonitor, ServiceMonitor
from andon.verdict import Verdict
from tasks.line import Job, Line, keep, line_for, show, station, verdict_table
from tasks.results import Watched

PLATFORM = ("platform", "")  # its parts are of no model
DAY = 86_400.0
EVERY = 60.0  # seconds: several models' probes read the platform once
BARS = "▁▂▃▄▅▆▇█"
SENT, FAILED, WRONG = "probe: sent", "probe: failed", "probe: wrong"
REQUESTS, ERRORS, SLOW = "gateway: requests", "gateway: errors", "gateway: slow"


@station()
def look(job: Job, environment: str) -> Watched:
    """Known requests to the champion, its clients' errors, and what it and the platform use."""
    line = line_for(job.model)
    champion = line.ledger.champion(environment, job.model)
    if champion is None:
        show(job, "probe", f"# {job.model} has no champion in {environment}: nothing to probe")
        return Watched(windows={}, rows={}, verdicts={})
    began = time.time()
    verdicts: dict[str, tuple[Verdict, ...]] = {}
    told = []
    for it in line.spec.monitors:
        if isinstance(it, ServiceMonitor):
            verdicts[it.kind], lines = _service(line, champion, it)
        elif isinstance(it, ResourceMonitor):
            verdicts[it.kind], lines = _resources(line, champion, it)
        else:
            continue
        told.append(f"## {it.kind}\n\n{verdict_table(verdicts[it.kind])}\n\n{lines}")
        keep(job, f"probe {it.kind}", f"v{champion.version} in {environment}", verdicts[it.kind])
    title = f"# {job.model} v{champion.version} in {environment}"
    show(job, "probe", "\n\n".join([title, *told]))
    return Watched(
        windows=dict.fromkeys(verdicts, (began, time.time())),
        rows={kind: sum(it.n for it in given[:1]) for kind, given in verdicts.items()},
        verdicts=verdicts,
        version=champion.version,
    )


def _service(
    line: Line, champion: Release, monitor: ServiceMonitor
) -> tuple[tuple[Verdict, ...], str]:
    environment, model, version = champion.environment, champion.model, champion.version
    server = server_name(environment, model, version)
    bundle = line.settings.state / line.ledger.candidate_of(champion).bundle
    found = knock(line.settings, environment, model, version, bundle, monitor.requests)
    figures: dict[str, float] = {SENT: found.sent, FAILED: found.failed, WRONG: found.wrong}
    traffic = counted(line.settings, server)
    if traffic is not None:
        figures |= _counters(server, traffic, monitor.p95_ms / 1000)
    line.ledger.add_measures(environment, model, figures)
    since = max(time.time() - DAY, champion.ended_at or 0.0)
    looks = _looks(line.ledger.measures(environment, model, since), server, found.example)
    shown = {
        "requests at a look": [it.requests or 0.0 for it in reversed(looks)],
        "errors": [it.errors or 0.0 for it in reversed(looks)],
    }
    verdicts = service(looks, monitor)
    traffic_now = _volume(line, environment, model, monitor)
    return (*verdicts, *([traffic_now] if traffic_now else [])), _lines(shown)


def _volume(line: Line, environment: str, model: str, monitor: ServiceMonitor) -> Verdict | None:
    """Of all that served it: a release changes no client's habits."""
    now = time.time()
    hours = hourly(line.ledger.measures(environment, model, now - KEPT_SECONDS), now)
    before = [hours[it] for it in range(24, 14 * 24, 24) if it in hours]
    return volume(hours.get(0, 0.0), before, monitor) if 0 in hours else None


def hourly(measures: Sequence[Measure], now: float) -> dict[int, float]:
    """Clients' requests by how many hours ago; an hour in which nobody looked is not there."""
    found: dict[int, float] = {}
    before: dict[str, float] = {}
    for at, group in groupby(measures, key=lambda it: it.at):
        figures = {it.what: it.value for it in group}
        counters = {what: n for what, n in figures.items() if what.startswith(REQUESTS)}
        if not counters:
            continue
        came = -figures.get(SENT, 0.0)  # ours
        for what, n in counters.items():
            came += n if n < before.get(what, 0.0) else n - before.get(what, n)
            before[what] = n
        hour = int((now - at) // 3_600)
        found[hour] = found.get(hour, 0.0) + max(0.0, came)
    return found


def _counters(server: str, traffic: Traffic, slow: float) -> dict[str, float]:
    """Since the gateway started; named after the server, since another one has others."""
    return {
        f"{REQUESTS} of {server}": traffic.requests,
        f"{ERRORS} of {server}": traffic.errors,
        f"{SLOW} of {server}": above(traffic, slow),
    }


def _looks(measures: Sequence[Measure], server: str, example: str) -> list[Look]:
    """One for each time at which it was probed, the newest first."""
    found: list[Look] = []
    before: Traffic | None = None
    for _, group in groupby(measures, key=lambda it: it.at):
        now = {it.what: it.value for it in group}
        if SENT not in now:
            continue
        it = Look(int(now[SENT]), int(now[FAILED]), int(now[WRONG]))
        names = [f"{kind} of {server}" for kind in (REQUESTS, ERRORS, SLOW)]
        if names[0] in now:
            # `invalid` holds those that were slow: this is about counters that begin anew.
            requests, errors, slow = (now[name] for name in names)
            counters = Traffic(requests, errors, invalid=slow)
            came = counters.since(before) if before else counters
            it = replace(it, requests=came.requests, errors=came.errors, slow=came.invalid)
            before = counters
        found.append(it)
    if found:
        found[-1] = replace(found[-1], example=example)
    return found[::-1]


def _resources(
    line: Line, champion: Release, monitor: ResourceMonitor
) -> tuple[tuple[Verdict, ...], str]:
    environment, model = champion.environment, champion.model
    server = server_name(environment, model, champion.version)
    mine = of_server(line.settings, local_target(line.settings), environment, server)
    line.ledger.add_measures(
        environment, model, {f"{server} {it}": reading.value for it, reading in mine.items()}
    )
    parts = of_platform(line.settings)
    earlier = line.ledger.measures(*PLATFORM, since=time.time() - DAY)
    if not earlier or time.time() - earlier[-1].at > EVERY:
        line.ledger.add_measures(*PLATFORM, {it: reading.value for it, reading in parts.items()})
        earlier = line.ledger.measures(*PLATFORM, since=time.time() - DAY)
    since = line.ledger.measures(environment, model, since=time.time() - DAY)
    series = [
        *_series(mine, since, f"{server} "),
        *_series(parts, earlier, ""),
    ]
    given = tuple(judge(it, monitor) for it in series)
    return given, _lines({it.what: [value for _, value in it.readings] for it in series})


def _series(
    readings: Mapping[str, Reading], measures: Sequence[Measure], prefix: str
) -> list[Series]:
    found = []
    for name, reading in readings.items():
        if name.endswith(CPU):
            continue  # it has no limit; the figures are kept
        points = [(it.at, it.value) for it in measures if it.what == prefix + name]
        found.append(Series(prefix + name, points, reading.limit, reading.unit))
    return found


def _lines(series: Mapping[str, Sequence[float]]) -> str:
    """The last readings as a Markdown table with a small picture each."""
    rows = [f"| {name} | `{sparkline(values[-40:])}` |" for name, values in series.items()]
    return "\n".join(["| the last readings | |", "| --- | --- |", *rows])


def sparkline(values: Sequence[float]) -> str:
    """A bar for each value, from the lowest to the highest."""
    if not values:
        return ""
    low, high = min(values), max(values)
    step = (high - low) / (len(BARS) - 1)
    return "".join(BARS[round((it - low) / step) if step else 0] for it in values)
