"""A bundle, loaded: who it is, and what answers its requests."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving import bundle as kinds
from serving.bundle import (
    BundleError,
    Manifest,
    Signature,
    read_manifest,
    read_samples,
    read_signature,
    verify,
)
from serving.engines.base import Engine, Refused, Scored
from serving.frame import to_table

TOLERANCE = 1e-9  # other processors round the last bits another way
Answer = dict[str, Any]
Scores = NDArray[np.float64]
__all__ = ["Answer", "Model", "Refused", "assemble", "class_key", "load", "same"]


class Model:
    """A bundle's engine, and the names of what it computes."""

    def __init__(
        self, engine: Engine, manifest: Manifest, signature: Signature, digest: str = ""
    ) -> None:
        self.engine = engine
        self.manifest = manifest
        self.signature = signature
        self.digest = digest
        self.kind = kinds.kind_of(manifest.engine)
        self.keys = [class_key(label) for label in manifest.classes]

    def answer(self, records: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """`{"label", "probabilities"}` or `{"value"}` for each record; raises Refused."""
        return self.named(self.engine.table(to_table(self.signature.columns, records)))

    def scores(self, records: Sequence[Mapping[str, Any]]) -> Scores:
        """The numbers alone: a row of probabilities, or a value, for each record."""
        scored = self.engine.table(to_table(self.signature.columns, records))
        scores = np.array(scored.scores, dtype=np.float64)
        return scores[:, 0] if self.manifest.task == "regression" else scores

    def named(self, scored: Scored, ids: Sequence[str] | None = None) -> list[Answer]:
        """Numbers, with the names of the classes, and the ids of the predictions if there are."""
        labels, scores = scored
        named: list[Answer] = [{} for _ in scores] if ids is None else [{"id": it} for it in ids]
        if not self.keys:
            for answer, (value,) in zip(named, scores, strict=True):
                answer["value"] = value
            return named
        classes, keys = self.manifest.classes, self.keys
        for answer, label, row in zip(named, labels, scores, strict=True):
            answer["label"] = classes[label]
            answer["probabilities"] = dict(zip(keys, row, strict=True))
        return named


def class_key(label: str | int | bool) -> str:
    """A class as a key of `probabilities`: text as it is, others as JSON writes them."""
    return label if isinstance(label, str) else json.dumps(label)


def _sklearn(folder: Path, manifest: Manifest, signature: Signature) -> Engine:
    from serving.engines.sklearn import SklearnEngine, read_model

    return SklearnEngine(read_model(folder / "model.skops"), manifest, signature)


def _linear(folder: Path, manifest: Manifest, signature: Signature) -> Engine:
    from serving.engines.linear import LinearEngine

    return LinearEngine.load(folder, manifest, signature)


def _trees(folder: Path, manifest: Manifest, signature: Signature) -> Engine:
    from serving.engines.trees import load_trees

    return load_trees(folder, manifest, signature)


def _onnx(folder: Path, manifest: Manifest, signature: Signature) -> Engine:
    from serving.engines.onnx import load_onnx

    return load_onnx(folder, manifest, signature)


# Imported when asked for: a server loads the libraries of its own engine only.
_LOADERS: dict[type[kinds.Engine], Callable[[Path, Manifest, Signature], Engine]] = {
    kinds.Sklearn: _sklearn,
    kinds.Linear: _linear,
    kinds.Trees: _trees,
    kinds.Onnx: _onnx,
}


def assemble(folder: Path, digest: str = "") -> Model:
    """The model of a folder whose files are there, but not proven to be right."""
    manifest, signature = read_manifest(folder), read_signature(folder)
    engine = _LOADERS[type(manifest.engine)](folder, manifest, signature)
    return Model(engine, manifest, signature, digest)


def load(bundle: Path) -> Model:
    """The model of a bundle that is untouched and answers its own samples as its author did.

    Raises BundleError.
    """
    model = assemble(bundle, verify(bundle))
    check_samples(model, bundle)
    return model


def check_samples(model: Model, bundle: Path) -> None:
    """Raises BundleError unless the samples are answered as their author saw."""
    samples = read_samples(bundle)
    path = bundle / "samples.json"
    if not samples.records or len(samples.records) != len(samples.answers):
        raise BundleError(f"{path}: needs as many answers as records, and at least one")
    try:
        found = model.answer(samples.records)
    except Exception as error:  # whatever it is, it is not a bundle that may serve
        reason = f"{type(error).__name__}: {error}"
        raise BundleError(f"{path}: the model fails on its own samples: {reason}") from error
    for number, (answer, expected) in enumerate(zip(found, samples.answers, strict=True)):
        if not same(answer, expected):
            raise BundleError(f"{path}: sample {number}: {answer}, expected {expected}")


def same(answer: Answer, expected: Answer) -> bool:
    """Equal labels, and numbers that differ by rounding at most."""
    if answer.keys() != expected.keys() or answer.get("label") != expected.get("label"):
        return False
    numbers, others = (
        a.get("probabilities") or {"value": a.get("value")} for a in (answer, expected)
    )
    return numbers.keys() == others.keys() and all(
        math.isclose(numbers[key], others[key], rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        for key in numbers
    )
