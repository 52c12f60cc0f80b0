"""What every engine's compiler asks of an estimator."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from serving.bundle import Manifest
from serving.compiling.errors import CannotCompile


def check_classes(estimator: Any, manifest: Manifest) -> None:
    """Raises CannotCompile unless it predicts the manifest's classes, or their positions."""
    fitted = getattr(estimator, "classes_", None)
    if fitted is None and manifest.task == "regression":
        return
    found = None if fitted is None else np.asarray(fitted).tolist()
    if found not in (list(manifest.classes), list(range(len(manifest.classes)))):
        raise CannotCompile(f"classes are {manifest.classes}, the model's are {found}")


def takes_nan(estimator: Any, width: int) -> bool:
    """The estimator's own rule, by asking it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            estimator.predict(np.full((1, width), np.nan))
        except ValueError:
            return False
    return True
