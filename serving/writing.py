"""The author's side of a bundle: from a fitted pipeline to a sealed folder."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.archive import dump
from serving.bundle import BundleError, Manifest, Samples, Signature, Sklearn, kind_of, seal
from serving.compiling.choose import choose
from serving.compiling.parity import Tried, report
from serving.compiling.rows import joined
from serving.decode import Decoder
from serving.engine import TOLERANCE, Model, Refused, Scores, assemble
from serving.frame import to_table
from serving.problem import Problem
from serving.table import Table

PARITY = 1e-6  # how far a compiled engine's scores may be from the pipeline's
ALONE = 20  # samples that are also scored one by one
# What only matters while fitting or on its author's machine, and what it is while serving.
_SETTINGS: dict[str, Any] = {"n_jobs": None, "memory": None, "verbose": 0}
# Names of columns, and pandas as output: the server has neither.
_FORGET = ("feature_names_in_", "_sklearn_output_config")


def positional(pipeline: Any) -> Any:
    """A copy that takes a matrix: ColumnTransformers select by position, not by name.

    Wherever they stand. A search is replaced by the best estimator it found. Nothing that was
    learnt changes.
    """
    best = _unwrap(pipeline)
    twin = copy.deepcopy(best)
    for estimator in list(_estimators(twin, set())):
        attributes = vars(estimator)
        if hasattr(estimator, "steps"):
            estimator.steps = [(name, _unwrap(step)) for name, step in estimator.steps]
        if "_transformer_to_input_indices" in attributes:
            _select_by_position(estimator)
        for name in _FORGET:
            attributes.pop(name, None)
        attributes.update({k: v for k, v in _SETTINGS.items() if k in attributes})
    return twin


def _unwrap(estimator: Any) -> Any:
    while hasattr(estimator, "best_estimator_"):
        estimator = estimator.best_estimator_
    return estimator


def _select_by_position(transformer: Any) -> None:
    positions = transformer._transformer_to_input_indices

    def where(name: str, columns: Any) -> Any:
        # A single name selects a vector, a list of one name a matrix; so do numbers.
        found = [int(position) for position in positions.get(name, [])]
        return found[0] if np.isscalar(columns) and found else found

    fitted = [
        (name, step, where(name, columns)) for name, step, columns in transformer.transformers_
    ]
    chosen = {name: columns for name, _, columns in fitted}
    transformer.transformers_ = fitted
    # Not used any more, but it may hold functions that chose the columns.
    transformer.transformers = [
        (name, "drop" if step == "drop" else "passthrough", chosen.get(name, []))
        for name, step, _ in transformer.transformers
    ]


def _estimators(value: Any, seen: set[int]) -> Iterator[Any]:
    """Every estimator inside `value`, at any depth."""
    from sklearn.base import BaseEstimator

    if id(value) in seen:
        return
    seen.add(id(value))
    inside: list[Any] = []
    if isinstance(value, BaseEstimator):
        yield value
        inside = list(vars(value).values())
    elif isinstance(value, dict):
        inside = list(value.values())
    elif isinstance(value, list | tuple):
        inside = list(value)
    elif isinstance(value, np.ndarray) and value.dtype == object:
        inside = [item for item in value.flat if isinstance(item, BaseEstimator)]
    elif hasattr(value, "__dict__") and type(value).__module__.startswith("sklearn."):
        inside = list(vars(value).values())
    for item in inside:
        yield from _estimators(item, seen)


@dataclass(frozen=True)
class Written:
    """A sealed bundle: its digest, its engine's kind, and how each engine that was tried did."""

    digest: str
    engine: str
    tried: list[Tried]


def write_bundle(  # noqa: PLR0913 - it is all a bundle is made of
    folder: Path,
    *,
    manifest: Manifest,
    signature: Signature,
    pipeline: Any,
    samples_records: list[dict[str, Any]],
    profile: bytes,
    expected: NDArray[Any],
    evaluation: Table | None = None,
    tolerance: float = PARITY,
    engines: Sequence[str] | None = None,
) -> Written:
    """Write a bundle into `folder`; the same inputs give the same digest.

    `expected` are the scores that `pipeline` itself gives for the samples' rows of the training
    frame: values, or probabilities, a row of them or one each (the positive's; multiclass: the
    highest). `evaluation` are rows, beyond the samples, on which compiled engines have to agree
    with the pipeline within `tolerance`; `engines` are the kinds that may be taken (default: all).
    Raises BundleError if the reloaded pipeline answers otherwise, takes the samples otherwise, or
    holds types that are not trusted, and if no engine in `engines` will do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = _checked(signature, samples_records)
    _write(folder / "manifest.json", msgspec.structs.replace(manifest, engine=Sklearn()))
    _write(folder / "signature.json", signature)
    (folder / "profile.json").write_bytes(profile)
    twin = positional(pipeline)
    dump(twin, folder / "model.skops")
    _prove(assemble(folder), records, np.asarray(expected, dtype=float))
    rows = to_table(signature.columns, records)
    choice = choose(
        twin,
        assemble(folder).engine,
        manifest,
        signature,
        rows if evaluation is None else joined(rows, evaluation),
        tolerance=tolerance,
        engines=engines,
    )
    for name, content in choice.files.items():
        (folder / name).write_bytes(content)
    if choice.files:
        (folder / "model.skops").unlink()
    _write(folder / "manifest.json", msgspec.structs.replace(manifest, engine=choice.engine))
    (folder / "parity.json").write_bytes(report(choice.tried, tolerance))
    answers = assemble(folder).answer(records)
    _write(folder / "samples.json", Samples(records=records, answers=answers))
    return Written(seal(folder), kind_of(choice.engine), choice.tried)


def _prove(model: Model, records: list[dict[str, Any]], expected: Scores) -> None:
    """Raises BundleError unless the reloaded pipeline scores as it did on the training frame."""
    try:
        scores = model.scores(records)
        _equal(model, scores, expected)
        for number, record in enumerate(records[:ALONE]):
            _alone(number, model.scores([record])[0], scores[number])
    except Refused as error:
        raise BundleError(f"the pipeline refuses a sample: {error}") from error


def _checked(signature: Signature, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The samples as a server will read them, dates still being text."""
    try:
        body = msgspec.json.encode({"records": records})
        rows = Decoder(signature, max_rows=max(1, len(records))).decode(body)
    except (Problem, TypeError) as error:
        raise BundleError(f"samples.json: not a request this model takes: {error}") from error
    assert isinstance(rows, list)  # noqa: S101 - as records they were sent
    return [
        {
            column.name: record.get(column.name) if column.kind == "date" else cell
            for column, cell in zip(signature.columns, row, strict=True)
        }
        for record, row in zip(records, rows, strict=True)
    ]


def _equal(engine: Model, scores: Scores, expected: Scores) -> None:
    classes = len(engine.manifest.classes)
    task = engine.manifest.task
    if task != "regression" and expected.ndim == 1:
        binary = task == "binary"
        scores = scores[:, engine.manifest.positive] if binary else scores.max(axis=1)
    if scores.shape != expected.shape:
        raise BundleError(
            f"expected scores have shape {expected.shape}, the bundle's {scores.shape}"
            f" ({classes} classes)"
        )
    differ = ~np.isclose(scores, expected, rtol=TOLERANCE, atol=TOLERANCE)
    if differ.any():
        row = int(np.argwhere(differ)[0][0])
        raise BundleError(
            f"model.skops: sample {row} is scored {scores[row]} as a bundle and {expected[row]} by "
            "the pipeline on the training frame: a step depends on more than a row's values"
        )


def _alone(number: int, alone: Any, together: Any) -> None:
    if not np.allclose(alone, together, rtol=TOLERANCE, atol=TOLERANCE):
        raise BundleError(
            f"model.skops: sample {number} is scored {alone} alone and {together} among others: "
            "a step depends on the other rows of a request"
        )


def _write(path: Path, content: msgspec.Struct) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")
