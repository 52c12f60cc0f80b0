"""The bundle: a folder with all that a prediction server needs, and nothing more.

    manifest.json    who it is: model, version, task, classes, engine, format
    signature.json   the columns it takes
    samples.json     requests with their expected answers
    profile.json     the reference profile for monitoring
    parity.json      which engines were tried, and how they compared with the fitted pipeline
    (model files)    what the engine computes with, see `MODEL_FILES`
    checksums.json   SHA-256 of each file above; its own SHA-256 is the bundle's digest

docs/bundle.md has the details.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

T = TypeVar("T")

FORMAT = 2
CHECKSUMS = "checksums.json"
FILES = ("manifest.json", "signature.json", "samples.json", "profile.json", "parity.json")

Kind = Literal["number", "integer", "boolean", "category", "date"]


class BundleError(Exception):
    """The folder is not a bundle that may serve; the message names the file and why."""


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input column. `categories`, `low` and `high` are what training saw, not limits."""

    name: str
    kind: Kind
    nullable: bool = True
    categories: list[str] | None = None
    low: float | None = None
    high: float | None = None


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The columns in the order the model takes them."""

    columns: list[Column]


class Sklearn(msgspec.Struct, frozen=True, tag_field="kind", tag="sklearn"):
    """The scikit-learn pipeline itself: takes whatever skops can hold."""


class Linear(msgspec.Struct, frozen=True, tag_field="kind", tag="linear"):
    """Encoded columns and a line through them, in plain float64.

    `threshold`: binary, where the pipeline's own is not one half: the positive class is predicted
    from this probability on.
    """

    threshold: float | None = None


class Trees(msgspec.Struct, frozen=True, tag_field="kind", tag="trees"):
    """Encoded columns and an ensemble of trees, in ONNX Runtime with float64 thresholds."""

    threshold: float | None = None


class Onnx(msgspec.Struct, frozen=True, tag_field="kind", tag="onnx"):
    """Encoded columns, and whatever else skl2onnx converts."""

    threshold: float | None = None


Engine = Sklearn | Linear | Trees | Onnx
MODEL_FILES: dict[type[Engine], tuple[str, ...]] = {
    Sklearn: ("model.skops",),
    Linear: ("front.json", "linear.json"),
    Trees: ("front.json", "trees.json", "model.onnx"),
    Onnx: ("front.json", "onnx.json", "model.onnx"),
}


def kind_of(engine: Engine) -> str:
    """Its name, as the manifest has it."""
    return str(type(engine).__struct_config__.tag)


class LogPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The share of requests that the inference log keeps, and columns that it never holds."""

    sample: float = 1.0
    mask: list[str] = []


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who this bundle is. `classes` are in the order of the probabilities; empty: regression."""

    model: str
    version: str
    task: Literal["binary", "multiclass", "regression"]
    target: str
    build: str
    classes: list[str | int | bool] = []
    positive: int = -1
    engine: Engine = Sklearn()
    log: LogPolicy = LogPolicy()
    requirements: dict[str, str] = {}
    format: int = FORMAT


class Samples(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`records[i]` must be answered by `answers[i]` (an answer without its prediction id)."""

    records: list[dict[str, Any]]
    answers: list[dict[str, Any]]


def seal(folder: Path) -> str:
    """Write the checksums of a finished folder; returns the bundle's digest (hex)."""
    names = (*FILES, *MODEL_FILES[type(read_manifest(folder).engine)])
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    raw = msgspec.json.encode(sums, order="sorted")
    (folder / CHECKSUMS).write_bytes(raw)
    return hashlib.sha256(raw).hexdigest()


def verify(folder: Path) -> str:
    """Check every file against its checksum; returns the digest.

    Raises BundleError with the file that is missing or changed.
    """
    try:
        raw = (folder / CHECKSUMS).read_bytes()
        sums = msgspec.json.decode(raw, type=dict[str, str])
    except (OSError, msgspec.DecodeError) as error:
        raise BundleError(f"{folder / CHECKSUMS}: {error}") from None
    for name in (*FILES, *(it for it in sums if it not in FILES)):
        path = folder / name
        if not path.is_file():
            raise BundleError(f"{path}: missing")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != sums.get(name):
            raise BundleError(f"{path}: SHA-256 is {found}, expected {sums.get(name)}")
    return hashlib.sha256(raw).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Raises BundleError if it is missing, malformed or of another format."""
    manifest = _read(folder / "manifest.json", Manifest)
    if manifest.format != FORMAT:
        raise BundleError(
            f"{folder / 'manifest.json'}: format {manifest.format}, this server reads {FORMAT}"
        )
    return manifest


def read_signature(folder: Path) -> Signature:
    """Raises BundleError if it is missing or malformed."""
    return _read(folder / "signature.json", Signature)


def read_samples(folder: Path) -> Samples:
    """Raises BundleError if they are missing or malformed."""
    return _read(folder / "samples.json", Samples)


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise BundleError(f"{path}: {error}") from None
