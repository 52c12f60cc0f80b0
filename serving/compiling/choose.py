"""Which engine serves a pipeline: the fastest that is proven to answer as the pipeline does."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from serving import bundle as kinds
from serving.bundle import BundleError, Manifest, Signature
from serving.compiling.edge_rows import edge_rows
from serving.compiling.errors import CannotCompile
from serving.compiling.front import CompiledFront, compile_front
from serving.compiling.linear import REFERENCE, compile_linear
from serving.compiling.parity import (
    MOST,
    Outcome,
    Rows,
    Tried,
    Verdict,
    compare,
    measured,
    outcome,
)
from serving.compiling.parts import Parts, take_apart
from serving.compiling.rows import joined, rows_of, taken
from serving.engine import assemble
from serving.engines.base import Engine
from serving.table import Table

Files = dict[str, bytes]
# In the order of the time that a row takes, the least first, as benchmarks/serving measures it. The
# order is fixed, for a bundle's digest must not hang on a clock.
COMPILED: dict[str, type[kinds.Linear | kinds.Trees | kinds.Onnx]] = {
    "linear": kinds.Linear,
    "trees": kinds.Trees,
    "onnx": kinds.Onnx,
}
KINDS = (*COMPILED, "sklearn")
BASE = 1_000  # rows that edge rows are variations of


@dataclass
class Choice:
    """The engine's part of the manifest, its files (none: the pipeline itself), what was tried."""

    engine: kinds.Engine = field(default_factory=kinds.Sklearn)
    files: Files = field(default_factory=dict)
    tried: list[Tried] = field(default_factory=list)


def choose(
    pipeline: Any,
    reference: Engine,
    manifest: Manifest,
    signature: Signature,
    evaluation: Table,
    *,
    tolerance: float,
    engines: Sequence[str] | None = None,
) -> Choice:
    """The first of `engines` that passes the parity gate; `reference` answers for the pipeline.

    Raises BundleError if none does, which can only be where scikit-learn is not among them.
    """
    allowed = KINDS if engines is None else tuple(engines)
    if not set(allowed) <= set(KINDS):
        raise BundleError(f"engines: found {list(allowed)}, allowed: {', '.join(KINDS)}")
    evaluation = taken(evaluation, slice(0, MOST))
    gate = _Gate(reference, signature, evaluation, tolerance)
    compiler = _Compiler(pipeline, manifest, signature, evaluation)
    choice = Choice()
    for kind in (it for it in COMPILED if it in allowed):
        try:
            engine, files = compiler(kind)
            tried = gate.tried(kind, _assembled(engine, files, manifest, signature))
        except (CannotCompile, BundleError) as error:
            choice.tried.append(Tried(Verdict(kind, False, str(error))))
            continue
        except Exception as error:  # whatever it is: the pipeline itself can still serve
            reason = f"{type(error).__name__}: {error:.500}"
            choice.tried.append(Tried(Verdict(kind, False, reason)))
            continue
        choice.tried.append(tried)
        if tried.verdict.accepted:
            choice.engine, choice.files = engine, files
            break
    if "sklearn" in allowed:
        choice.tried.append(gate.measured(Verdict("sklearn", True), reference))
    elif not choice.files:
        reasons = "; ".join(f"{it.verdict.kind}: {it.verdict.reason}" for it in choice.tried)
        raise BundleError(f"no engine but scikit-learn would do: {reasons}")
    return choice


class _Compiler:
    """Compiles one pipeline, whose front end is the same for all kinds."""

    def __init__(
        self, pipeline: Any, manifest: Manifest, signature: Signature, evaluation: Table
    ) -> None:
        self._pipeline, self._manifest = pipeline, manifest
        self._signature, self._evaluation = signature, evaluation

    @cached_property
    def _parts(self) -> Parts:
        return take_apart(self._pipeline, self._manifest.positive)

    @cached_property
    def _front(self) -> CompiledFront:
        return compile_front(self._parts.steps, self._signature)

    def __call__(self, kind: str) -> tuple[kinds.Engine, Files]:
        """Raises CannotCompile."""
        engine = COMPILED[kind](self._parts.threshold)
        manifest = msgspec.structs.replace(self._manifest, engine=engine)
        front = self._front
        files = {"front.json": front.content}
        if kind == "linear":
            few = rows_of(self._signature, taken(self._evaluation, slice(0, REFERENCE)))
            return engine, compile_linear(front, manifest, self._signature, few)
        if kind == "trees":
            from serving.compiling.trees import compile_trees

            return engine, files | compile_trees(front.only(), front.width, manifest)
        from serving.compiling.convert import compile_onnx

        return engine, files | compile_onnx(front.rest, front.width, manifest)


class _Gate:
    """The rows, and the pipeline's answers to them, which are asked for once, if at all."""

    def __init__(
        self, reference: Engine, signature: Signature, evaluation: Table, tolerance: float
    ) -> None:
        self._reference, self._tolerance = reference, tolerance
        self._evaluation = Rows(signature, evaluation, 0)
        self._right: Outcome | None = None

    @cached_property
    def _rows(self) -> Rows:
        evaluation, signature = self._evaluation.table, self._evaluation.signature
        edges = edge_rows(signature, taken(evaluation, slice(0, BASE)))
        return Rows(signature, joined(evaluation, edges), edges.n)

    def tried(self, kind: str, engine: Engine) -> Tried:
        mine = outcome(engine, self._rows.table)
        if self._right is None:
            # What a compiled engine refuses is likely to be refused, whoever is right.
            self._right = outcome(self._reference, self._rows.table, sorted(mine.refused))
        verdict = compare(kind, engine, self._rows, mine, self._right, self._tolerance)
        return self.measured(verdict, engine)

    def measured(self, verdict: Verdict, engine: Engine) -> Tried:
        return measured(verdict, engine, self._evaluation)


def _assembled(
    engine: kinds.Engine, files: Files, manifest: Manifest, signature: Signature
) -> Engine:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        manifest = msgspec.structs.replace(manifest, engine=engine)
        (folder / "manifest.json").write_bytes(msgspec.json.encode(manifest))
        (folder / "signature.json").write_bytes(msgspec.json.encode(signature))
        return assemble(folder).engine
