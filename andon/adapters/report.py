"""An explanation from a build's folder: numbers and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from andon import training
from andon.adapters import builds, projects, tables
from andon.adapters.attribution import attribution
from andon.adapters.dependence import dependences
from andon.adapters.explaining import Subject, alike, importances, sample
from andon.adapters.plots import Scored, answers, features, save
from andon.adapters.trainer import HELD_OUT
from andon.errors import LineError
from andon.explanation import Attribution, Explanation, Importances
from andon.spec import ModelSpec
from serving.bundle import BundleError, read_signature

PICTURE_ROWS = 50_000
ALIKE_SHOWN = 5


def subject(build: Path, spec: ModelSpec, project: Path, rows: int) -> Subject:
    """The fitted pipeline of a build's folder, with at most `rows` of its held-out rows.

    Raises LineError if the folder is not one, or the rows do not fit.
    """
    facts, columns = builds.read_facts(build), read_signature(build).columns
    table, total = sample(build / HELD_OUT, rows, spec.seed, len(columns))
    return Subject(
        model=builds.read_fitted(build),
        frame=tables.training_frame(table, columns),
        y=tables.target(table, spec),
        columns=columns,
        spec=spec,
        metric=projects.metric_of(spec, project),
        classes=facts["classes"],
        positive=facts["positive"],
        held_out=total,
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """A thousand small predictions are quicker so: threads would wait for each other."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield


@one_thread()
def measured(build: Path, spec: ModelSpec, project: Path) -> Importances:
    """The importances of a build, on its own held-out rows; raises LineError."""
    try:
        found = subject(build, spec, project, spec.explanation.rows)
        return importances(_learned(found))
    except (BundleError, OSError, ValueError, KeyError) as error:
        raise LineError(f"{build.name}: {error}") from error


def _learned(found: Subject) -> Subject:
    """Without rows of a class that was never learned: a metric may not know what to do."""
    if found.spec.task == "regression":
        return found
    rows = np.flatnonzero(np.isin(found.y, found.classes))
    if not len(rows):
        raise LineError("no held-out row is of a class that was learned")
    return replace(found, frame=found.frame.iloc[rows].reset_index(drop=True), y=found.y[rows])


@one_thread()
def explain(
    build: Path,
    spec: ModelSpec,
    project: Path,
    found: Importances,
    champion: tuple[str, Path] | None = None,
) -> tuple[Explanation, list[Any]]:
    """Everything beside the importances, and the pictures as they are to be saved.

    `champion` is its name and its build's folder; what it cannot score is not drawn, and told.
    """
    looked_at = subject(build, spec, project, spec.explanation.rows)
    hidden = spec.target in spec.reports.mask
    shown = [it.name for it in found.features if not hidden and it.name not in spec.reports.mask]
    dependence = dependences(looked_at, shown[: spec.explanation.top])
    values = attribution(looked_at) if spec.explanation.shap else None
    explanation = Explanation(
        build=build.name,
        importances=found,
        dependence=dependence,
        attribution=values or Attribution(why="not asked for"),
        notes=tuple(_notes(found, looked_at)),
    )
    drawn = features.of(explanation)
    if hidden:
        note = f"the target {spec.target} is masked: no picture shows answers"
        return _with(explanation, note), drawn
    scored, note = _scored(build, subject(build, spec, project, PICTURE_ROWS), champion)
    return _with(explanation, note), [*answers.of(scored, spec), *drawn]


def write(explanation: Explanation, drawn: list[Any], folder: Path) -> None:
    """`explanation.json` and a PNG for each picture."""
    pictures = tuple(save(it, folder) for it in drawn)
    whole = explanation.model_copy(update={"pictures": pictures})
    (folder / "explanation.json").write_text(whole.model_dump_json(indent=1))


def unexplained(build: str, spec: ModelSpec, why: str) -> Explanation:
    """Where nothing could be measured."""
    nothing = Importances(
        metric=spec.metric_name,
        greater_is_better=True,
        score=float("nan"),
        rows=0,
        held_out=0,
        features=(),
    )
    note = f"the build could not be explained: {why}"
    return Explanation(build=build, importances=nothing, notes=(note,))


def read(folder: Path) -> Explanation:
    """As it was written."""
    return Explanation.model_validate_json((folder / "explanation.json").read_bytes())


def _with(explanation: Explanation, note: str) -> Explanation:
    notes = (*explanation.notes, *([note] if note else []))
    return explanation.model_copy(update={"notes": notes})


def _notes(found: Importances, looked_at: Subject) -> Iterator[str]:
    if found.rest is not None:
        yield (
            f"{len(found.features):,} of {len(looked_at.columns):,} columns were looked at one by "
            "one: those that mattered most on other rows, where they were moved in blocks"
        )
    if found.left_out:
        yield f"the time was up before {len(found.left_out):,} columns: {_list(found.left_out)}"
    close = alike(looked_at)
    if close:
        pairs = [f"{a} and {b} ({rho:.2f})" for a, b, rho in close[:ALIKE_SHOWN]]
        yield (
            f"{len(close):,} pairs of columns tell nearly the same (rank correlation), and each of "
            f"a pair seems to matter less than both: {_list(pairs, len(close))}"
        )
    hidden = [it.name for it in looked_at.columns if it.name in looked_at.spec.reports.mask]
    if hidden:
        yield f"masked, so without a partial dependence: {_list(hidden)}"


def _list(names: Any, total: int | None = None) -> str:
    shown = [str(it) for it in names][:ALIKE_SHOWN]
    more = (len(names) if total is None else total) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")


def _scored(build: Path, found: Subject, champion: tuple[str, Path] | None) -> tuple[Scored, str]:
    """What the build says of its held-out rows, and the champion's scores of the same rows."""
    said, other, note = found.outputs(found.frame), None, ""
    if champion is not None and found.spec.task == "binary":
        try:
            other = _scores_of(champion[1], build, found)
        except (LineError, BundleError, OSError, ValueError, KeyError) as error:
            note = f"{champion[0]} is not drawn: {str(error).splitlines()[0]}"
    scored = Scored(
        target=found.spec.target,
        y=found.y,
        scores=said.scores,
        labels=said.labels,
        classes=found.classes,
        positive=found.positive,
        held_out=found.held_out,
        other=other,
        other_name=champion[0] if champion else "",
    )
    return scored, note


def _scores_of(theirs: Path, build: Path, found: Subject) -> Any:
    """Another build's scores of this one's rows; raises LineError if it cannot score them."""
    facts = builds.read_facts(theirs)
    if facts["classes"][facts["positive"]] != found.named:
        raise LineError("it scores another label")
    seed, columns = found.spec.seed, read_signature(theirs).columns
    table, _ = sample(build / HELD_OUT, PICTURE_ROWS, seed, len(found.columns))
    frame = tables.training_frame(table, columns)
    return training.outputs(builds.read_fitted(theirs), frame, "binary", facts["positive"]).scores
