"""MLflow's registry, on real servers: what a version holds, and that killing changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pandas as pd
import pytest
import registry_world
from registry_world import ADMIN, Wire
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from andon.adapters.mlflow_files import Extras
from andon.adapters.mlflow_registry import BUILD, SERVED, Build, Registry, Rows
from andon.errors import LineError, PlatformError
from andon.registered import parameters

MD5 = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def impatient(monkeypatch) -> None:
    """A silent server is found silent at once."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Iterator[str]:
    with registry_world.server(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


@pytest.fixture(scope="module")
def locked(tmp_path_factory) -> Iterator[str]:
    with registry_world.server(tmp_path_factory.mktemp("mlflow"), login=True) as url:
        yield url


@pytest.fixture(params=["server", "server with logins", "local"])
def url(request, monkeypatch, tmp_path) -> str:
    if request.param == "server":
        return request.getfixturevalue("plain")
    if request.param == "server with logins":
        log_in(monkeypatch, *ADMIN)
        return request.getfixturevalue("locked")
    folder = request.getfixturevalue("local")
    monkeypatch.chdir(folder)  # where a local store puts its artifacts
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture
def wire(plain) -> Iterator[Wire]:
    made = Wire(plain)
    yield made
    made.close()


def log_in(monkeypatch, user: str, password: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)


def build(model: str = "", key: str = "k1", served: str = "s1", **other: Any) -> Build:
    frame = pd.DataFrame({"age": np.arange(40.0), "visits": np.arange(40.0) % 7})
    frame["plan"] = ["a", "b", None, "c"] * 10
    numbers = frame[["age", "visits"]]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.25))
    pipeline.fit(numbers, np.where(frame["age"] > 20, "yes", "no"))
    inputs = tuple(
        Rows(context, f"rows, {part}", MD5, {"from": "data/rows.csv"}, {"age": "double"}, rows)
        for context, part, rows in (("training", "learn", 32), ("evaluation", "held out", 8))
    )
    given = {
        "model": model or f"m-{uuid4().hex[:8]}",
        "key": key,
        "estimator": pipeline,
        "trusted": ("numpy.dtype",),
        "params": parameters(pipeline.get_params(deep=True)),
        "metrics": {"roc_auc": 0.91, "accuracy": 0.8},
        "tags": {SERVED: served, "andon.snapshot": MD5, "mlflow.source.git.commit": "abc"},
        "example": numbers.head(3),
        "inputs": inputs,
        "requirements": ("scikit-learn",),
    }
    return Build(**{**given, **other})


def client(url: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(url, url)


def versions(url: str, model: str) -> list[Any]:
    return list(client(url).search_model_versions(f"name = '{model}'"))


def runs(url: str, model: str) -> list[Any]:
    asked = client(url)
    return list(asked.search_runs([asked.get_experiment_by_name(model).experiment_id]))


def models(url: str, model: str) -> list[Any]:
    asked = client(url)
    found = asked.search_logged_models([asked.get_experiment_by_name(model).experiment_id])
    return list(found)


def all_is_whole(url: str, made: Build, versions_in_all: int = 1) -> None:
    """One version of the build, nothing that runs or was left half-way, and everything on it."""
    mine = [it for it in versions(url, made.model) if it.tags[SERVED] == made.served]
    (version,) = [it for it in mine if it.tags[BUILD] == made.key]
    assert len(versions(url, made.model)) == versions_in_all
    assert {it.info.status for it in runs(url, made.model)} <= {"FINISHED", "KILLED"}
    assert [it.status for it in models(url, made.model)] == ["READY"] * versions_in_all
    run = client(url).get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert made.metrics.items() <= run.data.metrics.items()
    assert made.params.items() <= run.data.params.items()
    contexts = {it.tags[0].value: it.dataset for it in run.inputs.dataset_inputs}
    assert set(contexts) == {"training", "evaluation"}
    assert {it.digest for it in contexts.values()} == {MD5}
    assert json.loads(contexts["training"].profile) == {"num_rows": 32, "num_columns": 1}


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


def download(url: str, uri: str, into: Path) -> Path:
    import mlflow

    mlflow.set_tracking_uri(url)
    mlflow.set_registry_uri(url)
    return Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(into)))


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


def some_extras(tmp_path: Path) -> Extras:
    for name, text in {
        "bundle/manifest.json": "{}",
        "a/card.md": "# Card\n\nfor **people**",
        "a/plots/roc.svg": "<svg/>",
        "a/evaluation.json": "1",
        "a/held_out.parquet": "rows are not shown",
        "b/evaluation.json": "2",
        "one.html": "<p>",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    files = ("a", "b", "one.html", "nothing")
    return Extras(
        tags={"andon.bundle": "digest"},
        bundle=tmp_path / "bundle",
        files=tuple(tmp_path / it for it in files),
        description="# Card\n\nfor **people**",
    )


def test_what_is_attached_again_is_sent_only_if_it_changed(plain, wire, tmp_path):
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


def test_what_is_too_large_stays_in_the_store_and_is_told(plain, tmp_path, monkeypatch):
    from andon.adapters import mlflow_files

    monkeypatch.setattr(mlflow_files, "BUNDLE_LIMIT", 1)
    registry, made = Registry(plain), build()
    version = registry.register(made)
    (told,) = registry.attach(made.model, version, some_extras(tmp_path))
    assert "the bundle: 2 bytes" in told and str(tmp_path / "bundle") in told
    assert registry.tags(made.model)[version]["andon.bundle"] == "digest"


def test_an_answer_that_is_lost_makes_no_second_version(plain, wire):
    """Each request in turn is done by the server, and the client never hears of it."""
    registry, counted = Registry(wire.url), build()
    registry.register(counted)
    writes = [it for it in wire.requests if not it.startswith("GET") and "/search" not in it]
    assert len(writes) > 10
    for number in range(len(writes)):
        made, seen = build(), []

        def cut(first: bytes, seen=seen, number=number) -> str:
            if first.startswith(b"GET") or b"/search" in first:
                return ""
            seen.append(first)
            return "late" if len(seen) == number + 1 else ""

        wire.cut = cut
        assert register_patiently(registry, made) == "1", writes[number]
        wire.cut = lambda first: ""
        all_is_whole(plain, made)


def test_a_server_that_goes_away_in_the_middle_is_told_and_a_retry_ends_well(plain, wire, tmp_path):
    registry, made = Registry(wire.url), build()
    registry.register(made)
    registry.attach(made.model, "1", some_extras(tmp_path))
    all_of_it = len(wire.requests)
    assert all_of_it > 30
    for number in range(0, all_of_it, 4):
        made, seen = build(), []

        def cut(first: bytes, seen=seen, number=number) -> str:
            seen.append(first)
            return "early" if len(seen) > number else ""

        wire.cut = cut
        with pytest.raises(PlatformError, match="does not answer"):
            registry.attach(made.model, registry.register(made), some_extras(tmp_path))
        wire.cut = lambda first: ""
        registry.attach(made.model, registry.register(made), some_extras(tmp_path))
        all_is_whole(plain, made)


def register_patiently(registry: Registry, made: Build) -> str:
    """As a station does, which is tried again."""
    for _ in range(3):
        try:
            return registry.register(made)
        except PlatformError as error:
            print(error)
    return registry.register(made)


KILLED = """
import sys, os, signal
sys.path[:0] = [{here!r}]
import requests, test_registry
from andon.adapters.mlflow_registry import Registry
sent, send = [], requests.Session.send
def dying(self, request, **kwargs):
    sent.append(request.url)
    if len(sent) > {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    return send(self, request, **kwargs)
requests.Session.send = dying
Registry({url!r}).register(test_registry.build({model!r}))
"""


@pytest.mark.parametrize("number", [6, 10, 14, 18, 22, 26, 30])
def test_a_kill_9_in_the_middle_leaves_nothing_that_a_retry_does_not_end(plain, number):
    made = build()
    script = KILLED.format(
        here=str(Path(__file__).parent), number=number, url=plain, model=made.model
    )
    where = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]
    environment = {**os.environ, "PYTHONPATH": ":".join(where)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, check=False
    )
    assert done.returncode in (0, -9), done.stderr.decode()
    Registry(plain).register(made)
    all_is_whole(plain, made)


def test_a_server_that_is_not_there_is_told(tmp_path):
    silent = f"http://127.0.0.1:{registry_world.free_port()}"
    with pytest.raises(PlatformError, match=rf"MLflow at {silent} does not answer; .*andon up"):
        Registry(silent).register(build())


def test_who_is_not_let_in_is_told_what_to_set(locked, monkeypatch):
    registry = Registry(locked)
    with pytest.raises(LineError, match=r"wants credentials \(401\): set MLFLOW_TRACKING_USERNAME"):
        registry.register(build())
    log_in(monkeypatch, "admin", "wrong")
    with pytest.raises(LineError, match=r"does not take these credentials \(401\)") as caught:
        registry.register(build())
    assert not isinstance(caught.value, PlatformError), "trying again does not help"


def test_who_may_only_read_is_told(locked, monkeypatch):
    """A model that belongs to somebody else."""
    log_in(monkeypatch, *ADMIN)
    made = build()
    Registry(locked).register(made)
    user = {"username": f"u{uuid4().hex[:6]}", "password": "another-long-one"}
    place = f"{locked}/api/2.0/mlflow/users/create"
    httpx.post(place, json=user, auth=ADMIN, trust_env=False).raise_for_status()
    log_in(monkeypatch, user["username"], user["password"])
    with pytest.raises(LineError, match=rf"{user['username']} may not do this \(403\)"):
        Registry(locked).register(replace(made, key="k2"))


def test_up_asks_a_server_of_ones_own_without_loading_mlflow(plain, locked, monkeypatch):
    from andon.adapters.mlflow_client import problem

    assert problem(plain) is None
    assert "wants credentials (401)" in (problem(locked) or "")
    log_in(monkeypatch, *ADMIN)
    assert problem(locked) is None
    silent = f"http://127.0.0.1:{registry_world.free_port()}"
    assert "does not answer" in (problem(silent) or "")
