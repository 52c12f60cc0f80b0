"""Fixtures for a model project's tests: the build that is under test.

A test that asks for one of them is skipped where there is no build, as in a plain `pytest`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import pandas as pd


@pytest.fixture(scope="session")
def build() -> Path:
    """The build's folder."""
    folder = os.environ.get("ANDON_BUILD")
    if not folder:
        pytest.skip("there is no build here: the line gives one to these tests")
    return Path(folder)


@pytest.fixture(scope="session")
def model(build: Path) -> Any:
    """The fitted pipeline."""
    from andon.adapters.builds import read_fitted

    return read_fitted(build)


@pytest.fixture(scope="session")
def facts(build: Path) -> dict[str, Any]:
    """What training wrote down: metrics, classes, rows."""
    from andon.adapters.builds import read_facts

    return read_facts(build)


@pytest.fixture
def held_out(build: Path) -> pd.DataFrame:
    """The features of the held-out rows, as the pipeline takes them."""
    import polars as pl

    from andon.adapters import tables
    from serving.bundle import read_signature

    table = pl.read_parquet(build / "held_out.parquet")
    return tables.training_frame(table, read_signature(build).columns)


@pytest.fixture
def truth(build: Path) -> Any:
    """The target of the held-out rows."""
    import polars as pl

    from andon.adapters import tables
    from andon.adapters.files import load_spec

    spec = load_spec(Path(os.environ["ANDON_PROJECT"]), os.environ["ANDON_MODEL"])
    return tables.target(pl.read_parquet(build / "held_out.parquet"), spec)
