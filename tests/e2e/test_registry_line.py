"""The line and its registry: MLflow dies in the middle, is edited by hand, is away, is seen."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from browser import page_fixture, problems_of, screenshot  # noqa: F401
from line_under_test import LONG, LineUnderTest
from support import wait_until
from survival import all_well, hurry, kill_program, retry, visits, wait_for

from andon.adapters.mlflow_registry import Registry
from deployments.runs import ENDED

pytestmark = pytest.mark.slow

MODEL = "tumor"


@pytest.fixture(scope="module")
def registry(line: LineUnderTest) -> Registry:
    return Registry(line.settings.registry_url)


@pytest.fixture(scope="module")
def delivered(line: LineUnderTest) -> str:
    """The id of a delivery under which MLflow was killed while the model was registered."""
    hurry(line, MODEL)
    run_id = line.runs.start("deliver", {"model": MODEL})
    wait_until(lambda: is_at(line, run_id, "register"), LONG, "it registers")
    kill_program(line.settings, "mlflow")
    wait_until(lambda: all_well(line.settings), LONG, "MLflow is back")
    list(line.runs.follow(run_id, LONG))
    if line.runs.state(run_id)["type"] != "COMPLETED":
        print(f"it wanted a retry: {line.runs.state(run_id)['message']}")
        retry(line, run_id)
    wait_for(line, run_id, "COMPLETED")
    return run_id


def is_at(line: LineUnderTest, run_id: str, station: str) -> bool:
    assert line.runs.state(run_id)["type"] not in ENDED, line.runs.state(run_id)["message"]
    return any((it.station, it.state) == (station, "Running") for it in visits(line, run_id))


def client(line: LineUnderTest) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(line.settings.registry_url, line.settings.registry_url)


def test_mlflow_killed_in_the_middle_of_register_leaves_one_version(line, registry, delivered):
    candidate = line.ledger.candidate(MODEL, "1")
    assert candidate is not None
    (tags,) = registry.tags(MODEL).values()
    assert tags.items() >= (candidate.tags or {}).items()
    assert tags["andon.flow_run"] == delivered
    assert tags["andon.bundle"] == candidate.digest
    assert registry.aliases(MODEL) == {"champion": "1", "staging": "1"}
    asked = client(line)
    experiment = asked.get_experiment_by_name(MODEL).experiment_id
    (run,) = asked.search_runs([experiment])
    assert run.info.status == "FINISHED"
    assert run.data.metrics.items() >= candidate.metrics.items()
    contexts = {
        it.tags[0].value: json.loads(it.dataset.profile) for it in run.inputs.dataset_inputs
    }
    assert set(contexts) == {"training", "evaluation"}
    (logged,) = asked.search_logged_models([experiment])
    assert logged.status == "READY"
    bundle = line.settings.state / candidate.bundle
    sent = {
        Path(it.path).name for it in asked.list_logged_model_artifacts(logged.model_id, "bundle")
    }
    assert sent == {it.name for it in bundle.iterdir()}


def test_what_was_edited_by_hand_is_told_by_reconcile_and_set_back(line, registry, delivered):
    asked = client(line)
    asked.delete_registered_model_alias(MODEL, "champion")
    asked.set_model_version_tag(MODEL, "1", "andon.commit", "another")
    said = reconciled(line, f"registry/{MODEL}")
    assert "alias champion: none → v1" in said
    assert "tag andon.commit was 'another': set back" in said
    assert registry.aliases(MODEL)["champion"] == "1"
    assert f"registry/{MODEL}: as the ledger says" in reconciled(line, f"registry/{MODEL}")


def reconciled(line: LineUnderTest, word: str) -> str:
    """What the flow run's log says, when it has this word: logs come a little later."""
    run_id = line.runs.start("reconcile", {})
    wait_for(line, run_id, "COMPLETED")
    body = {"logs": {"flow_run_id": {"any_": [run_id]}}, "limit": 200}
    url = f"{line.settings.prefect_api_url}/logs/filter"

    def said() -> str:
        found = httpx.post(url, json=body, timeout=30, trust_env=False).raise_for_status().json()
        return "\n".join(it["message"] for it in found)

    wait_until(lambda: word in said(), 30, f"the log says {word}")
    return said()


@pytest.mark.browser
@pytest.mark.parametrize("kind", ["version", "run", "artifacts"])
def test_the_pages_of_a_version_show_what_it_is(line, registry, delivered, page, tmp_path, kind):
    (run,) = client(line).search_runs([client(line).get_experiment_by_name(MODEL).experiment_id])
    of_run = f"{line.settings.registry_url}/#/experiments/{run.info.experiment_id}/runs/"
    url, texts = {
        "version": (
            registry.link(MODEL, "1"),
            [
                "Version 1",
                "champion",
                "staging",
                "andon.snapshot",
                "andon.bundle",
                "held-out rows",
                "Inputs (",
            ],
        ),
        "run": (of_run + run.info.run_id, ["Finished", "Training", "Datasets", "roc_auc"]),
        "artifacts": (f"{of_run}{run.info.run_id}/artifacts", ["bundle", "MLmodel", "model.skops"]),
    }[kind]
    problems = problems_of(page)
    page.goto(url, wait_until="load")
    for text in texts:
        page.get_by_text(text).first.wait_for()
    kept = Path(os.environ.get("ANDON_PICTURES", tmp_path))
    screenshot(page, kept / f"mlflow-{kind}.png")
    # MLflow's own page asks for a login that this server does not have.
    assert [it for it in problems if "users/current" not in it and "status of 404" not in it] == []


def test_releases_and_reconcile_go_on_while_mlflow_is_away(line, registry, delivered):
    """The aliases are what waits."""
    from andon.adapters.supervisor import Supervisor

    supervisor = Supervisor(line.settings)
    supervisor.stop("mlflow")
    said = reconciled(line, f"registry/{MODEL}")
    assert f"registry/{MODEL}: failed: MLflow at" in said and "does not answer" in said
    line.andon("release", MODEL, "1")
    supervisor.start("mlflow")
    wait_until(lambda: all_well(line.settings), LONG, "MLflow is back")
    assert registry.aliases(MODEL)["champion"] == "1"
