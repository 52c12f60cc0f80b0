"""Station: why does the model answer as it does, and what would it look like in pictures?"""

from __future__ import annotations

import base64
import json
from pathlib import Path

from prefect import get_run_logger
from prefect.artifacts import create_image_artifact

from andon import page
from andon.adapters import report
from andon.adapters.files import key_of, stored
from andon.adapters.ledger import Candidate
from andon.adapters.projects import measured_by
from andon.errors import LineError
from andon.explanation import Explanation, Importances
from andon.importance import told
from andon.verdict import Verdict
from tasks.evaluate import champion_of
from tasks.line import Job, Line, keep, line_for, show, station, verdict_table
from tasks.results import Explained, SplitRows, Trained

SHOWN = 30  # columns in the artifact's table
_LAYOUT = 1  # of both folders


def _read(job: Job, split: SplitRows, trained: Trained) -> str:
    line = line_for(job.model)
    rival, spec = _rival_of(job, line, trained), line.spec
    against = (rival.build, rival.version) if rival else None
    asked = (spec.explanation, spec.reports, spec.seed, _metric(line))
    return key_of(_LAYOUT, job.model, split.key, trained.key, asked, against)


def _rival_of(job: Job, line: Line, trained: Trained) -> Candidate | None:
    """The champion, unless it is this build."""
    champion = champion_of(job, line)
    return None if champion is None or champion.build == trained.key else champion


def _metric(line: Line) -> str:
    return measured_by(line.spec, line.settings.project)


@station(reads=_read)
def explain(job: Job, split: SplitRows, trained: Trained) -> Explained:
    """Importance, dependence and pictures, from held-out rows; nothing of it stops the line."""
    line, key = line_for(job.model), _read(job, split, trained)
    folder = line.settings.store / "explanations" / job.model / key
    stored(folder, lambda into: _explain(job, line, trained, into))
    found = report.read(folder)
    facts = json.loads((folder / "verdicts.json").read_text())
    verdicts = tuple(Verdict.model_validate(it) for it in facts)
    keep(job, "explain", f"build {trained.key}", verdicts)
    show(job, "explanation", _told(found, verdicts))
    for it in found.pictures:
        create_image_artifact(
            image_url=data_uri(folder / it.file), key=f"{job.model}-{it.name}", description=it.alt
        )
    return Explained(
        key=key, folder=str(folder.relative_to(line.settings.state)), verdicts=verdicts
    )


def data_uri(path: Path) -> str:
    """A PNG as an address that needs no server."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _explain(job: Job, line: Line, trained: Trained, into: Path) -> None:
    champion, verdicts = _rival_of(job, line, trained), list[Verdict]()
    try:
        found = _importances(line, trained.key)
        explanation, drawn = report.explain(
            _build(line, trained.key), line.spec, line.settings.project, found,
            _rival(line, champion),
        )  # fmt: skip
        if champion is not None:
            explanation, verdicts = _compared(line, champion, explanation)
    except OSError:  # a full disk is no property of the build
        raise
    except Exception as error:  # odd numbers trip up those who draw, too; a release does not wait
        why = str(error) if isinstance(error, LineError) else f"{type(error).__name__}: {error}"
        get_run_logger().warning("the build cannot be explained: %s", why)
        explanation, drawn = report.unexplained(trained.key, line.spec, why), []
    report.write(explanation, drawn, into)
    written = [it.model_dump(mode="json") for it in verdicts]
    (into / "verdicts.json").write_text(json.dumps(written, indent=1))


def _rival(line: Line, champion: Candidate | None) -> tuple[str, Path] | None:
    return (f"champion v{champion.version}", _build(line, champion.build)) if champion else None


def _compared(
    line: Line, champion: Candidate, explanation: Explanation
) -> tuple[Explanation, list[Verdict]]:
    """With how much of the importance has moved since the champion's own explanation."""
    name, now = f"the champion v{champion.version}", explanation.importances
    try:
        before = _importances(line, champion.build).by_name()
    except LineError as error:
        get_run_logger().warning("%s cannot be explained: %s", name, error)
        note = f"importance is not compared: {name} cannot be explained here"
        return explanation.model_copy(update={"notes": (*explanation.notes, note)}), []
    verdict = told(before, now.by_name(), line.spec.explanation.drift, now.rows, name)
    changes: dict[str, object] = {"champion": champion.version, "moved": verdict.value}
    return explanation.model_copy(update=changes), [verdict]


def _build(line: Line, key: str) -> Path:
    return line.settings.store / "builds" / line.spec.name / key


def _importances(line: Line, build: str) -> Importances:
    """A build's importances, measured once for what `model.yaml` asks; raises LineError."""
    spec = line.spec
    asked = (spec.explanation.rows, spec.explanation.repeats, spec.seed, _metric(line))
    folder = line.settings.store / "importances" / spec.name / key_of(_LAYOUT, build, asked)

    def write(into: Path) -> None:
        found = report.measured(_build(line, build), spec, line.settings.project)
        (into / "importances.json").write_text(found.model_dump_json(indent=1))

    stored(folder, write)
    return Importances.model_validate_json((folder / "importances.json").read_bytes())


def _told(found: Explanation, verdicts: tuple[Verdict, ...]) -> str:
    it = found.importances
    way = "lost" if it.greater_is_better else "added"
    rows = [
        f"| {page.cell(one.name)} | {one.value:.4g} | {page.interval(one.low, one.high)} |"
        for one in it.features[:SHOWN]
    ]
    parts = [
        f"# Why build `{found.build}` answers as it does",
        f"{it.rows:,} of {it.held_out:,} held-out rows. {it.metric} is {it.score:.4f}; "
        f"what is {way} when a column is shuffled:",
        f"| column | {it.metric} {way} | 95 % interval |\n| --- | --- | --- |\n" + "\n".join(rows),
        *(f"- {page.text(note)}" for note in found.notes),
        *([verdict_table(verdicts)] if verdicts else []),
        "\n".join(f"- **{page.text(one.title)}**: {page.text(one.alt)}" for one in found.pictures),
    ]
    return "\n\n".join(parts)
