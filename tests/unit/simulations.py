"""The simulations behind docs/statistics.md; the tests run them with fewer trials."""

from __future__ import annotations

import importlib.util

from support import REPOSITORY

_PATH = REPOSITORY / "benchmarks" / "monitoring" / "simulate.py"
_spec = importlib.util.spec_from_file_location("simulate", _PATH)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)

alarm_rate = _module.alarm_rate
compared = _module.compared
drifted = _module.drifted
watched = _module.watched
