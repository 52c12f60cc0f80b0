"""The engine: a bundle's pipeline, loaded without running anyone's code, and its answers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.bundle import (
    BundleError,
    Manifest,
    Signature,
    read_manifest,
    read_samples,
    read_signature,
    verify,
)
from serving.frame import to_input

# Types beyond skops's own list (scikit-learn's estimators, NumPy's and SciPy's ufuncs) that a
# model.skops may hold: data, and functions that do no more than look at arrays. skops leaves the
# trees out because crafted node numbers can crash a process; a bundle's checksums and samples stand
# between us and that. A partial or a scorer is as harmless as the function in it, which has to be
# on a list too.
TRUSTED = (
    "builtins.object",
    "functools.partial",
    "numpy.dtype",
    "numpy.number",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.feature_selection._univariate_selection.f_regression",
    "sklearn.metrics._classification.balanced_accuracy_score",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._scorer._CurveScorer",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.metrics._scorer._Scorer",
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.model_selection._split.TimeSeriesSplit",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils._metadata_requests.MetadataRequest",
    "sklearn.utils._metadata_requests.MethodMetadataRequest",
    "sklearn.utils.validation.check_array",
)
TOLERANCE = 1e-9  # other processors round the last bits another way
Answer = dict[str, Any]
Scores = NDArray[np.float64]


class Refused(Exception):
    """The pipeline itself does not take these (well-typed) records; says why."""


class Engine:
    """Answers records. Not safe to use from two threads at once."""

    def __init__(
        self, pipeline: Any, manifest: Manifest, signature: Signature, digest: str = ""
    ) -> None:
        self.manifest = manifest
        self.signature = signature
        self.digest = digest
        # The front end is walked once for labels and probabilities alike.
        steps = getattr(pipeline, "steps", None)
        self._front = pipeline[:-1] if steps and len(steps) > 1 else None
        self._model = steps[-1][1] if steps else pipeline
        self._keys = [class_key(label) for label in manifest.classes]
        if manifest.task != "regression":
            self._positions = _positions(self._model, manifest)

    def answer(self, records: list[dict[str, Any]]) -> list[Answer]:
        """`{"label", "probabilities"}` or `{"value"}` for each record; raises Refused."""
        matrix, scores = self._run(records)
        if self.manifest.task == "regression":
            return [{"value": value} for value in scores.tolist()]
        labels = self._ask("predict", matrix)
        classes = self.manifest.classes
        return [
            {
                "label": classes[self._positions[label]],
                "probabilities": dict(zip(self._keys, row, strict=True)),
            }
            for label, row in zip(labels.tolist(), scores.tolist(), strict=True)
        ]

    def outputs(self, answer: Answer) -> dict[str, Any]:
        """The answer in short, for the log: label and score (binary: of the positive), or value."""
        if self.manifest.task == "regression":
            return answer
        binary = self.manifest.task == "binary"
        label = self.manifest.classes[self.manifest.positive] if binary else answer["label"]
        return {"label": answer["label"], "score": answer["probabilities"][class_key(label)]}

    def scores(self, records: list[dict[str, Any]]) -> Scores:
        """The numbers alone: a row of probabilities, or a value, for each record."""
        return self._run(records)[1]

    def _run(self, records: list[dict[str, Any]]) -> tuple[Any, Scores]:
        matrix: Any = to_input(self.signature.columns, records)
        if self._front is not None:
            matrix = _call(self._front.transform, matrix)
        regression = self.manifest.task == "regression"
        scores = np.asarray(self._ask("predict" if regression else "predict_proba", matrix), float)
        if regression:
            scores = scores.reshape(len(records))
        if not np.isfinite(scores).all():
            row = int(np.argwhere(~np.isfinite(scores))[0][0])
            raise Refused(f"row {row}: the model has no finite answer for these values")
        return matrix, scores

    def _ask(self, method: str, matrix: Any) -> Any:
        return _call(getattr(self._model, method), matrix)


def _call(method: Any, matrix: Any) -> Any:
    try:
        # Values near the end of float64 overflow on the way; the answer is checked instead.
        with np.errstate(all="ignore"):
            return method(matrix)
    except ValueError as error:
        # scikit-learn's word for input it does not take: an unknown category where the pipeline
        # says handle_unknown="error", a number too large for float32.
        raise Refused(str(error)) from error


def class_key(label: str | int | bool) -> str:
    """A class as a key of `probabilities`: text as it is, others as JSON writes them."""
    return label if isinstance(label, str) else json.dumps(label)


def _positions(model: Any, manifest: Manifest) -> dict[Any, int]:
    """Where in the manifest's classes each label that the model predicts stands."""
    if not hasattr(model, "predict_proba"):
        raise BundleError(f"{type(model).__name__} gives no probabilities; use one that does")
    fitted = np.asarray(model.classes_).tolist()
    classes: list[Any] = list(manifest.classes)
    if fitted not in (classes, list(range(len(classes)))):
        raise BundleError(f"manifest.json: classes are {classes}, the model's are {fitted}")
    return {label: position for position, label in enumerate(fitted)}


def read_model(path: Path) -> Any:
    """The pipeline in a model.skops; raises BundleError naming the types that are not trusted."""
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    try:
        return skops.io.load(path, trusted=list(TRUSTED))
    except UntrustedTypesFoundException:
        found = set(skops.io.get_untrusted_types(file=path)) - set(TRUSTED)
        raise BundleError(f"{path}: holds types that are not trusted: {sorted(found)}") from None
    except Exception as error:
        raise BundleError(f"{path}: cannot be loaded: {type(error).__name__}: {error}") from error


def assemble(folder: Path, digest: str = "") -> Engine:
    """The engine of a folder whose files are there, but not proven to be right."""
    pipeline = read_model(folder / "model.skops")
    return Engine(pipeline, read_manifest(folder), read_signature(folder), digest)


def load(bundle: Path) -> Engine:
    """The engine of a bundle that is untouched and answers its own samples as its author did.

    Raises BundleError.
    """
    digest = verify(bundle)
    engine = assemble(bundle, digest)
    samples = read_samples(bundle)
    path = bundle / "samples.json"
    if not samples.records or len(samples.records) != len(samples.answers):
        raise BundleError(f"{path}: needs as many answers as records, and at least one")
    try:
        found = engine.answer(samples.records)
    except Exception as error:  # whatever it is, it is not a bundle that may serve
        reason = f"{type(error).__name__}: {error}"
        raise BundleError(f"{path}: the model fails on its own samples: {reason}") from error
    for number, (answer, expected) in enumerate(zip(found, samples.answers, strict=True)):
        if not same(answer, expected):
            raise BundleError(f"{path}: sample {number}: {answer}, expected {expected}")
    return engine


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
