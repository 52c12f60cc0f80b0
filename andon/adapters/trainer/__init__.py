"""Training, in a process of its own: the project's code never runs in the line's.

python -m andon.adapters.trainer request.json
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from andon.spec import Frozen, ModelSpec

LEARN, HELD_OUT, SIGNATURE = "learn.parquet", "held_out.parquet", "signature.json"
MODEL, FACTS, PROFILE = "model.skops", "facts.json", "profile.json"
MODEL_HASH = "sha256"  # of the model, in the facts


class Request(Frozen):
    """What is trained: a split's folder in, a build's folder out."""

    project: Path
    spec: ModelSpec
    split: Path
    folder: Path
    cpus: int

    def message(self) -> dict[str, Any]:
        """As JSON, without what nobody has set: validators may ask what was."""
        return self.model_dump(mode="json", exclude_unset=True)
