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
from andon.adapters.inference_log import Window, read_window
from andon.adapters.ledger import Candidate, Ledger
from andon.errors import DataError
from andon.settings import Settings
from andon.spec import DriftMonitor
from andon.verdict import Outcome
from serving.bundle import Column, LogPolicy, Manifest
from serving.engines.base import Scored
from serving.segments import Segments
from tasks.line import Job, Line, ledger_of, line_for
from tasks.monitor import _judge, _not_watched
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


def live(settings: Settings, mask: Sequence[str]) -> Window:
    folder = settings.inference_log / "production" / "churn" / "1"
    manifest = Manifest(
        "churn", "1", "binary", "y", "b", ["no", "yes"], log=LogPolicy(mask=list(mask))
    )
    log = Segments(folder, COLUMNS, manifest, environment="production")
    draw = np.random.default_rng(7)
    for n in range(ROWS):
        row = (float(draw.normal()), "a" if draw.random() < 0.5 else "b")
        log.put([f"p{n}"], 1_000.0 + n, 1.0, False, [row], Scored([0], [[0.9, 0.1]]))
    log.close()
    return read_window(settings, "production", "churn")


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


@pytest.mark.parametrize("mask", [[], ["city"], ["age", "city"]])
def test_a_masked_column_is_not_watched_and_the_others_are(line, mask):
    monitor = DriftMonitor(min_rows=ROWS)
    verdicts = _judge(line, champion(line), monitor, live(line.settings, mask))
    watched = [name for name in ("age", "city") if name not in mask]
    assert [it.check for it in verdicts] == [f"drift: {name}" for name in watched]
    assert {it.outcome for it in verdicts} <= {Outcome.PASS}


def test_what_is_not_watched_is_told(line):
    window = live(line.settings, ["city"])
    assert _not_watched([window, window]).endswith(
        "Not watched, by choice (`logging.mask`): `city`"
    )
    assert _not_watched([Window((), {})]) == ""


def test_nothing_is_learned_from_rows_that_lack_features(line, monkeypatch):
    monkeypatch.setattr(Ledger, "live_spans", lambda *_: {"1": [(0.0, inf)]})
    live(line.settings, ["city"])
    job = Job(run_id="r", flow="retrain", model="churn", trigger="test")
    with pytest.raises(DataError, match=r"logging\.mask .* \(city\)"):
        gather.fn(job, "")
