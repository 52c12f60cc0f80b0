"""The evaluation station on real builds and bundles: what it decides, and what it writes down."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import evaluation_bench
import numpy as np
import polars as pl
import pytest
from evaluation_bench import Bench, people
from prefect.logging import disable_run_logger

import tasks.bundle
import tasks.evaluate
import tasks.labels
import tasks.line
import tasks.split
import tasks.train
from andon import evidence
from andon.adapters import tables
from andon.adapters.files import load_settings
from andon.adapters.inference_log import Window
from andon.adapters.labelled import Labelled
from andon.errors import DataError, LineError
from andon.labels import Arrived
from andon.spec import QualityMonitor
from andon.verdict import Outcome, Verdict
from serving import engine
from tasks.results import Evaluated, Trained

PASS, INCONCLUSIVE = Outcome.PASS, Outcome.INCONCLUSIVE


@pytest.fixture
def bench(tmp_path, monkeypatch) -> Iterator[Bench]:
    with disable_run_logger():
        yield evaluation_bench.bench(tmp_path, monkeypatch)


def outcomes(said: Evaluated) -> dict[str, Outcome]:
    return {it.check: it.outcome for it in said.verdicts}


def test_a_first_model_is_measured_with_intervals_and_slices_but_compared_with_nobody(bench):
    bench.write(more="metric: {limit: 0.7}")
    said, found = bench.evaluate(*bench.train(people(1_500)))
    assert outcomes(said) == {"absolute limit": PASS, "not worse than champion": PASS}
    assert "(95 %" in said.verdicts[0].detail
    assert found.comparison is None
    assert found.champion is None
    decides, *others = found.metrics
    assert (decides.name, decides.decides, decides.limit) == ("roc_auc", True, 0.7)
    assert decides.challenger.low < decides.challenger.value < decides.challenger.high
    assert {it.name for it in others} == {"log_loss", "brier", "accuracy"}
    named = [it for it in found.slices.slices if it.named]
    assert {it.conditions[0].value for it in named} == {"north", "south"}
    assert found.calibration.error.value < 0.15
    assert sum(map(sum, found.confusion.challenger)) == found.rows == said.verdicts[0].n


@pytest.mark.parametrize(
    ("task", "metric"),
    [
        ("binary", "roc_auc"), ("binary", "f1"), ("binary", "neg_log_loss"),
        ("multiclass", "roc_auc_ovr"), ("multiclass", "neg_log_loss"), ("multiclass", "accuracy"),
        ("regression", "rmse"), ("regression", "neg_median_absolute_error"),
    ],
)  # fmt: skip
def test_a_challenger_as_good_passes_and_one_that_lacks_a_feature_fails(bench, task, metric):
    more = f"metric: {{name: {metric}, margin: 0.05}}"
    bench.write(task=task, more=more)
    good = bench.train(people(2_500), task)
    bench.crown(good[1])
    bench.write(task=task, more=more, columns=["age"])
    said, found = bench.evaluate(*bench.train(people(2_500), task))
    assert outcomes(said)["not worse than champion"] is Outcome.FAIL
    assert outcomes(said)["no harm on named slices"] is Outcome.FAIL
    assert found.comparison.gain.high < -0.05
    assert found.metrics[0].champion is not None
    bench.write(task=task, more=more, settings="fit_intercept=False")
    said, found = bench.evaluate(*bench.train(people(2_500), task))
    assert set(outcomes(said).values()) == {PASS}
    assert found.champion == "1"
    assert (found.residuals is None) == (task != "regression")


def test_a_metric_of_the_projects_own_decides(bench):
    bench.write(more="metric: {name: 'metrics.py:profit', margin: 2}")
    (bench.project / "models" / "people" / "metrics.py").write_text(
        "def profit(y, p):\n    called = p > 0.4\n    return (20 * y[called] - 10).sum() / len(y)\n"
    )
    trained = bench.train(people(1_500))
    assert trained[1].metrics["metrics.py:profit"] > 1
    bench.crown(trained[1])
    bench.write(more="metric: {name: 'metrics.py:profit', margin: 2}", settings="C=0.9")
    said, found = bench.evaluate(*bench.train(people(1_500)))
    assert outcomes(said)["not worse than champion"] is PASS
    assert found.comparison.method == "bootstrap"
    (bench.project / "models" / "people" / "metrics.py").write_text(
        "def profit(y, p):\n    return y.x\n"
    )
    with pytest.raises(LineError, match=r"models/people/metrics\.py:2: profit\(\) raised"):
        bench.train(people(1_500))


def test_a_few_rows_are_inconclusive_and_say_how_many_would_settle_it(bench):
    bench.write(more="metric: {margin: 0.001}")
    bench.crown(bench.train(people(400))[1])
    bench.write(more="metric: {margin: 0.001}", settings="C=0.01")
    said, found = bench.evaluate(*bench.train(people(400)))
    assert outcomes(said)["not worse than champion"] is INCONCLUSIVE
    assert found.comparison.more_rows > 0
    assert "more held-out rows would settle it" in said.verdicts[0].detail


def test_rows_that_the_champion_learned_from_are_left_out(bench):
    """Another seed holds other rows out: most of them the champion has learned from."""
    bench.write()
    table = people(3_000)
    bench.crown(bench.train(table)[1])
    bench.write(more="seed: 1")
    snapshot, trained = bench.train(table)
    said, found = bench.evaluate(snapshot, trained)
    (verdict, *_) = said.verdicts
    assert found.excluded == verdict.evidence["excluded"] > 300
    assert found.rows == trained.rows[1] - found.excluded == found.comparison.n
    assert "held-out rows are left out: v1 has learned from them" in verdict.detail
    assert verdict.outcome is not Outcome.FAIL


def test_too_few_rows_that_the_champion_does_not_know_are_inconclusive(bench):
    bench.write()
    table = people(500)
    bench.crown(bench.train(table)[1])
    bench.write(more="seed: 1")
    said, _ = bench.evaluate(*bench.train(table))
    assert said.verdicts[0].outcome is INCONCLUSIVE
    assert "held-out rows, wanted at least 30" in said.verdicts[0].detail
    assert "left out" in said.verdicts[0].detail


def test_a_champion_that_needs_another_column_cannot_be_compared(bench):
    bench.write()
    bench.crown(bench.train(people(1_000))[1])
    bench.write(columns=["age"])
    said, found = bench.evaluate(*bench.train(people(1_000).drop("income")))
    assert said.verdicts[0].outcome is INCONCLUSIVE
    assert "cannot score these rows" in said.verdicts[0].detail
    assert found.comparison is None
    assert found.metrics[0].champion is None


def test_a_challenger_that_harms_live_rows_fails(bench):
    bench.write()
    bench.crown(bench.train(people(1_500))[1])
    bench.write(settings="C=0.9")
    snapshot, trained = bench.train(people(1_500))
    live = people(400, seed=9)
    rows = [
        {"id": str(number), "time": 1.0, "inputs": {k: v for k, v in row.items() if k in
         ("id", "region", "age", "income")}, "outputs": {}}
        for number, row in enumerate(live.iter_rows(named=True))
    ]  # fmt: skip
    bench.live = Window(tuple(rows), {str(i): y for i, y in enumerate(live["yes"])})
    said, _ = bench.evaluate(snapshot, trained)
    assert outcomes(said)["no harm seen on live rows"] is PASS
    assert "settle" not in said.verdicts[-1].detail


@pytest.mark.parametrize("positive", ["yes", "no"])
def test_a_threshold_by_cost_is_served_as_it_was_chosen(bench, positive):
    costs = "threshold: {false_positive: 1, false_negative: 8}"
    bench.write(more=f"positive: '{positive}'\n{costs}\nserving: {{engine: auto}}")
    path = bench.project / "models" / "people" / "model.yaml"
    path.write_text(path.read_text().replace("serving: {engine: sklearn}\n", ""))
    table = people(4_000)
    snapshot, trained = bench.train(table)
    _, found = bench.evaluate(snapshot, trained)
    assert found.thresholds.chosen < 0.35
    assert found.thresholds.saved.low > 0
    bench.crown(trained)
    served = engine.load(load_settings().state / bench.rival.bundle)
    assert served.kind != "sklearn", "the threshold is compiled, too"
    records = tables.records(table, served.signature.columns)
    scores = served.scores(records)[:, served.manifest.positive]
    labels = [it["label"] for it in served.answer(records)]
    assert [it == positive for it in labels] == (scores >= found.thresholds.chosen).tolist()
    without = bench.project / "models" / "people" / "model.yaml"
    without.write_text(without.read_text().replace(costs, ""))
    plain = bench.train(table)[1]
    assert plain.key != trained.key


def watched(bench: Bench, trained: Trained, live: pl.DataFrame, monkeypatch) -> Verdict:
    """The quality monitor on rows that the champion answered, with their labels."""
    line = tasks.line.line_for(bench.model)
    served = engine.load(line.settings.state / bench.rival.bundle)
    answers = served.answer(tables.records(live, served.signature.columns))
    said = {
        "label": [it["label"] for it in answers],
        "score": [it["probabilities"].get("yes", 0.5) for it in answers],
    }
    labels, times = live["y"].to_list(), np.arange(float(len(answers)))

    def read(line, release, monitor, info, **_) -> Labelled:
        key = tasks.labels.KEYS[info.uses]
        return Labelled(times, said[key], labels, Arrived(len(times), len(times)))

    monkeypatch.setattr(tasks.labels, "_read", read)
    monkeypatch.setattr(tasks.labels, "_predecessors", lambda *_: ())
    candidate = SimpleNamespace(
        bundle=bench.rival.bundle, version="1", metrics=dict(trained.metrics)
    )
    champion = SimpleNamespace(
        version="1", environment="production", model=bench.model, ended_at=0.0
    )
    monitor = QualityMonitor(kind="quality", margin=0.2)
    (verdict,) = tasks.labels.judge_labels(line, candidate, champion, monitor).verdicts
    return verdict


@pytest.mark.parametrize("metric", ["roc_auc", "accuracy", "f1", "neg_log_loss"])
def test_the_metric_that_decides_is_watched(bench, metric, monkeypatch):
    bench.write(more=f"metric: {{name: {metric}}}")
    _, trained = bench.train(people(1_500))
    bench.crown(trained)
    live = people(600, seed=5).rename({"yes": "y"})
    assert watched(bench, trained, live, monkeypatch).outcome is PASS
    flipped = live.with_columns(y=pl.Series(["no" if it == "yes" else "yes" for it in live["y"]]))
    assert watched(bench, trained, flipped, monkeypatch).outcome is Outcome.FAIL


def test_a_metric_that_the_log_cannot_give_is_said_not_to_be_watched(bench, monkeypatch):
    bench.write(task="multiclass", more="metric: {name: neg_log_loss}")
    _, trained = bench.train(people(1_500), "multiclass")
    bench.crown(trained)
    said = watched(bench, trained, people(300, seed=5).rename({"kind": "y"}), monkeypatch)
    assert said.outcome is INCONCLUSIVE
    assert "the log has the highest probability of a row only" in said.detail
    bench.write(task="multiclass", more="metric: {name: f1_macro}")
    said = watched(bench, trained, people(300, seed=5).rename({"kind": "y"}), monkeypatch)
    assert "f1_macro cannot be watched: v1 was not measured by it" in said.detail


def test_masked_columns_show_no_values(bench):
    bench.write(more="reports: {mask: [region]}")
    bench.crown(bench.train(people(1_500))[1])
    bench.write(more="reports: {mask: [region]}", settings="C=0.9")
    _, found = bench.evaluate(*bench.train(people(1_500)))
    text = evidence.to_json(found).decode()
    assert "north" not in text
    assert "masked 1" in text


def test_a_slice_of_a_column_that_is_not_there_is_told_early(bench):
    bench.write(more="")
    path = bench.project / "models" / "people" / "model.yaml"
    path.write_text(path.read_text().replace("columns: [region]", "columns: [religion]"))
    with pytest.raises(DataError, match="columns that the data lacks: \\['religion'\\]"):
        tasks.split.split_rows.fn(bench.job, bench.snapshot(people(200)))
