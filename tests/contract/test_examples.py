"""The example models: their data is what the pointers say, and they are good enough to deliver."""

import importlib.util
import runpy
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest

from andon import profile
from andon.adapters import dvc, files, tables
from andon.adapters.expectations import validate
from andon.drift import total_variation
from andon.metrics import METRICS
from andon.spec import ModelSpec
from andon.splits import by_hash
from andon.training import classes_of, outputs, truth
from andon.verdict import Outcome, gate

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = ("churn", "diabetes", "tumor")


def make_data(project: Path, *python: str) -> str:
    """What `make_data.py` of a project prints."""
    command = [sys.executable, *(python or ["models/make_data.py"])]
    return subprocess.run(command, cwd=project, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh copy of what is committed, with its data made."""
    folder = tmp_path_factory.mktemp("project")
    ignore = shutil.ignore_patterns("*.parquet", "__pycache__", "cache", "tmp")
    for name in ("models", ".dvc"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignore)
    for name in ("andon.yaml", ".dvcignore"):
        shutil.copy(REPOSITORY / name, folder / name)
    said = make_data(folder)
    assert [line.split(": ")[1] for line in said.splitlines()] == [
        "made, and put into DVC's store"
    ] * 3
    return folder


def spec_and_table(project: Path, name: str) -> tuple[ModelSpec, pl.DataFrame]:
    spec = files.load_spec(project, name)
    source = dvc.fetch(project, Path("models") / name / spec.data)
    return spec, tables.read(source).collect()


class Trained:
    """A model of an example, fitted as the line does it."""

    def __init__(self, project: Path, spec: ModelSpec, learn: pl.DataFrame) -> None:
        self.spec, self.columns = spec, tables.signature(learn, spec).columns
        made = runpy.run_path(str(project / "models" / spec.name / "pipeline.py"))["pipeline"]()
        y = learn[spec.target].to_numpy()
        self.classes, self.positive = classes_of(y, spec.task, spec.positive)
        self.model = made.fit(tables.training_frame(learn, self.columns), y)

    def scores(self, table: pl.DataFrame) -> np.ndarray[Any, Any]:
        frame = tables.training_frame(table, self.columns)
        return outputs(self.model, frame, self.spec.task, self.positive).scores

    def metric(self, table: pl.DataFrame) -> float:
        name, y = self.spec.metric_name, table[self.spec.target].to_numpy()
        return METRICS[name].of(truth(y, name, self.spec.positive), self.scores(table))


def held_out(spec: ModelSpec, table: pl.DataFrame) -> np.ndarray[Any, Any]:
    return by_hash(tables.keys(table, spec), spec.split.share, spec.seed)


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    where = REPOSITORY / "models" / "churn" / "generator.py"
    found = importlib.util.spec_from_file_location("churn_generator", where)
    assert found and found.loader
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def churn(project: Path) -> Trained:
    spec, table = spec_and_table(project, "churn")
    return Trained(project, spec, table.filter(~held_out(spec, table)))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_data_is_what_its_pointer_says(project: Path, name: str) -> None:
    data = Path("models") / name / "data" / f"{name}.parquet"
    committed = (REPOSITORY / f"{data}.dvc").read_text()
    assert f"md5: {dvc.md5_of(project / data)}\n" in committed
    assert (project / f"{data}.dvc").read_text() == committed


def test_with_nothing_to_do_it_does_nothing(project: Path) -> None:
    heavy = "import runpy, sys; sys.argv = ['make_data']\n"
    heavy += "try: runpy.run_path('models/make_data.py', run_name='__main__')\n"
    heavy += "finally: print(sorted({'sklearn', 'dvc', 'polars'} & set(sys.modules)))"
    *said, loaded = make_data(project, "-c", heavy).splitlines()
    assert [line.split(": ")[1] for line in said] == ["nothing to do"] * 3
    assert loaded == "[]"


def test_as_a_module_it_is_the_same(project: Path) -> None:
    assert make_data(project, "-m", "models.make_data").count("nothing to do") == 3


def test_after_it_dvc_has_nothing_to_report(project: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    status = [sys.executable, "-m", "dvc", "status", "--json"]
    for command in (status, [*status, "--cloud"]):
        assert subprocess.check_output(command, cwd=project, text=True).strip() == "{}"


def test_a_lost_remote_is_filled_again(project: Path) -> None:
    shutil.rmtree(project / ".andon")
    assert make_data(project).count("put into DVC's store") == 3
    assert make_data(project).count("nothing to do") == 3


def test_other_bytes_are_tracked_and_told(project: Path, tmp_path: Path) -> None:
    copy = tmp_path / "project"
    shutil.copytree(project, copy)
    tumor = Path("models/tumor/data/tumor.parquet")
    was, _ = dvc.tracked(copy, tumor)
    pl.read_parquet(copy / tumor).head(500).write_parquet(copy / tumor)
    (told,) = [line for line in make_data(copy).splitlines() if line.startswith(str(tumor))]
    assert f"POINTER CHANGED from MD5 {was} to {dvc.md5_of(copy / tumor)}" in told
    assert dvc.fetch(copy, tumor) == copy / tumor


@pytest.mark.parametrize("name", EXAMPLES)
def test_its_data_keeps_its_own_promises(project: Path, name: str, tmp_path: Path) -> None:
    spec, _ = spec_and_table(project, name)
    snapshot = tables.write_snapshot(project / "models" / name / spec.data, tmp_path)
    report = validate(snapshot.path, project / "models" / name / "expectations.json", spec)
    assert [v for v in report.verdicts if v.outcome is not Outcome.PASS] == []
    assert report.warnings == []
    assert gate(report.verdicts) is Outcome.PASS


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_is_better_than_its_limit(project: Path, name: str) -> None:
    spec, table = spec_and_table(project, name)
    out = held_out(spec, table)
    found = Trained(project, spec, table.filter(~out)).metric(table.filter(out))
    assert spec.metric.limit is not None
    if METRICS[spec.metric_name].greater_is_better:
        assert found > spec.metric.limit
    else:
        assert found < spec.metric.limit


@pytest.mark.parametrize("name", EXAMPLES)
def test_its_spec_can_be_read_at_once(name: str) -> None:
    text = (REPOSITORY / "models" / name / "model.yaml").read_text()
    assert len(text.splitlines()) <= 25


def test_the_models_own_tests_pass() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "models"]
    run = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def test_time_alone_is_no_drift(churn: Trained, project: Path, generator: ModuleType) -> None:
    _, table = spec_and_table(project, "churn")
    later = generator.rows(5_000, seed=9, start=datetime(2027, 6, 1))
    assert max(distances(churn, table, later).values()) < 0.05
    assert 0.80 < churn.metric(later) < 0.88


def test_covariate_drift_shifts_columns_and_hardly_the_metric(
    churn: Trained, project: Path, generator: ModuleType
) -> None:
    _, table = spec_and_table(project, "churn")
    live = generator.rows(5_000, seed=9, drift=generator.Drift.COVARIATE)
    found = distances(churn, table, live)
    assert sum(distance > 0.15 for distance in found.values()) >= 4, found
    assert churn.metric(live) > 0.79


def test_concept_drift_shifts_no_column(
    churn: Trained, project: Path, generator: ModuleType
) -> None:
    _, table = spec_and_table(project, "churn")
    live = generator.rows(5_000, seed=9, drift=generator.Drift.CONCEPT)
    assert max(distances(churn, table, live).values()) < 0.05
    assert churn.metric(live) < 0.70


def test_after_both_drifts_retraining_on_2000_rows_helps(
    churn: Trained, project: Path, generator: ModuleType
) -> None:
    both = generator.Drift.COVARIATE | generator.Drift.CONCEPT
    live = generator.rows(7_000, seed=9, drift=both)
    retrained = Trained(project, churn.spec, live.head(2_000))
    old, new = churn.metric(live.tail(5_000)), retrained.metric(live.tail(5_000))
    assert old < 0.70
    assert new > old + 0.10


def distances(churn: Trained, reference: pl.DataFrame, live: pl.DataFrame) -> dict[str, float]:
    """Total variation of each column between two tables."""
    built = profile.build(reference, churn.columns, np.zeros(1))
    return {
        feature.name: total_variation(
            profile.counts(feature), profile.window_counts(feature, live[feature.name])
        )
        for feature in built.features
    }
