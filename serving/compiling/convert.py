"""Whatever else skl2onnx converts. Some of it is converted wrongly: only parity on data tells."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import msgspec
import numpy as np

from serving.bundle import BundleError, Manifest
from serving.compiling.classes import check_classes, takes_nan
from serving.compiling.errors import CannotCompile
from serving.engines.onnx import Graph, open_session

OPSETS = {"": 18, "ai.onnx.ml": 3}
Type = Literal["float64", "float32"]


def compile_onnx(estimators: list[Any], width: int, manifest: Manifest) -> dict[str, bytes]:
    """`onnx.json` and `model.onnx`: in float64 where that runs, or in float32.

    Raises CannotCompile with the library's reason.
    """
    from sklearn.pipeline import make_pipeline

    check_classes(estimators[-1], manifest)
    model = estimators[0] if len(estimators) == 1 else make_pipeline(*estimators)
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
    options = {"zipmap": False} if hasattr(model, "classes_") else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = to_onnx(
                model,
                name="model",
                initial_types=[("X", tensor([None, width]))],
                target_opset=OPSETS,
                options=None if options is None else {id(model): options},
            )
    except Exception as error:  # converters fail in ways of their own
        reason = " ".join(str(error).split())
        raise CannotCompile(f"skl2onnx: {type(error).__name__}: {reason:.300}") from None
    raw: bytes = graph.SerializeToString(deterministic=True)
    return raw


def _labels(model: Any, manifest: Manifest) -> list[str | int]:
    if not manifest.classes:
        return []
    labels = np.asarray(model.classes_).tolist()
    return [it if isinstance(it, str) else int(it) for it in labels]


def _check_shapes(session: Any, graph: Graph, manifest: Manifest) -> None:
    """Two rows of zeros are enough to see what comes out."""
    zeros = np.zeros((2, graph.width), dtype=graph.type)
    try:
        found = session.run(graph.outputs, {session.get_inputs()[0].name: zeros})
    except Exception as error:  # ONNX Runtime's errors have no class in common but this
        raise CannotCompile(f"ONNX Runtime: {error!s:.300}") from None
    shapes = [getattr(it, "shape", None) for it in found]
    if manifest.task == "regression":
        fits = shapes in ([(2, 1)], [(2,)])
    else:
        fits = shapes == [(2,), (2, len(manifest.classes))] and set(found[0].tolist()) <= set(
            graph.labels
        )
    if not fits:
        raise CannotCompile(f"the converted model gives {graph.outputs} of shapes {shapes}")
