"""The engine that always works: the scikit-learn pipeline, loaded without running anyone's code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.bundle import BundleError, Manifest, Signature
from serving.engines.base import Engine, Refused, Scored
from serving.frame import to_input
from serving.table import Row, Table

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


class SklearnEngine(Engine):
    """Walks the pipeline; dear for one row, cheap for each of many."""

    def __init__(self, pipeline: Any, manifest: Manifest, signature: Signature) -> None:
        self._columns = signature.columns
        self._regression = manifest.task == "regression"
        # The front end is walked once for labels and probabilities alike.
        steps = getattr(pipeline, "steps", None)
        self._front = pipeline[:-1] if steps and len(steps) > 1 else None
        self._model = steps[-1][1] if steps else pipeline
        self._positions = {} if self._regression else _positions(self._model, manifest)

    def row(self, row: Row) -> Scored:
        return self.table(Table.of_rows(self._columns, [row]))

    def table(self, table: Table) -> Scored:
        matrix: Any = to_input(table)
        if self._front is not None:
            matrix = _call(self._front.transform, matrix)
        scores = np.asarray(self._ask("predict" if self._regression else "predict_proba", matrix))
        scores = scores.astype(np.float64).reshape(table.n, -1)
        if not np.isfinite(scores).all():
            row = int(np.argwhere(~np.isfinite(scores))[0][0])
            raise Refused(f"row {row}: the model has no finite answer for these values")
        if self._regression:
            return Scored([], scores.tolist())
        labels = self._ask("predict", matrix).tolist()
        return Scored([self._positions[label] for label in labels], scores.tolist())

    def _ask(self, method: str, matrix: Any) -> NDArray[Any]:
        return np.asarray(_call(getattr(self._model, method), matrix))


def _call(method: Any, matrix: Any) -> Any:
    try:
        # Values near the end of float64 overflow on the way; the answer is checked instead.
        with np.errstate(all="ignore"):
            return method(matrix)
    except ValueError as error:
        # scikit-learn's word for input it does not take: an unknown category where the pipeline
        # says handle_unknown="error", a number too large for float32.
        raise Refused(str(error)) from error


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
