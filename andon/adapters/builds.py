"""What training left in a build's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from andon.adapters.files import file_hash
from andon.adapters.trainer import FACTS, MODEL, MODEL_HASH
from andon.errors import DataError


def read_facts(folder: Path) -> dict[str, Any]:
    """Metrics, classes, rows and more, by name."""
    found: dict[str, Any] = json.loads((folder / FACTS).read_text())
    return found


def read_fitted(folder: Path) -> Any:
    """The pipeline; raises DataError if it is not the one that was fitted."""
    from serving.engines.sklearn import read_model

    # Builds of an earlier Andon have no hash; what they hold is still only of trusted types.
    wanted, found = read_facts(folder).get(MODEL_HASH), file_hash(folder / MODEL)
    if wanted not in (None, found):
        raise DataError(
            f"{folder / MODEL}: its SHA-256 is {found}, the one that was fitted has {wanted}: "
            f"somebody or something changed it; remove {folder} and deliver again"
        )
    return read_model(folder / MODEL)
