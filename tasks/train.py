"""Station: fit the project's pipeline, and measure it on rows it never saw.

The project's code and scikit-learn run in a process of their own (`andon.adapters.trainer`).
"""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prefect import get_run_logger

from andon.adapters import compute, limited, projects, provenance
from andon.adapters.files import key_of, load_settings, load_spec, stored, tree_hash
from andon.adapters.live_metrics import LiveRun
from andon.adapters.trainer import FACTS, Request
from andon.errors import LineError
from andon.search import described
from andon.spec import ModelSpec
from andon.verdict import Outcome, Verdict, gate
from tasks.line import Job, Line, keep, line_for, show, station, verdict_table
from tasks.progress import told
from tasks.results import SplitRows, Trained

_LAYOUT = 2  # of the folder
_A_WEEK = 7 * 86_400.0  # `training.minutes` is what ends it
_SHOWN = 50  # candidates in the table


def _build_key(job: Job, split: SplitRows) -> str:
    settings = load_settings()
    spec = load_spec(settings.project, job.model)
    code = tree_hash(provenance.code_files(settings.project, job.model), settings.project)
    training = spec.training.model_dump(exclude={"minutes"})
    measured = projects.measured_by(spec, settings.project)
    learned = (
        spec.target, spec.task, spec.positive, spec.seed, training, spec.threshold, measured,
    )  # fmt: skip
    environment = [
        platform.python_version(),
        *(f"{it}={version(it)}" for it in provenance.LIBRARIES),
    ]
    return key_of(_LAYOUT, job.model, split.key, code, learned, environment)


@station(reads=_build_key, timeout=_A_WEEK)
def train(job: Job, split: SplitRows) -> Trained:
    """Fit, score, and keep the model with all that evaluation and serving need."""
    line, key = line_for(job.model), _build_key(job, split)
    folder = line.settings.store / "builds" / job.model / key
    live = LiveRun(line.settings, job.model, key, get_run_logger().warning)
    _, reused = stored(folder, lambda into: _train(job, line, split, into, live))
    if reused:
        get_run_logger().info("reused the build %s", key)
    facts = json.loads((folder / FACTS).read_text())
    verdicts = tuple(Verdict.model_validate(it) for it in facts["verdicts"])
    if not reused and gate(verdicts) is not Outcome.PASS:
        live.fail()
    keep(job, "train", f"build {key}", verdicts)
    show(job, "metrics", f"# Build `{key}`\n\n{_told(facts)}\n\n{verdict_table(verdicts)}")
    if facts["search"]["candidates"]:
        show(job, "search", _table(line.spec, facts["search"]))
    return Trained(
        key=key,
        folder=str(folder.relative_to(line.settings.state)),
        metrics=facts["metrics"],
        rows=tuple(facts["rows"]),
        verdicts=verdicts,
    )


def _train(job: Job, line: Line, split: SplitRows, folder: Path, live: LiveRun) -> None:
    spec, settings = line.spec, line.settings
    limits = compute.limits(
        settings, 60 * spec.training.minutes, f"training.minutes in models/{spec.name}/model.yaml"
    )
    request = Request(
        project=settings.project,
        spec=spec,
        split=settings.state / split.folder,
        folder=folder,
        cpus=limits.cpus,
    )
    with told(job, live) as progress:
        _, used = limited.call(
            "andon.adapters.trainer",
            request.message(),
            limits,
            what="the training",
            folder=settings.project,
            told=progress.take,
        )
    try:
        facts = json.loads((folder / FACTS).read_text())
    except (OSError, ValueError):
        raise LineError(f"the training ended well, but left no {FACTS}") from None
    facts["used"] = {
        "seconds": used.seconds,
        "cpu_seconds": used.cpu_seconds,
        "peak_mb": used.peak_mb,
        "cpus": limits.cpus,
    }
    code = provenance.code_of(settings.project, spec)
    facts["code"] = code.facts
    facts["split"] = split.folder
    facts["environment"] = provenance.environment(settings.project)
    (folder / FACTS).write_text(json.dumps(facts, indent=1))
    if patch := provenance.patch(settings.project, code):
        (folder / provenance.PATCH).write_text(patch)


def _told(facts: dict[str, Any]) -> str:
    (learn, held_out), used = facts["rows"], facts["used"]
    listed = "\n".join(f"| {name} | {value:.4f} |" for name, value in facts["metrics"].items())
    return (
        f"{learn:,} rows to learn from, {held_out:,} held out\n\n"
        f"{used['seconds']:.1f} s, {used['cpu_seconds']:.1f} s of CPU, at most "
        f"{used['peak_mb']:,.0f} MB\n\n| metric | held out |\n| --- | --- |\n{listed}"
    )


def _table(spec: ModelSpec, searched: dict[str, Any]) -> str:
    """All candidates, the best first."""
    best, found = searched["best"], searched["candidates"]
    order = sorted(range(len(found)), key=lambda i: (i != best, -found[i]["share"], i))
    rows = [
        f"| {described(it['parameters']).replace('|', chr(92) + '|')}{' **best**' * (i == best)} "
        f"| {it['mean']:.4f} | {it['spread']:.4f} | {it['share']:.0%} | {it['seconds']:.1f} s |"
        for i, it in ((i, found[i]) for i in order[:_SHOWN])
    ]
    more = f"\n\n{len(found) - _SHOWN} more are in the build's facts.json" * (len(found) > _SHOWN)
    head = f"# {len(found)} candidates, {searched['folds']} folds\n\n"
    head += (
        f"| parameters | {spec.metric_name} | ± | rows | time |\n| --- | --- | --- | --- | --- |\n"
    )
    return head + "\n".join(rows) + more
