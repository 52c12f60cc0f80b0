"""What a snapshot's artifact says against the data that the champion learned from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from andon.adapters import tables
from andon.adapters.ledger import open_ledger
from andon.rollout import Rollout, advance
from andon.settings import Settings
from andon.spec import ModelSpec, Step
from andon.verdict import Outcome
from tasks import snapshot
from tasks.line import Line

SPEC = ModelSpec(name="toy", data="toy.parquet", target="y", task="regression", key="id")
ROWS = pl.DataFrame({"id": range(2_000), "y": [i % 10 for i in range(2_000)], "a|b": "x"})


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield Line(Settings(project=tmp_path), SPEC, ledger)
    ledger.engine.dispose()


def kept(line: Line, name: str, rows: pl.DataFrame) -> Path:
    folder = snapshot.snapshot_folder(line.settings, "toy", name)
    folder.mkdir(parents=True)
    tables.write(rows, folder / tables.SNAPSHOT)
    return folder


def serve(line: Line, hash_: str) -> None:
    """Let version 1, which learned from this snapshot, be the champion."""
    line.ledger.add_candidate(
        model="toy", version="1", build="b", snapshot=hash_, git_sha="", git_dirty=False,
        bundle="", digest="", image=None, metrics={}, trigger="", run_id="r",
    )  # fmt: skip
    rollout = Rollout(candidate="v1", champion=None, steps=(Step(weight=100),), since=0.0)
    opened = line.ledger.open_release(
        rollout, environment="production", model="toy", version="1", kind="release",
        trigger="t", run_id="r",
    )  # fmt: skip
    state = advance(rollout, Outcome.PASS, 1.0)
    line.ledger.save_release(
        line.ledger.save_release(opened, state), advance(state, Outcome.PASS, 1e6)
    )


def test_it_says_what_changed_since_the_champion_s_data(line: Line) -> None:
    kept(line, "old", ROWS)
    after = ROWS[500:].with_columns(y=pl.col("y") + 5, new=pl.lit(1)).drop("a|b")
    folder = kept(line, "new", after)
    assert snapshot.against_champion(line, "new", after.height, folder) == "", "nothing serves"
    serve(line, "old")
    found = snapshot.against_champion(line, "new", after.height, folder)
    for said in (
        "v1, which serves, learned from `old`: 2,000 rows then, 1,500 now.",
        "- a\\|b is gone (was category)",
        "- new is new (integer)",
        "- by key 0 new, 500 gone, 1,500 changed",
        "- y is distributed otherwise (effect 0.50)",
    ):
        assert said in found
    assert snapshot.against_champion(line, "old", 2_000, folder) == "", "the same data"


def test_of_large_data_only_columns_and_rows_are_compared(line: Line) -> None:
    kept(line, "old", ROWS)
    folder = kept(line, "new", ROWS.with_columns(y=0).drop("a|b"))
    serve(line, "old")
    found = snapshot.against_champion(line, "new", snapshot.DEEP_ROWS + 1, folder)
    assert "gone (was category)" in found
    assert "by key" not in found
