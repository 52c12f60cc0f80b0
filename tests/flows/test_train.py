"""The station that trains: a process of its own, told of as it goes, and kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from support import REPOSITORY, free_port_block

from andon.adapters import database, files, tables
from andon.errors import LineError
from tasks.line import Job, _ledger
from tasks.results import Snapshot, Trained
from tasks.split import split_rows
from tasks.train import train

pytestmark = pytest.mark.usefixtures("prefect")


@pytest.fixture
def project(tmp_path, monkeypatch) -> Iterator[Any]:
    """The example `tumor`, on a ledger of its own and without a platform."""
    monkeypatch.setenv("ANDON_PROJECT", str(tmp_path))
    monkeypatch.setenv("ANDON_PORT_BASE", str(free_port_block()))
    ledger = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setattr(database, "url", lambda *_: ledger)
    # A port that no other test's MLflow is ever given.
    (tmp_path / "andon.yaml").write_text("mlflow_url: http://127.0.0.1:1\n")
    shutil.copytree(REPOSITORY / "models" / "tumor", tmp_path / "models" / "tumor")
    with (tmp_path / "models" / "tumor" / "model.yaml").open("a") as file:
        file.write(f"seed: {uuid4().int % 2**31}\n")  # Prefect keeps results of earlier test runs
    yield tmp_path
    _ledger(ledger).engine.dispose()


def trained(project) -> Trained:
    settings = files.load_settings()
    source = project / "models" / "tumor" / "data" / "tumor.parquet"
    folder = settings.store / "snapshot"
    folder.mkdir(parents=True, exist_ok=True)
    info = tables.write_snapshot(source, folder)
    snapshot = Snapshot(
        hash="h", folder="store/snapshot", rows=info.rows, columns=dict(info.columns), source="t"
    )

    @flow
    def line() -> Trained:
        job = Job(run_id="r", flow="deliver", model="tumor", trigger="test")
        return train(job, split_rows(job, snapshot))

    return line()


def artifacts(key: str) -> list[Artifact]:
    with get_client(sync_client=True) as client:
        found = client.read_artifacts()
    mine = [it for it in found if it.key == key]
    return sorted(mine, key=lambda it: it.created)[-1:]  # others train this model, too


def test_it_is_told_of_as_it_goes_and_done_once(project, caplog):
    spec = project / "models" / "tumor" / "model.yaml"
    with spec.open("a") as file:
        file.write("training: {search: {kind: grid, parameters: {line__C: [0.1, 1.0]}}}\n")
    first = trained(project)
    assert {it.outcome for it in first.verdicts} == {"pass"}
    assert first.metrics["roc_auc"] > 0.95
    folder = files.load_settings().state / first.folder
    assert (folder / "model.skops").is_file()
    facts = json.loads((folder / "facts.json").read_text())
    assert facts["code"] == {"commit": "unknown", "changed": []}
    assert facts["environment"]["libraries"]["scikit-learn"]
    assert facts["used"]["peak_mb"] > 50
    (progress,) = artifacts("tumor-training")
    assert progress.data == 100
    (table,) = artifacts("tumor-search")
    assert " **best** | 0.9" in str(table.data)
    warned = [it for it in caplog.messages if "no live metrics: MLflow at" in it]
    assert len(warned) == 1, "a silent MLflow is told of once, and stops nothing"
    assert any("best so far 0.9" in it for it in caplog.messages)
    assert trained(project).key == first.key

    # Other parameters: another build, of the same split.
    spec.write_text(spec.read_text().replace("[0.1, 1.0]", "[0.2]"))
    other = trained(project)
    assert other.key != first.key
    assert len(list((files.load_settings().store / "splits" / "tumor").iterdir())) == 1


def test_a_training_that_takes_too_long_leaves_nothing(project):
    (project / "models" / "tumor" / "pipeline.py").write_text("while True: pass\n")
    with (project / "models" / "tumor" / "model.yaml").open("a") as file:
        file.write("training: {minutes: 0.02}\n")
    says = r"longer than 1.2 seconds \(training.minutes in models/tumor/model.yaml\)"
    with pytest.raises(LineError, match=says):
        trained(project)
    assert list((files.load_settings().store / "builds" / "tumor").iterdir()) == []
