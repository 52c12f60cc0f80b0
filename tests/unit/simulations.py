"""The simulations behind docs/statistics.md; the tests run them with fewer trials."""

from __future__ import annotations

import importlib.util
from typing import Any

from support import REPOSITORY

_FOLDER = REPOSITORY / "benchmarks" / "monitoring"


def _module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, _FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


_simulate, _rates = _module("simulate"), _module("rates")

compared = _simulate.compared
watched = _simulate.watched
bare = _rates.bare
incidents = _rates.incidents
scheduled = _rates.scheduled
share = _rates.share
single = _rates.single
SHIFT = _rates.SCENES["3 numbers move by 0.1, 0.15 and 0.2 sd"]
NULLS = _rates.SCENES["1 number has 3 points more nulls"]
