"""MLflow's registry, on real servers: what a version holds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from registry_world import (
    ADMIN,
    MD5,
    all_is_whole,
    build,
    client,
    download,
    log_in,
    models,
    runs,
    some_extras,
    versions,
)

from andon.adapters.mlflow_registry import BUILD, SERVED, Registry

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture(params=["server", "server with logins", "local"])
def url(request, monkeypatch, tmp_path) -> str:
    if request.param == "server":
        return request.getfixturevalue("mlflow_server")
    if request.param == "server with logins":
        log_in(monkeypatch, *ADMIN)
        return request.getfixturevalue("locked_mlflow")
    folder = request.getfixturevalue("local")
    monkeypatch.chdir(folder)  # where a local store puts its artifacts
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


def test_a_version_holds_all_that_is_known_of_a_build(url):
    registry, made = Registry(url), build()
    version = registry.register(made)
    assert version == "1"
    all_is_whole(url, made)
    (found,) = versions(url, made.model)
    assert found.tags == {SERVED: "s1", "andon.snapshot": MD5, BUILD: "k1"}
    run = client(url).get_run(found.run_id)
    assert run.data.params["logisticregression__C"] == "0.25"
    assert run.data.tags["mlflow.source.git.commit"] == "abc"
    (logged,) = models(url, made.model)
    assert {it.key: it.dataset_name for it in logged.metrics} == {
        "roc_auc": "rows, held out",
        "accuracy": "rows, held out",
    }


def test_the_signature_and_an_example_are_with_the_model(url, tmp_path):
    registry, made = Registry(url), build()
    version = registry.register(made)
    folder = download(url, f"models:/{made.model}/{version}", tmp_path)
    assert {"MLmodel", "model.skops", "input_example.json", "requirements.txt"} <= {
        it.name for it in folder.iterdir()
    }
    example = json.loads((folder / "input_example.json").read_text())
    assert example["columns"] == ["age", "visits"]
    assert "signature" in (folder / "MLmodel").read_text()


def test_the_same_build_is_one_version_and_another_way_to_serve_it_another(url):
    registry, made = Registry(url), build()
    assert [registry.register(made) for _ in range(2)] == ["1", "1"]
    other = replace(made, tags={**made.tags, SERVED: "s2"})
    assert registry.register(other) == "2"
    assert registry.version_of(made.model, "k1") == "1"
    assert registry.version_of(made.model, "k1", "s2") == "2"
    all_is_whole(url, made, versions_in_all=2)
    all_is_whole(url, other, versions_in_all=2)
    assert len(runs(url, made.model)) == 1, "one build is one run"


def test_the_run_that_training_began_is_gone_on_with(url):
    """With what was measured meanwhile, and without what an earlier training left."""
    made, asked = build(), client(url)
    experiment = asked.create_experiment(made.model)
    began = []
    for started in (1_000, 2_000):
        run = asked.create_run(experiment, start_time=started, tags={BUILD: "k1"})
        asked.log_param(run.info.run_id, "logisticregression__C", "0.25")
        for step in range(3):
            asked.log_metric(run.info.run_id, "roc_auc", 0.5 + step / 10, step=step)
        began.append(run.info.run_id)
    stranger = asked.create_run(experiment, tags={BUILD: "k2"}).info.run_id
    Registry(url).register(made)
    (version,) = versions(url, made.model)
    assert version.run_id == began[1]
    statuses = {it.info.run_id: it.info.status for it in runs(url, made.model)}
    assert statuses == {began[0]: "KILLED", began[1]: "FINISHED", stranger: "RUNNING"}
    history = asked.get_metric_history(began[1], "roc_auc")
    assert [it.value for it in sorted(history, key=lambda it: it.step)] == [0.5, 0.6, 0.7, 0.91]
    assert asked.get_run(began[1]).data.metrics["roc_auc"] == 0.91


def test_what_is_written_twice_is_there_once(url):
    """A build that was logged and not registered: the next attempt adds no second of anything."""
    registry, made = Registry(url), build()
    registry.register(made)
    client(url).delete_model_version(made.model, "1")
    again = registry.register(made)
    all_is_whole(url, made)
    (found,) = versions(url, made.model)
    history = client(url).get_metric_history(found.run_id, "roc_auc")
    assert (again, len(history)) == (str(found.version), 1)


def test_numbers_of_the_ledger_are_not_given_again(url):
    """A registry that began anew, under a ledger that knows three versions."""
    made = build()
    assert Registry(url).register(made, taken={"1", "2", "3"}) == "4"
    all_is_whole(url, made)
    assert Registry(url).register(made, taken={"1", "2", "3"}) == "4"


def test_bundle_card_and_reports_are_on_the_version(url, tmp_path):
    registry, made = Registry(url), build()
    version = registry.register(made)
    extras = some_extras(tmp_path)
    assert registry.attach(made.model, version, extras) == []
    registry.set_alias(made.model, "champion", version)
    (found,) = versions(url, made.model)
    assert found.tags["andon.bundle"] == "digest"
    assert found.description == "# Card\n\nfor **people**"
    assert client(url).get_run(found.run_id).data.tags["mlflow.note.content"].startswith("# Card")
    (tmp_path / "got").mkdir()
    bundle = download(url, f"models:/{made.model}@champion/bundle", tmp_path / "got")
    assert (bundle / "manifest.json").read_text() == "{}"
    (tmp_path / "all").mkdir()
    reports = download(url, f"models:/{made.model}/{version}", tmp_path / "all") / "reports"
    names = {it.relative_to(reports).as_posix() for it in reports.rglob("*") if it.is_file()}
    assert names == {"card.md", "plots/roc.svg", "evaluation.json", "b/evaluation.json", "one.html"}


def test_what_is_attached_again_is_sent_only_if_it_changed(wire, tmp_path):
    registry, made = Registry(wire.url), build()
    version, extras = registry.register(made), some_extras(tmp_path)

    def uploads() -> int:
        return sum(it.startswith("PUT") for it in wire.requests)

    before = uploads()
    registry.attach(made.model, version, extras)
    first = uploads() - before
    registry.attach(made.model, version, extras)
    assert uploads() - before == first > 0
    (tmp_path / "one.html").write_text("other")
    registry.attach(made.model, version, extras)
    assert uploads() - before > first


def test_what_is_too_large_stays_in_the_store_and_is_told(mlflow_server, tmp_path, monkeypatch):
    from andon.adapters import mlflow_files

    monkeypatch.setattr(mlflow_files, "BUNDLE_LIMIT", 1)
    registry, made = Registry(mlflow_server), build()
    version = registry.register(made)
    (told,) = registry.attach(made.model, version, some_extras(tmp_path))
    assert "the bundle: 2 bytes" in told and str(tmp_path / "bundle") in told
    assert registry.tags(made.model)[version]["andon.bundle"] == "digest"
