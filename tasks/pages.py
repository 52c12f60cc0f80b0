"""The pages that people look at: a report of each monitor run, and a dashboard of all places."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import get_run_logger

from andon.adapters.inference_log import read_window
from andon.adapters.ledger import Release, VerdictRow
from andon.adapters.ledger.history import Seen as SeenBefore
from andon.dashboard import Place, dashboard, metrics
from andon.monitor_page import Earlier, Watch, page
from andon.page import to_html
from andon.spec import ModelSpec
from andon.verdict import Outcome, Verdict
from tasks.line import Job, Line, line_for, station
from tasks.live import Seen

STATIONS = ("monitor", "probe")
KEPT = 30  # reports of a place
EXAMPLES = 5


def report(line: Line, champion: Release, seen: Mapping[Any, Seen]) -> Path | None:
    """Write what a monitor run saw; None, and a warning, if it could not be written."""
    folder = line.settings.pages / champion.environment / champion.model
    at = time.time()
    with _warned("the report"):
        told = page(_watch(line, champion, seen, at))
        name = time.strftime("%Y%m%d-%H%M%S", time.gmtime(at))
        path = folder / f"{name}.html"
        _write(path, to_html(told))
        for old in sorted(folder.glob("2*.html"))[:-KEPT]:
            old.unlink(missing_ok=True)
        return path
    return None


@station()
def show_all(job: Job) -> None:
    """Write the dashboard and the metrics anew, of all places; a failure is a warning."""
    line = line_for(job.model)
    with _warned("the dashboard"):
        places = [
            found
            for environment, model in line.ledger.places()
            if (found := _place(line, environment, model)) is not None
        ]
        _write(line.settings.pages / "index.html", dashboard(places, time.time()))
        _write(line.settings.pages / "metrics", metrics(places))


@contextmanager
def _warned(what: str) -> Any:
    """People who cannot look are told; what is watched is watched all the same."""
    try:
        yield
    except Exception as error:  # a picture of an odd column must stop no alert
        get_run_logger().warning("%s was not written: %s: %s", what, type(error).__name__, error)


def _watch(line: Line, champion: Release, seen: Mapping[Any, Seen], at: float) -> Watch:
    spec = line.spec
    masked = sorted({*spec.reports.mask, *spec.logging.mask, *_masked(seen)})
    before = line.ledger.last_seen(spec.name, champion.environment, _stations(spec))
    incidents = line.ledger.open_incidents(spec.name, champion.environment)
    return Watch(
        model=spec.name,
        environment=champion.environment,
        version=champion.version,
        at=at,
        verdicts={kind: it.verdicts for kind, it in seen.items()},
        earlier=[_earlier(it) for it in before],
        windows={
            kind: (it.summary, it.reference)
            for kind, it in seen.items()
            if it.summary is not None and it.reference is not None
        },
        rows=_examples(line, champion),
        masked=masked,
        incident=incidents[0].id if incidents else "",
        story=incidents[0].story if incidents else (),
    )


def _masked(seen: Mapping[Any, Seen]) -> set[str]:
    return {name for it in seen.values() for name in it.masked}


def _stations(spec: ModelSpec) -> list[str]:
    return [f"{flow} {it.kind}" for it in spec.monitors for flow in STATIONS]


def _earlier(it: SeenBefore) -> Earlier:
    return Earlier(
        it.at, it.station.partition(" ")[2], {v.check: Outcome(v.outcome) for v in it.verdicts}
    )


def _examples(line: Line, champion: Release) -> list[dict[str, Any]]:
    since = champion.ended_at or 0.0
    window = read_window(
        line.settings, champion.environment, champion.model,
        version=champion.version, since=since, latest=EXAMPLES,
        live=line.ledger.live_spans(champion.environment, champion.model, since),
    )  # fmt: skip
    return [{**row["inputs"], **row["outputs"]} for row in window.rows]


def _place(line: Line, environment: str, model: str) -> Place | None:
    from andon.adapters.files import load_spec
    from andon.errors import LineError

    champion = line.ledger.champion(environment, model)
    if champion is None or environment not in line.settings.environments:
        return None
    try:
        stations = _stations(load_spec(line.settings.project, model))
    except LineError:
        stations = []
    runs: dict[str, list[Outcome]] = {}
    latest: dict[str, Sequence[VerdictRow]] = {}
    at = 0.0
    for it in line.ledger.last_seen(model, environment, stations):
        kind, at = it.station.partition(" ")[2], max(at, it.at)
        runs.setdefault(kind, []).append(_outcome(it.verdicts))
        latest[kind] = it.verdicts
    reports = sorted((line.settings.pages / environment / model).glob("2*.html"))
    return Place(
        environment=environment,
        model=model,
        version=champion.version,
        since=champion.ended_at or champion.started_at,
        runs=runs,
        verdicts=[
            Verdict(check=v.check, outcome=Outcome(v.outcome), value=v.value)
            for given in latest.values()
            for v in given
        ],
        seen_at=at,
        incidents=[(it.id, it.state) for it in line.ledger.open_incidents(model, environment)],
        page=f"{environment}/{model}/{reports[-1].name}" if reports else "",
    )


def _outcome(verdicts: Sequence[VerdictRow]) -> Outcome:
    from andon.monitor_page import gate_of

    return gate_of(Outcome(it.outcome) for it in verdicts)


def _write(path: Path, text: str) -> None:
    """At once: who reads meanwhile sees the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".new")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
