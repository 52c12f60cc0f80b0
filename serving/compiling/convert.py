"""Whatever else skl2onnx converts. Some of it is converted wrongly: only parity on data tells."""

from __future__ import annotations

import copy
import warnings
from typing import Any, Literal

import msgspec
import numpy as np

from serving.bundle import BundleError, Manifest
from serving.compiling.classes import check_classes, takes_nan
from serving.compiling.errors import CannotCompile
from serving.engines.onnx import Graph, open_session

OPSETS = {"": 18, "ai.onnx.ml": 3, "com.microsoft": 1}
Type = Literal["float64", "float32"]


def compile_onnx(estimators: list[Any], width: int, manifest: Manifest) -> dict[str, bytes]:
    """`onnx.json` and `model.onnx`: in float64 where that runs, or in float32.

    Raises CannotCompile with the library's reason.
    """
    from sklearn.pipeline import make_pipeline

    check_classes(estimators[-1], manifest)
    *first, last = estimators
    model = make_pipeline(*first, _unflattened(last)) if first else _unflattened(last)
    reasons = []
    numbers: tuple[Type, ...] = ("float64", "float32")
    for number in numbers:
        try:
            return _compiled(model, width, manifest, number)
        except CannotCompile as error:
            reasons.append(f"{number}: {error}")
    raise CannotCompile("; ".join(reasons))


def _compiled(model: Any, width: int, manifest: Manifest, number: Type) -> dict[str, bytes]:
    raw = _converted(model, width, number)
    try:
        session = open_session(raw)
    except BundleError as error:
        raise CannotCompile(f"ONNX Runtime: {error}") from None
    graph = Graph(
        width=width,
        type=number,
        outputs=[it.name for it in session.get_outputs()],
        labels=_labels(model, manifest),
        takes_nan=takes_nan(model, width),
    )
    _check_shapes(session, graph, manifest)
    return {"onnx.json": msgspec.json.encode(graph), "model.onnx": raw}


def _converted(model: Any, width: int, number: Type) -> bytes:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    tensor = DoubleTensorType if number == "float64" else FloatTensorType
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = to_onnx(
                model,
                name="model",
                initial_types=[("X", tensor([None, width]))],
                target_opset=OPSETS,
                options=_options(model),
            )
    except Exception as error:  # converters fail in ways of their own
        reason = " ".join(str(error).split())
        raise CannotCompile(f"skl2onnx: {type(error).__name__}: {reason:.300}") from None
    raw: bytes = graph.SerializeToString(deterministic=True)
    return raw


def _options(model: Any) -> dict[Any, dict[str, Any]]:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    # Distances by ONNX Runtime's own operator: a hundredth of the time, and the same bytes always.
    distances = {"optim": "cdist"}
    neighbours = (KNeighborsClassifier, KNeighborsRegressor, GaussianProcessRegressor)
    options: dict[Any, dict[str, Any]] = {kind: dict(distances) for kind in neighbours}
    if hasattr(model, "classes_"):
        own = distances if type(model) in neighbours else {}
        options[id(model)] = {"zipmap": False, **own}
    return options


def _unflattened(estimator: Any) -> Any:
    """Voting is converted only without an option that has nothing to do with predictions."""
    if getattr(estimator, "flatten_transform", False):
        estimator = copy.copy(estimator)
        estimator.flatten_transform = False
    return estimator


def _labels(model: Any, manifest: Manifest) -> list[str | int]:
    if not manifest.classes:
        return []
    labels = np.asarray(model.classes_).tolist()
    return [it if isinstance(it, str) else int(it) for it in labels]


def _check_shapes(session: Any, graph: Graph, manifest: Manifest) -> None:
    """One row of zeros is enough to see what comes out."""
    zeros = np.zeros((1, graph.width), dtype=graph.type)
    try:
        found = session.run(graph.outputs, {session.get_inputs()[0].name: zeros})
    except Exception as error:  # ONNX Runtime's errors have no class in common but this
        raise CannotCompile(f"ONNX Runtime: {error!s:.300}") from None
    sizes = [np.size(it) for it in found]
    if not graph.labels:
        fits = sizes == [1]
    else:
        fits = sizes == [1, len(manifest.classes)]
        fits = fits and np.ravel(found[0]).tolist()[0] in graph.labels
    if not fits:
        raise CannotCompile(f"the converted model gives {graph.outputs} of sizes {sizes}")
