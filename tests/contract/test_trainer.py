"""The trainer on real splits: what it leaves, and what it searches."""

from __future__ import annotations

import json

import polars as pl
import pytest
from support import REPOSITORY
from trainer_kit import LIMITS, LINE, ROWS, Heard, facts, outcomes

from andon.adapters import files, limited
from andon.adapters.trainer import MODEL, Request
from andon.adapters.trainer.__main__ import train
from andon.adapters.trainer.data import folding, read
from serving.engines.sklearn import read_model


def test_a_build_has_all_that_evaluation_and_serving_need(make):
    request, heard = make(), []
    answer, used = limited.call(
        "andon.adapters.trainer", request.message(), LIMITS,
        what="the training", folder=request.project, told=heard.append,
    )  # fmt: skip
    assert sorted(it.name for it in request.folder.iterdir()) == [
        "facts.json", "held_out.parquet", "model.skops", "profile.json", "signature.json",
    ]  # fmt: skip
    assert set(outcomes(request).values()) == {"pass"}
    assert list(outcomes(request)) == [
        "right shape", "probabilities", "finite predictions", "better than a constant",
        "learns a few rows", "deterministic", "converged",
    ]  # fmt: skip
    assert facts(request)["metrics"]["roc_auc"] > 0.8
    assert facts(request)["seeded"] == ["line__random_state"]
    assert [it["phase"] for it in heard] == ["read", "fit", "check", "keep", "done"]
    assert answer["fit_seconds"] < used.seconds
    assert used.peak_mb > 50


def test_a_regression_is_trained(make):
    code = "from sklearn.linear_model import Ridge\ndef pipeline(): return Ridge()\n"
    request = make(code, target="value", task="regression")
    train(request, Heard())
    assert set(outcomes(request).values()) == {"pass"}
    assert "probabilities" not in outcomes(request)


@pytest.mark.parametrize("split", [{"by": "key"}, {"by": "group", "column": "place"},
                                   {"by": "time"}], ids=lambda it: it["by"])  # fmt: skip
def test_a_search_finds_the_best_and_refits_it_on_all_rows(make, split):
    choices = {"line__C": [1e-6, 1.0], "scale": ["passthrough"]}
    request = make(
        split=split, training={"folds": 3, "search": {"kind": "grid", "parameters": choices}},
        metric={"name": "log_loss"},
    )  # fmt: skip
    heard = Heard()
    train(request, heard)
    found = facts(request)["search"]
    assert found["folds"] == 3
    assert [len(it["scores"]) for it in found["candidates"]] == [3, 3]
    assert found["best"] == 1, "log_loss: less is better"
    assert facts(request)["parameters"] == {"line__C": 1.0, "scale": "passthrough"}
    assert outcomes(request)["cross-validation"] == "pass"
    model = read_model(request.folder / MODEL)
    assert (model["line"].C, model["scale"]) == (1.0, "passthrough")
    told = [it for it in heard.events if it["phase"] == "search"]
    assert [it["step"] for it in told] == [1, 2, 3, 4, 5, 6]
    assert [it["fraction"] for it in told] == sorted(it["fraction"] for it in told)
    assert "candidate 2 of 2 (line__C=1.0, scale=passthrough)" in told[-1]["where"]
    assert told[-1]["metrics"]["cv_best"] == told[-1]["metrics"]["cv_mean"]


def test_halving_goes_on_with_the_better_ones_on_more_rows(make):
    choices = {"line__C": [1e-9, 1e-8, 1e-7, 1.0]}
    request = make(
        training={"folds": 2, "search": {"kind": "halving", "factor": 2, "parameters": choices}},
        metric={"name": "log_loss"},
    )  # fmt: skip
    train(request, Heard())
    found = facts(request)["search"]["candidates"]
    assert [it["share"] for it in found] == [0.5] * 4 + [1.0] * 2
    assert facts(request)["parameters"] == {"line__C": 1.0}


def test_folds_without_a_search_tell_the_spread(make):
    request = make(training={"folds": 4})
    train(request, Heard())
    (only,) = facts(request)["search"]["candidates"]
    assert (only["parameters"], len(only["scores"])) == ({}, 4)
    assert only["spread"] > 0


def test_rows_of_one_key_are_in_one_fold(make):
    twice = pl.concat([ROWS, ROWS])
    assert folding(read(make(rows=twice))).groups is not None


def test_equal_requests_give_equal_builds(make, tmp_path):
    code = LINE.replace("LogisticRegression", "SGDClassifier").replace(
        "SGDClassifier()", "SGDClassifier(loss='log_loss')"
    )
    choices = {"line__alpha": [1e-5, 1e-4, 1e-3, 1e-2]}
    search = {"kind": "random", "iterations": 3, "parameters": choices}
    request = make(code, training={"folds": 2, "search": search}, seed=-3)
    again = request.model_copy(update={"folder": tmp_path / "again"})
    again.folder.mkdir()
    for it in (request, again):
        train(it, Heard())
    assert (request.folder / MODEL).read_bytes() == (again.folder / MODEL).read_bytes()
    first, second = (facts(it)["search"]["candidates"] for it in (request, again))
    assert [it["scores"] for it in first] == [it["scores"] for it in second]


def test_helpers_of_the_project_can_be_imported(make, tmp_path):
    code = "from helpers_of_m import made\ndef pipeline(): return made()\n"
    request = make(code)
    helper = "from sklearn.naive_bayes import GaussianNB\ndef made(): return GaussianNB()\n"
    (tmp_path / "models" / "m" / "helpers_of_m.py").write_text(helper)
    train(request, Heard())
    assert outcomes(request)["better than a constant"] == "pass"


@pytest.mark.parametrize("name", ["churn", "diabetes", "tumor"])
def test_a_spec_arrives_as_it_was_sent(tmp_path, name):
    spec = files.load_spec(REPOSITORY, name)
    sent = Request(project=tmp_path, spec=spec, split=tmp_path, folder=tmp_path, cpus=1)
    assert Request.model_validate_json(json.dumps(sent.message())) == sent
