"""A retraining is compared with the champion on held-out rows that came live since the drift."""

from __future__ import annotations

from collections.abc import Iterator

import evaluation_bench
import numpy as np
import polars as pl
import pytest
from evaluation_bench import Bench, people
from prefect.logging import disable_run_logger

import tasks.evaluate
from andon.adapters import after_release
from andon.adapters.files import load_settings, load_spec
from andon.adapters.inference_log import Window
from andon.adapters.recent import came_live
from andon.reading import parse_spec
from andon.verdict import Outcome, Verdict
from tasks.results import Evaluated
from tasks.retrain import answering  # noqa: F401 - one module does not import the other in a ring

FEATURES = ("id", "region", "age", "income")


@pytest.fixture
def bench(tmp_path, monkeypatch) -> Iterator[Bench]:
    with disable_run_logger():
        found = evaluation_bench.bench(tmp_path, monkeypatch)
        monkeypatch.setattr(
            tasks.evaluate, "_recent", lambda job, _: found.live if job.flow == "retrain" else None
        )
        yield found


def drifted(n: int) -> pl.DataFrame:
    """What was a reason for yes is one for no."""
    table = people(n, seed=7)
    other = pl.Series(np.where(table["yes"].to_numpy() == "yes", "no", "yes"))
    return table.with_columns(yes=other, id=pl.format("live-{}", pl.col("id")))


def came(table: pl.DataFrame) -> Window:
    rows = [
        {"id": row["id"].removeprefix("live-"), "time": 1.0, "version": "1", "outputs": {},
         "inputs": {k: v for k, v in row.items() if k in FEATURES[1:]}}
        for row in table.iter_rows(named=True)
    ]  # fmt: skip
    return Window(tuple(rows), dict(zip((it["id"] for it in rows), table["yes"], strict=True)))


def by_check(said: Evaluated) -> dict[str, Verdict]:
    return {it.check: it for it in said.verdicts}


def test_old_rows_do_not_outvote_the_recent_ones(bench):
    """Learned from 6,000 old rows and 1,000 of today: as good on all, and no better today."""
    bench.write()
    old, today = people(6_000), drifted(1_000)
    bench.crown(bench.train(old)[1])
    bench.job = bench.job.model_copy(update={"flow": "retrain"})
    bench.live = came(today)
    bench.write(settings="C=0.5")
    said, found = bench.evaluate(*bench.train(pl.concat([old, today])))
    verdict = by_check(said)["not worse than champion"]
    assert 150 < verdict.n < 250, "a fifth of today's rows, and no others"
    assert found.rows == verdict.n
    assert verdict.evidence["champion"] < 0.2
    answer = by_check(said)["as good on recent live rows"]
    assert (answer.value, answer.limit, answer.n) == (verdict.value, 0.0, verdict.n)
    assert answer.outcome is (Outcome.PASS if verdict.value >= 0 else Outcome.FAIL)
    assert "v1 on" in answer.detail


def test_a_challenger_that_learned_the_new_world_passes_and_a_bad_one_fails(bench):
    bench.write(more="metric: {margin: 0.5}")
    bench.crown(bench.train(people(2_000))[1])
    bench.job = bench.job.model_copy(update={"flow": "retrain"})
    today = drifted(1_500)
    bench.live = came(today)
    bench.write(more="metric: {margin: 0.5}", settings="C=0.5")
    said, _ = bench.evaluate(*bench.train(today))
    assert by_check(said)["as good on recent live rows"].outcome is Outcome.PASS
    bench.crown(bench.train(today)[1])
    bench.write(more="metric: {margin: 0.5}", columns=["age"])
    said, _ = bench.evaluate(*bench.train(today))
    assert by_check(said)["not worse than champion"].outcome is Outcome.PASS, "within the margin"
    answer = by_check(said)["as good on recent live rows"]
    assert (answer.outcome, answer.value < 0) == (Outcome.FAIL, True)


def test_no_recent_rows_and_the_champions_own_build_are_no_answer(bench):
    bench.write()
    _, trained = bench.train(people(1_000))
    bench.crown(trained)
    bench.job = bench.job.model_copy(update={"flow": "retrain"})
    said, _ = bench.evaluate(*bench.train(people(1_000)))
    assert by_check(said)["as good on recent live rows"].outcome is Outcome.FAIL
    assert "this build is the champion" in said.verdicts[0].detail
    bench.write(settings="C=0.5")
    said, _ = bench.evaluate(*bench.train(people(1_000)))
    assert by_check(said)["as good on recent live rows"].outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("key", ["key: id", ""])
def test_live_rows_are_known_by_key_or_by_content(key):
    spec = parse_spec(f"data: d.csv\ntarget: yes_\ntask: binary\n{key}\n", name="p", file="f")
    old, today = (it.select(*FEATURES, yes_="yes") for it in (people(20), drifted(10)))
    table = pl.concat([old, today])
    mine = came_live(table, spec, came(drifted(10)))
    assert mine.tolist() == [False] * 20 + [True] * 10
    assert not came_live(table, spec, Window((), {})).any()


def test_after_a_release_both_versions_are_compared_on_the_rows_that_the_new_one_answered(
    bench, monkeypatch
):
    bench.write()
    table = people(1_500)
    made = {}
    for version, columns in (("1", ["age", "income"]), ("2", ["age"])):
        bench.write(columns=columns)
        bench.crown(bench.train(table)[1], version)
        made[version] = bench.rival
    asked: list[object] = []
    live = came(people(700, seed=3))

    def read(*given: object, **named: object) -> Window:
        asked.append(named["live"])
        return live

    monkeypatch.setattr(after_release, "read_labelled", read)
    settings, spec = load_settings(), load_spec(bench.project, bench.model)

    def against(now: str, earlier: str) -> Verdict:
        spans = {it: [(5.0, 9.0)] for it in made}
        return after_release.against_the_one_before(
            settings, spec, "production", made[now], made[earlier], since=5.0, live=spans
        )

    worse = against("2", "1")
    assert worse.outcome is Outcome.FAIL
    assert "v1 as champion, v2 as challenger: roc_auc: champion 0.9" in worse.detail
    assert asked == [{"2": [(5.0, 9.0)]}], "no rows that the version before answered"
    assert against("1", "2").outcome is Outcome.PASS
    live = came(people(150, seed=3))
    few = against("2", "1")
    assert (few.outcome, few.detail) == (Outcome.INCONCLUSIVE, "150 labelled rows, wanted 200")
