"""Arrow streams as answers."""

from __future__ import annotations

import io

import nanoarrow as na
import numpy as np
from nanoarrow.ipc import StreamWriter

from serving.arrow import vectors
from serving.bundle import Manifest
from serving.engine import class_key
from serving.engines.base import Scored


def write_table(manifest: Manifest, ids: list[str], scored: Scored) -> bytes:
    """The answer: `id`, then `label` and a `probability.CLASS` each, or `value`."""
    scores = np.array(scored.scores, dtype=np.float64)
    scores = scores.reshape(len(ids), max(1, len(manifest.classes)))
    columns = {"id": vectors.texts(ids)}
    kinds: dict[str, na.Schema] = {"id": na.string()}
    if manifest.classes:
        kind = vectors.label_kind(manifest.classes)
        kinds["label"] = vectors.TYPES[kind]
        columns["label"] = vectors.labels(manifest.classes, kind, scored.labels)
        names = [f"probability.{class_key(label)}" for label in manifest.classes]
    else:
        names = ["value"]
    for position, name in enumerate(names):
        kinds[name] = na.float64()
        columns[name] = vectors.floats(scores[:, position])
    facts = {"andon.model": manifest.model, "andon.version": manifest.version}
    batch = vectors.batch(vectors.schema(kinds, facts), len(ids), list(columns.values()))
    out = io.BytesIO()
    with StreamWriter.from_writable(out) as writer:
        writer.write_stream(batch)
    return out.getvalue()
