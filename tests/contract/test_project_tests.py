"""A project's own tests become verdicts, whatever they do; golden rows, too."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import psutil
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from andon.adapters import model_tests, project_tests, tables
from andon.adapters.builds import Build
from andon.adapters.model_tests import Examined, GoldenRow
from andon.errors import LineError
from andon.metrics import METRICS
from andon.settings import Settings
from andon.spec import Costs, ModelSpec
from andon.thresholds import with_threshold
from andon.verdict import Outcome, Verdict
from tests.support import wait_until

MODEL = "model.yaml"


def run(tmp_path: Path, code: str, *, minutes: float = 1.0) -> dict[str, Verdict]:
    folder = tmp_path / "models" / "shoes" / "tests"
    folder.mkdir(parents=True)
    (folder / "test_it.py").write_text(code)
    found = project_tests.run(
        Settings(project=tmp_path), "shoes", tmp_path / "build", minutes=minutes
    )
    return {it.check.rpartition("::")[2]: it for it in found}


def test_each_test_is_a_verdict(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        "import pytest\n"
        "def test_good(): pass\n"
        "def test_bad(): assert 1 == 2, 'shoes are too big'\n"
        "@pytest.mark.skip(reason='no feet here')\n"
        "def test_skipped(): pass\n"
        "@pytest.mark.parametrize('n', [1, 2])\n"
        "def test_many(n): assert n\n",
    )
    assert {name: it.outcome.value for name, it in found.items()} == {
        "test_good": "pass",
        "test_bad": "fail",
        "test_skipped": "inconclusive",
        "test_many[1]": "pass",
        "test_many[2]": "pass",
    }
    assert "shoes are too big" in found["test_bad"].detail
    assert "no feet here" in found["test_skipped"].detail


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def test_it(: pass", "SyntaxError"),
        ("import nothing_like_this", "nothing_like_this"),
        ("import os\ndef test_it(): os._exit(3)", "status 3"),
        ("import os\ndef test_it(): os.kill(os.getpid(), 9)", "killed by signal 9"),
        ("def test_it(): raise SystemExit(0)", "SystemExit"),
    ],
)
def test_a_test_that_ends_pytest_is_a_failure(tmp_path: Path, code: str, said: str) -> None:
    found = run(tmp_path, code)
    (bad,) = [it for it in found.values() if it.outcome is Outcome.FAIL]
    assert said in bad.detail


def test_a_test_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    found = run(
        tmp_path,
        "import signal, subprocess, sys, pathlib\n"
        "def test_it():\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    child = subprocess.Popen([sys.executable, '-c', 'while True: pass'])\n"
        f"    pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child.pid))\n"
        "    while True: pass\n",
        minutes=0.3,
    )
    (bad,) = found.values()
    assert bad.outcome is Outcome.FAIL
    assert "(tests.minutes in model.yaml)" in bad.detail
    child = int((tmp_path / "pid").read_text())
    wait_until(lambda: not psutil.pid_exists(child) or _zombie(child), 10, "the child ends")


def _zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_no_tests_are_no_verdicts(tmp_path: Path) -> None:
    assert project_tests.run(Settings(project=tmp_path), "shoes", tmp_path, minutes=1) == []
    assert run(tmp_path, "x = 1") == {}


def test_a_project_s_tests_are_given_the_build(tmp_path: Path, built: Examined) -> None:
    from serving.archive import dump

    folder = tmp_path / "build"
    folder.mkdir()
    dump(built.build.model, folder / "model.skops")
    built.rows.write_parquet(folder / "held_out.parquet")
    (folder / "facts.json").write_text(json.dumps({"classes": ["no", "yes"]}))
    import msgspec

    signature = tables.signature(built.rows, built.spec)
    (folder / "signature.json").write_bytes(msgspec.json.encode(signature))
    (tmp_path / "models" / "shoes").mkdir(parents=True)
    (tmp_path / "models" / "shoes" / MODEL).write_text("{data: x.csv, target: y, task: binary}")
    found = run_here(
        tmp_path,
        "def test_it(model, held_out, truth, facts):\n"
        "    assert facts['classes'] == ['no', 'yes']\n"
        "    assert (model.predict(held_out) == truth).mean() > 0.9\n",
    )
    assert found["test_it"].outcome is Outcome.PASS, found


def run_here(tmp_path: Path, code: str) -> dict[str, Verdict]:
    folder = tmp_path / "models" / "shoes" / "tests"
    folder.mkdir()
    (folder / "test_it.py").write_text(code)
    found = project_tests.run(Settings(project=tmp_path), "shoes", tmp_path / "build", minutes=1)
    return {it.check.rpartition("::")[2]: it for it in found}


@pytest.fixture(scope="module")
def built() -> Examined:
    rng = np.random.default_rng(0)
    size, width = rng.normal(42, 3, 500), rng.normal(9, 1, 500)
    y = ["yes" if it > 42 else "no" for it in size + rng.normal(0, 0.1, 500)]
    rows = pl.DataFrame({"size": size, "width": width, "y": y})
    spec = ModelSpec(name="shoes", data="x.csv", target="y", task="binary")
    columns = tables.signature(rows, spec).columns
    frame = tables.training_frame(rows, columns)
    scale = make_column_transformer((StandardScaler(), ["size", "width"]))
    pipeline = make_pipeline(scale, LogisticRegression()).fit(frame, np.array(y))
    build = Build(pipeline, columns, ["no", "yes"], 1)
    return Examined(build, spec, rows, METRICS["roc_auc"])


def test_a_sound_build_passes(built: Examined) -> None:
    found = model_tests.check(built, [])
    assert {it.outcome for it in found} == {Outcome.PASS}, found
    assert {it.check for it in found} >= {"nulls cost little", "numbers out of any range"}


@pytest.mark.parametrize(
    ("golden", "said"),
    [
        (GoldenRow("big", {"size": 60}, label="yes"), "as written down"),
        (GoldenRow("big", {"size": 60}, label="no"), "the label is 'yes'"),
        (GoldenRow("big", {"size": 60}, score=0.2), "the score is"),
        (GoldenRow("big", {"size": 60}, score=1.0, tolerance=0.01), "as written down"),
        (GoldenRow("big", {"hat": 60}), "found hat, the features are size, width"),
        (GoldenRow("mean", {"size": 42}, features={"standardscaler__hat": 0}), "no feature"),
        (GoldenRow("nothing", {"size": float("nan")}, label="no"), "refused the rows: Input X"),
        (
            GoldenRow("mean", {"size": 42}, features={"standardscaler__size": 0}, tolerance=0.1),
            "as written down",
        ),
        (GoldenRow("mean", {"size": 48}, features={"standardscaler__size": 0}), "is 1.9997, not 0"),
    ],
)
def test_golden_rows(built: Examined, golden: GoldenRow, said: str) -> None:
    found = model_tests.check(built, [golden])[-1]
    assert said in found.detail
    assert (found.outcome is Outcome.PASS) == (said == "as written down")


def test_a_file_of_golden_rows_is_read_or_named(tmp_path: Path) -> None:
    path = tmp_path / "golden.json"
    assert model_tests.read_golden(path) == []
    path.write_text('[{"name": "a", "row": {"size": 42}, "score": 0.5}]')
    assert model_tests.read_golden(path) == [GoldenRow("a", {"size": 42}, 0.5)]
    path.write_text('[{"name": "a", "rows": {}}]')
    with pytest.raises(LineError, match=r"golden\.json: .*rows"):
        model_tests.read_golden(path)


def test_golden_features_are_found_behind_a_threshold(built: Examined) -> None:
    model = with_threshold(
        built.build.model,
        built.frame,
        tables.target(built.rows, built.spec),
        Costs(false_negative=5),
        "yes",
        seed=0,
    )
    fixed = replace(built, build=replace(built.build, model=model))
    golden = GoldenRow("mean", {"size": 42}, features={"standardscaler__size": 0}, tolerance=0.1)
    assert model_tests.check(fixed, [golden])[-1].outcome is Outcome.PASS
