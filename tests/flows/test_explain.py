"""The stations that explain a build and write its card, without a platform."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from support import REPOSITORY, free_port_block

from andon.adapters import database, files, report, tables
from andon.errors import LineError
from andon.verdict import Outcome, Verdict
from serving.bundle import read_signature
from tasks import document
from tasks import explain as station
from tasks.document import write_card
from tasks.explain import explain
from tasks.line import Job, _ledger
from tasks.results import Bundled, Evaluated, Explained, Snapshot, SplitRows, Trained
from tasks.split import split_rows
from tasks.train import train

pytestmark = pytest.mark.usefixtures("prefect")


@pytest.fixture
def project(tmp_path, monkeypatch) -> Iterator[Any]:
    """The example `tumor`, on a ledger of its own."""
    monkeypatch.setenv("ANDON_PROJECT", str(tmp_path))
    monkeypatch.setenv("ANDON_PORT_BASE", str(free_port_block()))
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setattr(database, "url", lambda *_: ledger)
    (tmp_path / "andon.yaml").touch()
    shutil.copytree(REPOSITORY / "models" / "tumor", tmp_path / "models" / "tumor")
    say(tmp_path, f"seed: {uuid4().int % 2**31}")  # Prefect keeps results of earlier test runs
    yield tmp_path
    _ledger(ledger).engine.dispose()


def say(project, line: str) -> None:
    with (project / "models" / "tumor" / "model.yaml").open("a") as file:
        file.write(f"{line}\n")


JOB = Job(run_id="r", flow="deliver", model="tumor", trigger="test")


def built(project) -> tuple[Snapshot, SplitRows, Trained]:
    settings = files.load_settings()
    folder = settings.store / "snapshot"
    folder.mkdir(parents=True, exist_ok=True)
    source = project / "models" / "tumor" / "data" / "tumor.parquet"
    info = tables.write_snapshot(source, folder)
    snapshot = Snapshot(
        hash="h", folder="store/snapshot", rows=info.rows, columns=dict(info.columns), source="t"
    )
    split = split_rows(JOB, snapshot)
    return snapshot, split, train(JOB, split)


def images() -> set[str]:
    with get_client(sync_client=True) as client:
        return {
            str(it.key)
            for it in client.read_artifacts()
            if it.type == "image" and str(it.data).startswith("data:image/png;base64,iVBOR")
        }


def test_a_build_is_explained_once_and_the_champion_is_compared(project, monkeypatch):
    @flow
    def line() -> tuple[Trained, Explained]:
        _, split, trained = built(project)
        return trained, explain(JOB, split, trained)

    trained, first = line()
    state = files.load_settings().state
    found = report.read(state / first.folder)
    assert (found.build, first.verdicts, found.champion) == (trained.key, (), None)
    names = {it.name for it in found.pictures}
    assert {"roc", "precision-recall", "calibration", "confusion", "importance"} <= names
    assert {f"tumor-{it}" for it in names} <= images(), "they are on the run"
    assert line()[1] == first

    # Another build against this one, which now serves.
    champion = SimpleNamespace(build=trained.key, version="1")
    monkeypatch.setattr(station, "champion_of", lambda *_: champion)
    say(project, "explanation: {drift: 0.01}")
    pipeline = project / "models" / "tumor" / "pipeline.py"
    pipeline.write_text(pipeline.read_text().replace("C=0.5", "C=0.001"))
    other, second = line()
    assert other.key != trained.key
    (verdict,) = second.verdicts
    assert verdict.outcome is Outcome.PASS
    assert verdict.detail.startswith("warning, stops nothing: ")
    told = report.read(state / second.folder)
    assert (told.champion, told.moved) == ("1", verdict.value)
    alts = {it.name: it.alt for it in told.pictures}
    assert re.search(r"champion v1 has [01]\.\d{3}\.", alts["roc"])

    # A champion whose build is gone: told, and not compared.
    champion.build = "gone"
    say(project, "reports: {mask: [mean_radius]}")
    third = line()[1]
    assert third.verdicts == ()
    assert any("cannot be explained here" in it for it in report.read(state / third.folder).notes)


@pytest.mark.parametrize(("kind", "named"), [(LineError, ""), (TypeError, "TypeError: ")])
def test_what_cannot_be_explained_stops_nothing_and_has_a_card(project, monkeypatch, kind, named):
    def broken(*_: Any) -> None:
        raise kind("the pipeline could not score rows: too odd")

    monkeypatch.setattr(report, "importances", broken)
    monkeypatch.setattr(document, "_call", lambda *_: "curl")

    @flow
    def line() -> tuple[Trained, Explained, str]:
        snapshot, split, trained = built(project)
        explained = explain(JOB, split, trained)
        bundled = Bundled(version="7", folder="none", digest="abc", verdicts=())
        evaluated = Evaluated(champion=None, verdicts=(), folder="store/none")
        failed = Verdict(check="sound", outcome=Outcome.FAIL, detail="it is not")
        card = write_card(
            JOB, snapshot, trained, bundled, explained, evaluated, {"test": (failed,)}
        )
        return trained, explained, card.folder

    trained, explained, folder = line()
    state = files.load_settings().state
    (note,) = report.read(state / explained.folder).notes
    why = f"{named}the pipeline could not score rows: too odd"
    assert note == f"the build could not be explained: {why}"
    text = (state / folder / "card.md").read_text("utf-8")
    facts = json.loads((state / trained.folder / "facts.json").read_text())
    for said in (
        "too odd", "it is not", "version \\(MLflow\\)".replace("\\", ""), trained.key,
        facts["environment"]["libraries"]["scikit-learn"], "0 of 1 passed",
    ):  # fmt: skip
        assert said in text, said
    for column in read_signature(state / trained.folder).columns:
        assert column.name.replace("_", "\\_") in text
    assert "<title>Model card: tumor</title>" in (state / folder / "card.html").read_text("utf-8")
