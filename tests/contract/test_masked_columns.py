"""What monitoring and retraining make of columns that the log leaves out on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np
import polars as pl
import pytest

from andon import profile
from andon.adapters import database
from andon.adapters.files import load_settings
from andon.adapters.ledger import Candidate, Ledger
from andon.adapters.trainer import HELD_OUT
from andon.errors import DataError
from andon.joint import CHECK
from andon.monitoring import PREDICTIONS
from andon.settings import Settings
from andon.spec import DataMonitor, DriftMonitor, Persistence
from andon.verdict import Outcome
from serving.bundle import Column, LogPolicy, Manifest
from serving.engines.base import Scored
from serving.segments import Segments
from tasks.line import Job, Line, ledger_of, line_for
from tasks.live import Seen, judge_live
from tasks.monitor import _not_watched
from tasks.retrain import gather

COLUMNS = [Column("age", "number"), Column("city", "category", categories=["a", "b"])]
ROWS = 400


@pytest.fixture
def settings(postgresql, tmp_path, monkeypatch) -> Settings:
    monkeypatch.setenv("ANDON_PROJECT", str(tmp_path))
    monkeypatch.setenv("ANDON_DATABASE_URL", database.url(postgresql, "postgres", driver=""))
    (tmp_path / "andon.yaml").touch()
    folder = tmp_path / "models" / "churn"
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text("data: d.csv\ntarget: y\ntask: binary\n")
    found = load_settings()
    database.ensure_databases(found)
    return found


@pytest.fixture
def line(settings):
    yield line_for("churn")
    ledger_of(settings).engine.dispose()


def live(settings: Settings, mask: Sequence[str]) -> None:
    folder = settings.inference_log / "production" / "churn" / "1"
    manifest = Manifest(
        "churn", "1", "binary", "y", "b", ["no", "yes"], log=LogPolicy(mask=list(mask))
    )
    log = Segments(folder, COLUMNS, manifest, environment="production")
    draw = np.random.default_rng(9)
    for n in range(ROWS):
        row = (float(draw.normal()), "a" if draw.random() < 0.5 else "b")
        log.put([f"p{n}"], 1_000.0 + n, 1.0, False, [row], Scored([0], [[0.9, 0.1]]))
    log.close()


def champion(line: Line) -> Candidate:
    draw = np.random.default_rng(8)
    city = np.where(draw.random(5_000) < 0.5, "a", "b")
    reference = pl.DataFrame({"age": draw.normal(size=5_000), "city": city})
    bundle = line.settings.state / "bundle"
    bundle.mkdir(parents=True)
    made = profile.build(reference, COLUMNS, draw.random(5_000))
    (bundle / "profile.json").write_bytes(profile.to_json(made))
    return Candidate(
        "churn", "1", "b", "s", "", False, "bundle", "", None, {}, "", "", 0.0
    )  # fmt: skip


def seen(line: Line, monitor: DriftMonitor | DataMonitor) -> Seen:
    return judge_live(line, champion(line), monitor, environment="production", since=0.0)


@pytest.mark.parametrize("mask", [[], ["city"], ["age", "city"]])
def test_a_masked_column_is_not_watched_and_the_others_are(line, mask):
    live(line.settings, mask)
    found = seen(line, DriftMonitor(min_rows=ROWS))
    watched = [f"drift: {name}" for name in ("age", "city") if name not in mask]
    assert [it.check for it in found.verdicts] == [*watched, PREDICTIONS]
    assert {it.outcome for it in found.verdicts[:-1]} <= {Outcome.PASS}
    assert (found.rows, found.span) == (ROWS, (1_000.0, 1_000.0 + ROWS - 1))
    assert "| check | verdict | effect |" in found.told


def test_scores_unlike_those_of_training_are_seen(line):
    """The log says 0.1 of every row; at training scores were even."""
    live(line.settings, [])
    found = seen(line, DriftMonitor(min_rows=100, persistence=Persistence(of=3, need=2)))
    drifted = {it.check for it in found.verdicts if it.outcome is Outcome.FAIL}
    assert drifted == {PREDICTIONS}


def test_the_data_monitor_watches_the_same_columns(line):
    live(line.settings, ["city"])
    found = seen(line, DataMonitor(min_rows=100))
    assert [(it.check, it.outcome) for it in found.verdicts] == [
        ("data: age", Outcome.PASS),
        ("data: repeated ids", Outcome.PASS),
    ]


def test_what_is_not_watched_is_told(line):
    live(line.settings, ["city"])
    found = seen(line, DriftMonitor(min_rows=ROWS))
    assert _not_watched([found, found]).endswith("Not watched, by choice (`logging.mask`): `city`")
    assert _not_watched([]) == ""


def test_nothing_is_learned_from_rows_that_lack_features(line, monkeypatch):
    monkeypatch.setattr(Ledger, "live_spans", lambda *_: {"1": [(0.0, inf)]})
    live(line.settings, ["city"])
    job = Job(run_id="r", flow="retrain", model="churn", trigger="test")
    with pytest.raises(DataError, match=r"logging\.mask .* \(city\)"):
        gather.fn(job, "")


def keep_held_out(line: Line, rows: int) -> None:
    """Of the champion's build: its city goes with its age, and live ones' does not."""
    folder = line.settings.store / "builds" / "churn" / "b"
    folder.mkdir(parents=True)
    age = np.random.default_rng(4).normal(size=rows)
    table = {"age": age, "city": np.where(age > 0, "a", "b"), "y": [True] * rows}
    pl.DataFrame(table).write_parquet(folder / HELD_OUT)


def test_columns_that_no_longer_go_together_are_seen_where_held_out_rows_are_kept(line):
    live(line.settings, [])
    keep_held_out(line, 800)
    once = Persistence(of=1, need=1)
    found = seen(line, DriftMonitor(min_rows=ROWS, persistence=once))
    assert {it.check: it.outcome for it in found.verdicts}[CHECK] is Outcome.FAIL


@pytest.mark.parametrize(("rows", "mask"), [(ROWS - 1, []), (800, ["age", "city"])])
def test_it_is_not_asked_where_it_could_never_tell(line, rows, mask):
    live(line.settings, mask)
    keep_held_out(line, rows)
    found = seen(line, DriftMonitor(min_rows=ROWS))
    assert CHECK not in {it.check for it in found.verdicts}
