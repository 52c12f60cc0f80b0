"""Two weeks of clean traffic, through monitors, policy and a real ledger: nobody is woken."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest
from incident_kit import Place, place_on
from support import REPOSITORY


def soak() -> Any:
    path = REPOSITORY / "benchmarks" / "monitoring" / "soak.py"
    spec = importlib.util.spec_from_file_location("soak", path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture(params=["sqlite"])
def place(request, tmp_path, monkeypatch) -> Iterator[Place]:
    with place_on(request, tmp_path, monkeypatch) as found:
        yield found


def test_two_weeks_of_clean_traffic_retrain_nothing(place):
    """A run an hour, so that it takes seconds; `soak.py` has one every quarter of an hour."""
    place.spec([{"kind": "data"}, {"kind": "drift"}])
    place.serve("1")
    runs = 0
    for outcomes in soak().soaked(2.0, seed=1, a_day=24):
        place.see("1", **outcomes)
        runs += 1
    assert runs == 14 * 24
    assert place.posted == []
    assert place.incidents == []
