"""`andon data`, as one types it, in a project of one's own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import polars as pl
import pytest
from data_kit import DATA, make_project
from typer.testing import CliRunner, Result

from andon.adapters import database, snapshots
from andon.adapters.comparing import known_hash
from andon.adapters.files import load_settings, load_spec
from andon.adapters.ledger import open_ledger
from andon.errors import LineError
from deployments.cli import app

MODEL = """
data: data/toy.parquet
target: y
task: regression
key: id
reports: {mask: [name]}
source: {kind: files, path: rows.csv}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch) -> Path:
    made = make_project(tmp_path)
    (made / "models" / "toy" / "model.yaml").write_text(MODEL)
    monkeypatch.setenv("ANDON_PROJECT", str(made))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(made)
    git(made, "init", "-q")
    return made


def git(project: Path, *arguments: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *who, *arguments], cwd=project, check=True)


def commit(project: Path, subject: str) -> None:
    git(project, "add", "models")
    git(project, "commit", "-q", "-m", subject)


def write(project: Path, rows: pl.DataFrame) -> None:
    rows.write_csv(project / "models" / "toy" / "rows.csv")


def andon(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["data", *arguments])


def rows(count: int = 1_000) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": range(count),
            "y": [i % 10 for i in range(count)],
            "name": [f"secret-{i % 3}" for i in range(count)],
        }
    )


@pytest.fixture
def two(project: Path) -> Path:
    """Two versions: 100 rows went, 50 came, 500 have another y, and all another name."""
    write(project, rows())
    assert andon("add", "toy").exit_code == 0
    commit(project, "The first rows")
    after = rows(1_050)[100:].with_columns(
        pl.when(pl.col("id") >= 550).then(pl.lit(77)).otherwise("y").alias("y"),
        pl.lit("secret-9").alias("name"),
        pl.lit(1.5).alias("extra"),
    )
    write(project, after)
    assert andon("add", "toy").exit_code == 0
    return project


def test_adding_says_what_was_added_what_changed_and_what_to_commit(project: Path) -> None:
    write(project, rows())
    first = andon("add", "toy")
    assert first.exit_code == 0
    hash_ = snapshots.dvc.tracked(project, DATA)[0]
    for said in ("1,000 rows, 3 columns from rows.csv", hash_, "git add models/toy/data"):
        assert said in first.output
    assert "pushed to the remote store" in first.output
    assert (project / "remote" / "files" / "md5" / hash_[:2] / hash_[2:]).is_file()
    again = andon("add", "toy", "models/toy/rows.csv")
    assert "the same content as before: nothing to commit" in again.output
    write(project, rows(1_200).drop("name").with_columns(pl.lit(True).alias("new")))
    changed = andon("add", "toy", "--no-push")
    assert "+200 rows; name is gone (was category); new is new (boolean)" in changed.output
    assert "pushed" not in changed.output


def test_without_a_remote_it_says_how_to_get_one(project: Path) -> None:
    (project / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    write(project, rows())
    found = andon("add", "toy")
    assert found.exit_code == 0
    assert "not pushed: DVC has no default remote" in found.output
    assert "dvc remote add --default" in found.output


def test_data_that_cannot_be_pushed_is_added_and_the_command_fails(project: Path) -> None:
    (project / "remote").write_text("no folder")
    write(project, rows())
    found = andon("add", "toy")
    assert isinstance(found.exception, LineError)
    assert "tracked here, but not pushed" in str(found.exception)
    assert (project / DATA).is_file()


def test_a_source_is_needed(project: Path) -> None:
    spec = project / "models" / "toy" / "model.yaml"
    spec.write_text(MODEL.partition("source:")[0])
    found = andon("add", "toy")
    assert "where from?" in str(found.exception)


def test_the_list_has_every_version_of_the_pointer(two: Path) -> None:
    found = json.loads(andon("list", "toy", "--json").output)
    assert [(it["rows"], it["subject"]) for it in found] == [
        (950, "not committed yet"),
        (1_000, "The first rows"),
    ]
    assert found[1]["commit"]
    assert not found[0]["commit"]
    shown = andon("list", "toy").output
    assert found[0]["hash"][:12] in shown
    assert "The first rows" in shown
    assert "without rows and versions from the ledger" in shown, "no platform runs here"


def test_the_list_says_which_versions_learned_from_what(two: Path, monkeypatch) -> None:
    url = f"sqlite:///{two / 'ledger.db'}"
    monkeypatch.setattr(database, "problem", lambda _: None)
    monkeypatch.setattr(database, "url", lambda *_: url)
    first = json.loads(andon("list", "toy", "--json").output)[1]["hash"]
    ledger = open_ledger(url)
    for hash_, source in ((first, str(DATA)), ("f" * 32, "live traffic")):
        ledger.add_snapshot(hash_, model="toy", source=source, rows=7, columns={"y": "integer"})
    for version in ("1", "2"):
        ledger.add_candidate(
            model="toy", version=version, build=version, snapshot=first, git_sha="",
            git_dirty=False, bundle="", digest="", image=None, metrics={}, trigger="", run_id="",
        )  # fmt: skip
    ledger.engine.dispose()
    _, committed, live = json.loads(andon("list", "toy", "--json").output)
    assert (committed["trained"], committed["rows"]) == (["v1", "v2"], 7)
    assert (live["hash"], live["subject"], live["rows"]) == ("f" * 32, "live traffic", 7)


def test_the_difference_has_columns_rows_and_distributions(two: Path) -> None:
    found = json.loads(andon("diff", "toy", "--json").output)
    assert found["rows"] == [1_000, 950]
    assert found["columns"] == [{"name": "extra", "before": None, "after": "number"}]
    assert found["keyed"] == {
        "added": 50, "removed": 100, "changed": 900, "same": 0, "cells": {"name": 900, "y": 450},
    }  # fmt: skip
    outcomes = {it["column"]: it["verdict"]["outcome"] for it in found["shifts"]}
    assert outcomes == {"name": "fail", "y": "fail"}
    shown = andon("diff", "toy").output
    for said in ("1,000 → 950 (-50)", "50 new, 100 gone, 900 changed", "2 of 2 distributions"):
        assert said in shown
    assert "secret" not in shown + json.dumps(found), "masked values"


def test_any_two_can_be_compared_by_hash_or_revision(two: Path) -> None:
    commit(two, "The second rows")
    newest, first = (it["hash"] for it in json.loads(andon("list", "toy", "--json").output))
    for before, after in [("HEAD~1", "HEAD"), (first[:6], newest[:6]), ("HEAD~1", "")]:
        found = json.loads(andon("diff", "toy", before, after, "--json").output)
        assert (found["before"], found["after"]) == (first, newest)
    back = json.loads(andon("diff", "toy", "HEAD", first, "--json").output)
    assert back["rows"] == [950, 1_000]
    assert "nothing to compare" not in andon("diff", "toy").output


def test_old_data_comes_from_the_remote_to_be_compared(two: Path) -> None:
    import shutil

    shutil.rmtree(two / ".dvc" / "cache")
    assert json.loads(andon("diff", "toy", "--json").output)["rows"] == [1_000, 950]


def test_what_no_snapshot_is_called_says_which_there_are(two: Path) -> None:
    settings = load_settings()
    spec = load_spec(settings.project, "toy")
    with pytest.raises(LineError, match="'nope': neither the beginning of a snapshot's hash"):
        known_hash(settings, spec, "nope", [])
    with pytest.raises(LineError, match="'--help': neither"):
        known_hash(settings, spec, "--help", [])
    with pytest.raises(LineError, match="may be any of"):
        known_hash(settings, spec, "ab", ["ab1", "ab2"])


def test_one_version_has_nothing_to_be_compared_with(project: Path) -> None:
    write(project, rows())
    andon("add", "toy")
    assert "there is nothing to compare it with" in str(andon("diff", "toy").exception)


def test_rows_that_cannot_be_told_apart_are_not_compared_one_by_one(two: Path) -> None:
    write(two, pl.concat([rows(), rows()]))
    andon("add", "toy")
    found = json.loads(andon("diff", "toy", "HEAD", "--json").output)
    assert found["keyed"] is None
    assert found["notes"] == ["rows were not compared one by one: id is not unique after"]
