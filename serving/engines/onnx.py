"""ONNX Runtime: opened with one thread, little memory and no chatter; and the engine made of it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.bundle import BundleError, Manifest, Signature
from serving.engines.base import Engine, Refused, Scored, label_of
from serving.engines.front import Front
from serving.table import Numbers, Row, Table

FATAL_ONLY = 4  # what goes wrong is raised; there is no need to print it too
Run = Callable[[Numbers], NDArray[np.float64]]


class Graph(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`onnx.json`: how to ask a converted model. `labels`: as it names the classes, in order."""

    width: int
    type: Literal["float64", "float32"]
    outputs: list[str]  # the value; or the label and the probabilities
    labels: list[str | int] = []
    takes_nan: bool = False


class OnnxEngine(Engine):
    """Front end, then the converted model.

    Rows are run one by one: matrix products of several round differently from those of one.
    """

    def __init__(self, front: Any, session: Any, graph: Graph, manifest: Manifest) -> None:
        self._front = front
        self._ask = session.run
        self._input = session.get_inputs()[0].name
        self._type = np.dtype(graph.type)
        self._outputs = graph.outputs
        self._takes_nan = graph.takes_nan
        self._positions = {label: place for place, label in enumerate(graph.labels)}
        self._threshold = getattr(manifest.engine, "threshold", None)
        self._positive = manifest.positive

    def row(self, row: Row) -> Scored:
        label, scores = self._one(self._front.row(row), 0)
        return Scored([] if label is None else [label], [scores])

    def table(self, table: Table) -> Scored:
        rows = self._front.table(table).tolist()
        answers = [self._one(features, row) for row, features in enumerate(rows)]
        labels = [label for label, _ in answers if label is not None]
        return Scored(labels, [scores for _, scores in answers])

    def _one(self, features: list[float], row: int) -> tuple[int | None, list[float]]:
        with np.errstate(over="ignore"):
            given = np.array([features], dtype=self._type)
        if not np.isfinite(given).all():
            self._refuse(given, row)
        try:
            found = self._ask(self._outputs, {self._input: given})
        except Exception as error:  # its errors have no class in common but this
            raise Refused(f"row {row}: the model cannot be computed: {error!s:.200}") from None
        scores: list[float] = found[-1].reshape(-1).tolist()
        if not np.isfinite(scores).all():
            raise Refused(f"row {row}: the model has no finite answer for these values")
        if not self._positions:
            return None, scores
        if self._threshold is not None:
            return label_of(scores, self._threshold, self._positive), scores
        return self._positions[found[0].reshape(-1).tolist()[0]], scores

    def _refuse(self, given: NDArray[Any], row: int) -> None:
        infinite = bool(np.isinf(given).any())
        if infinite or not self._takes_nan:
            what = f"a value too large for {self._type}" if infinite else "null"
            raise Refused(f"row {row}: the model takes no {what}")


def open_session(source: Path | bytes) -> Any:
    """A session for one request at a time; raises BundleError."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = FATAL_ONLY
    options.enable_cpu_mem_arena = False
    model = source if isinstance(source, bytes) else str(source)
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no class in common but this
        name = "model.onnx" if isinstance(source, bytes) else source
        raise BundleError(f"{name}: {type(error).__name__}: {error}") from None
    _give_back()
    return session


def _give_back() -> None:
    """Reading a forest takes several times its size, which the allocator would keep."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # another C library has none
        return


def open_trees(path: Path, width: int, outputs: int) -> Run:
    """A model of X, double (n, width), to Y, double (n, outputs); raises BundleError."""
    session = open_session(path)
    found = [(it.name, it.type, it.shape[1:]) for it in session.get_inputs()]
    found += [(it.name, it.type, it.shape[1:]) for it in session.get_outputs()]
    expected = [("X", "tensor(double)", [width]), ("Y", "tensor(double)", [outputs])]
    if found != expected:
        raise BundleError(f"{path}: takes and gives {found}, expected {expected}")
    ask, names = session.run, ["Y"]
    return lambda features: ask(names, {"X": features})[0]


def load_onnx(folder: Path, manifest: Manifest, signature: Signature) -> OnnxEngine:
    """Raises BundleError if a file is malformed or does not fit the others."""
    front = Front.load(folder / "front.json", signature)
    path = folder / "onnx.json"
    try:
        graph = msgspec.json.decode(path.read_bytes(), type=Graph)
    except (OSError, msgspec.DecodeError) as error:
        raise BundleError(f"{path}: {error}") from None
    session = open_session(folder / "model.onnx")
    names = [it.name for it in session.get_outputs()]
    if graph.width != front.width or len(graph.labels) != len(manifest.classes):
        raise BundleError(f"{path}: does not fit front.json and manifest.json")
    if not set(graph.outputs) <= set(names):
        raise BundleError(f"{path}: outputs {graph.outputs} are not among model.onnx's {names}")
    return OnnxEngine(front, session, graph, manifest)
