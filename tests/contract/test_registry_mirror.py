"""MLflow's aliases and tags follow the ledger, whoever edits them and whoever races."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from uuid import uuid4

import pytest
import registry_world
from registry_world import client

from andon.adapters.ledger import Ledger, open_ledger
from andon.adapters.mlflow_mirror import mend, mirror
from andon.adapters.mlflow_registry import Registry
from andon.errors import PlatformError
from andon.rollout import Rollout, advance
from andon.spec import Step
from andon.verdict import Outcome

TAGS = {"andon.build": "k", "andon.snapshot": "d"}


@pytest.fixture
def url(mlflow_server) -> str:
    return mlflow_server


@pytest.fixture
def ledger(tmp_path) -> Iterator[Ledger]:
    found = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    yield found
    found.engine.dispose()


@pytest.fixture
def model(url: str, ledger: Ledger) -> str:
    """Three versions, in MLflow and on the ledger."""
    name, asked = f"m-{uuid4().hex[:8]}", client(url)
    asked.create_registered_model(name)
    run = asked.create_run(asked.create_experiment(name)).info
    for _ in range(3):
        made = asked.create_model_version(name, f"{run.artifact_uri}/m", run.run_id, tags=TAGS)
        ledger.add_candidate(
            model=name, version=str(made.version), build="k", snapshot="d", git_sha="a",
            git_dirty=False, bundle="store/b", digest="x", image=None, metrics={}, trigger="test",
            run_id="r", tags=TAGS,
        )  # fmt: skip
    return name


@pytest.fixture
def registry(url: str) -> Registry:
    return Registry(url)


def promote(ledger: Ledger, model: str, version: str, environment: str = "production") -> None:
    server = Rollout(candidate=version, champion=None, steps=(Step(weight=100),), since=0.0)
    release = ledger.open_release(
        server, environment=environment, model=model, version=version,
        kind="release", trigger="test", run_id=uuid4().hex,
    )  # fmt: skip
    state = advance(server, Outcome.PASS, 1.0)
    release = ledger.save_release(release, state)
    ledger.save_release(release, advance(state, Outcome.PASS, 1e6))


def test_aliases_follow_releases_and_rollbacks(ledger, registry, model):
    assert mirror(ledger, registry, model) == ["alias candidate: none → v3"]
    for version in ("1", "2"):
        promote(ledger, model, version, "staging")
        promote(ledger, model, version)
        mirror(ledger, registry, model)
    served = {"staging": "2", "champion": "2", "previous": "1", "candidate": "3"}
    assert registry.aliases(model) == served
    assert mirror(ledger, registry, model) == [], "nothing is written that is so already"
    promote(ledger, model, "1")  # back
    assert mirror(ledger, registry, model) == [
        "alias champion: v2 → v1",
        "alias previous: v1 → none",
    ]
    assert registry.aliases(model) == {"staging": "2", "champion": "1", "candidate": "3"}


def test_what_was_edited_by_hand_is_told_and_set_back(url, ledger, registry, model):
    promote(ledger, model, "1")
    promote(ledger, model, "2")
    mirror(ledger, registry, model)
    asked = client(url)
    asked.set_registered_model_alias(model, "champion", "3")
    asked.delete_registered_model_alias(model, "previous")
    asked.set_registered_model_alias(model, "staging", "1")
    asked.set_registered_model_alias(model, "favourite", "1")
    asked.set_model_version_tag(model, "2", "andon.snapshot", "another")
    asked.set_model_version_tag(model, "2", "note", "mine")
    asked.delete_model_version_tag(model, "1", "andon.build")
    assert set(mend(ledger, registry, model)) == {
        "alias champion: v3 → v2",
        "alias previous: none → v1",
        "alias staging: v1 → none",
        "v1: tag andon.build was None: set back",
        "v2: tag andon.snapshot was 'another': set back",
    }
    assert registry.aliases(model) == {
        "champion": "2", "previous": "1", "candidate": "3", "favourite": "1",
    }  # fmt: skip
    assert registry.tags(model)["2"] == {**TAGS, "note": "mine"}
    assert mend(ledger, registry, model) == []


def test_a_version_that_was_deleted_by_hand_is_told_and_stops_nothing(url, ledger, registry, model):
    promote(ledger, model, "1")
    promote(ledger, model, "2")
    mirror(ledger, registry, model)
    client(url).delete_model_version(model, "2")
    said = "\n".join(mend(ledger, registry, model))
    assert "v2 is on the ledger and not in MLflow: it was deleted there" in said
    assert "store/b" in said
    assert registry.aliases(model) == {"previous": "1", "candidate": "3"}


def test_a_model_that_was_deleted_by_hand_is_told(url, ledger, registry, model):
    client(url).delete_registered_model(model)
    said = mend(ledger, registry, model)
    assert len([it for it in said if "not in MLflow: it was deleted" in it]) == 3


def test_runs_that_race_leave_one_champion_which_is_the_ledgers(ledger, url, model):
    """Each thread is a run that promotes and mirrors; they overlap as they like."""

    def run(version: str) -> None:
        promote(ledger, model, version)
        mirror(ledger, Registry(url), model)

    threads = [threading.Thread(target=run, args=(it,)) for it in "123123"]
    for it in threads:
        it.start()
    for it in threads:
        it.join(120)
    champion = ledger.champion("production", model)
    found = Registry(url).aliases(model)
    assert champion is not None
    assert found["champion"] == champion.version
    assert found.get("previous") != champion.version


def test_a_release_in_the_middle_of_mirroring_is_seen(ledger, registry, model, monkeypatch):
    """Its own run died before it could mirror."""
    promote(ledger, model, "1")
    written: list[str] = []
    set_alias = registry.set_alias

    def meanwhile(model: str, alias: str, version: str | None) -> None:
        set_alias(model, alias, version)
        if not written:
            promote(ledger, model, "2")
        written.append(alias)

    monkeypatch.setattr(registry, "set_alias", meanwhile)
    mirror(ledger, registry, model)
    assert registry.aliases(model) == {"champion": "2", "previous": "1", "candidate": "3"}


def test_a_silent_mlflow_is_told(ledger, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    silent = Registry(f"http://127.0.0.1:{registry_world.free_port()}")
    with pytest.raises(PlatformError, match="does not answer"):
        mirror(ledger, silent, "m")
