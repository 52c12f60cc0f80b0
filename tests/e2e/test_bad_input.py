"""Bad data, bad code, bad specs, bad candidates: the line stops at the right station, says why, and
the champion keeps serving.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import polars as pl
import pytest
from line_under_test import LONG, LineUnderTest, commit
from one_process import Deliveries, last_station
from support import scratch_folder, wait_until
from survival import Steady

from andon.adapters import dvc
from andon.adapters.mlflow_registry import Registry

pytestmark = pytest.mark.slow

Damage = Callable[[pl.DataFrame], pl.DataFrame]
MODEL = "tumor"


def stopped(line: LineUnderTest, deliveries: Deliveries, outcome: str, station: str) -> str:
    """Deliver; it has to end like this and there. What the ledger says of it."""
    run = deliveries.deliver(MODEL)
    assert (run.outcome, run.state) == (outcome, "FAILED"), run.message
    wait_until(lambda: last_station(line, run.id) == station, 30, f"{station} is the last station")
    return run.message


@pytest.fixture(scope="module")
def deliveries(line: LineUnderTest) -> Iterator[Deliveries]:
    line.andon("deliver", MODEL)
    made = Deliveries(line)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def as_it_was(line: LineUnderTest, deliveries: Deliveries) -> Iterator[None]:
    """Every test gets the project as it was, and leaves the champion as it was."""
    folder = line.project / "models" / MODEL
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    yield
    assert line.champion(MODEL) == "1", "the champion is untouched"
    answer = line.ask(MODEL, line.sample(MODEL))
    assert answer.status_code == 200 and answer.headers["X-Andon-Version"] == "1"
    for path, content in before.items():
        if not path.is_file() or path.read_bytes() != content:
            path.unlink(missing_ok=True)
            path.write_bytes(content)
    commit(line.project, "as it was")


def data(line: LineUnderTest) -> Path:
    return line.project / "models" / MODEL / "data" / f"{MODEL}.parquet"


def replace(line: LineUnderTest, content: pl.DataFrame | bytes) -> None:
    """Other data, added and committed."""
    data(line).unlink()  # it may be a link into DVC's store
    if isinstance(content, bytes):
        data(line).write_bytes(content)
    else:
        content.write_parquet(data(line))
    dvc.track(line.project, data(line))
    commit(line.project, "damaged data")


DAMAGES: dict[str, tuple[Damage, str, list[str]]] = {
    "a missing feature": (lambda t: t.drop("worst_area"), "validate", ["missing: worst_area"]),
    "no target": (
        lambda t: t.drop("diagnosis"),
        "validate",
        ["column 'diagnosis' is missing", "correct `target` there"],
    ),
    "a wrong type": (
        lambda t: t.with_columns(pl.format("{} cm", "mean_radius").alias("mean_radius")),
        "validate",
        ["mean_radius", "found str", "float64"],
    ),
    "all nulls in the target": (
        lambda t: t.with_columns(pl.lit(None, pl.String).alias("diagnosis")),
        "validate",
        ["diagnosis", "569 of 569 values are null", "leave such rows out"],
    ),
    "one class only": (
        lambda t: t.filter(pl.col("diagnosis") == "benign"),
        "validate",
        ["diagnosis", "found 1", "needs exactly 2 classes"],
    ),
    "infinite numbers": (
        lambda t: t.with_columns(pl.lit(float("inf")).alias("mean_radius")),
        "validate",
        ["infinite values in mean_radius (569 rows)", "make them null"],
    ),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_damaged_data_does_not_pass_validation(line, deliveries, what):
    damage, station, words = DAMAGES[what]
    replace(line, damage(pl.read_parquet(data(line))))
    said = stopped(line, deliveries, "stopped", station)
    for word in ("validation failed", *words):
        assert word in said


def test_what_is_no_table_of_rows_does_not_become_a_snapshot(line, deliveries):
    whole = pl.read_parquet(data(line))
    for content, words in {
        "no rows": (whole.head(0), "0 rows; nothing can be learned from it"),
        "no Parquet": (b"not a table", "not a readable Parquet file"),
        "lists": (
            whole.with_columns(pl.concat_list("mean_radius").alias("mean_radius")),
            "columns of a type that no model can take: mean_radius is List(Float64)",
        ),
    }.values():
        replace(line, content)
        said = stopped(line, deliveries, "failed", "take snapshot")
        assert f"{MODEL}.parquet: {words}" in said


def test_data_that_is_not_what_the_commit_says(line, deliveries):
    whole = pl.read_parquet(data(line))
    whole.head(-9).write_parquet(data(line))
    said = stopped(line, deliveries, "failed", "take snapshot")
    assert "its MD5 is" in said and "if the change is meant, run `dvc add" in said
    dvc.pointer(data(line)).unlink()
    said = stopped(line, deliveries, "failed", "take snapshot")
    assert "not tracked by DVC; run `dvc add models/tumor/data/tumor.parquet`" in said
    data(line).unlink()
    said = stopped(line, deliveries, "failed", "take snapshot")
    assert "the data file is not there either" in said


CODES = {
    "def pipeline(:": "SyntaxError",
    "import no_such_library": "No module named 'no_such_library'",
    "def pipeline():\n    raise RuntimeError('no luck')": "pipeline() raised RuntimeError: no luck",
    "def pipeline():\n    return 7": "pipeline() returned int, expected a scikit-learn estimator",
    "def other():\n    return 7": "defines no function `pipeline`",
    "from sklearn.svm import LinearSVC\ndef pipeline():\n    return LinearSVC()": (
        "LinearSVC has no predict_proba; put it into a CalibratedClassifierCV"
    ),
    "from sklearn.linear_model import LogisticRegression\n"
    "class Mine(LogisticRegression):\n    pass\n"
    "def pipeline():\n    return Mine(max_iter=5_000)": "not trusted: ['andon_project_tumor.Mine']",
}


@pytest.mark.parametrize("code", CODES)
def test_bad_code_is_named_while_it_is_trained(line, deliveries, code):
    (line.project / "models" / MODEL / "pipeline.py").write_text(code)
    said = stopped(line, deliveries, "failed", "train")
    assert re.search(r"pipeline\.py(:\d+)?: ", said)
    assert CODES[code] in said


def test_a_model_that_learned_nothing_is_not_registered(line, deliveries):
    code = (
        "from sklearn.dummy import DummyClassifier\ndef pipeline():\n    return DummyClassifier()"
    )
    (line.project / "models" / MODEL / "pipeline.py").write_text(code)
    said = stopped(line, deliveries, "stopped", "train")
    assert "training failed: better than a constant: roc_auc 0.5000" in said
    assert [it.version for it in line.ledger.candidates(MODEL)] == ["1"]


def test_code_that_is_not_committed_does_not_go_to_production(line, deliveries):
    path = line.project / "models" / MODEL / "helper.py"
    path.write_text("# not committed\n")
    said = stopped(line, deliveries, "stopped", "check code")
    path.unlink()
    assert "the release to production failed: code is committed: not as in commit" in said
    assert "models/tumor/helper.py; commit it, or set allow_dirty in andon.yaml" in said


def test_every_problem_of_a_spec_is_said_at_once_and_on_the_terminal(line):
    path = line.project / "models" / MODEL / "model.yaml"
    path.write_text("data: x.parquet\ntask: guessing\ncolour: red\n")
    done = line.andon("deliver", MODEL, check=False)
    assert done.returncode == 1
    run = next(it for it in line.ledger.runs(MODEL) if it.flow == "deliver")
    assert run.outcome == "failed"
    problems = ("3 problem(s)", "target: missing", "task: found 'guessing'", "colour: unknown key")
    for said in (done.stdout, run.message):
        assert "Traceback" not in said
        for word in ("models/tumor/model.yaml", *problems):
            assert word in said


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Another, small disk in place of this folder."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_is_nearly_full_stops_a_delivery_before_it_begins(line, deliveries):
    with small_disk(line.settings.store, "20m"):
        said = stopped(line, deliveries, "failed", "")
        assert "20 MiB free, a delivery needs 256: make room" in said
        assert list(line.settings.store.iterdir()) == []


def test_a_disk_that_is_too_small_stops_the_platform_before_it_begins(line):
    with scratch_folder() as folder, small_disk(folder, "100m"):
        (folder / "andon.yaml").touch()
        done = subprocess.run(
            [str(Path(sys.executable).parent / "andon"), "up"],
            cwd=folder,
            env={**line.environment(), "ANDON_PROJECT": str(folder), "ANDON_HOME": ".andon"},
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
        )
        assert done.returncode == 1
        assert "nothing was started" in done.stderr
        assert "100 MiB free, needs 1,024: make room, or set ANDON_HOME" in done.stderr
        assert [it.name for it in folder.iterdir()] == ["andon.yaml"]


WORSE = """
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def pipeline():
    one = ColumnTransformer([("one", "passthrough", ["mean_texture"])])
    return make_pipeline(one, LogisticRegression())
"""


def test_a_worse_candidate_is_registered_but_not_released_and_a_broken_one_gets_no_traffic(
    line, deliveries
):
    folder = line.project / "models" / MODEL
    (folder / "pipeline.py").write_text(WORSE)
    (folder / "tests" / "test_tumor.py").unlink()  # it knows that something is wrong
    spec = (folder / "model.yaml").read_text()
    (folder / "model.yaml").write_text(spec.replace("limit: 0.95", "limit: 0.6"))
    said = stopped(line, deliveries, "stopped", "mirror")
    assert "evaluation failed: not worse than champion: roc_auc" in said
    worse = line.ledger.candidate(MODEL, "2")
    assert worse is not None
    assert Registry(line.settings.registry_url).version_of(MODEL, worse.build) == "2"
    assert {it.version for it in line.ledger.releases(MODEL)} == {"1"}

    # Released by hand all the same, and its bundle is not what it was: its server ends at once.
    bundle = line.settings.state / worse.bundle
    (bundle / "linear.json").write_bytes(b"broken")
    with Steady(line, MODEL) as steady:
        done = line.andon("release", MODEL, "2", check=False)
        assert steady.failures == []
        assert {it.version for it in steady.answers} == {"1"}
    assert done.returncode == 1
    assert "was rolled back" in done.stdout and "linear.json" in done.stdout
    (release,) = [it for it in line.ledger.releases(MODEL) if it.version == "2"]
    assert release.rollout.phase == "rolled_back"
    weights = [it.weights for it in line.ledger.transitions(release.seq)]
    assert not any("production-tumor-v2" in it for it in weights)
    url = f"{line.settings.gateway_url}/production/{MODEL}/predict"
    pinned = httpx.post(url, json={"records": []}, headers={"X-Andon-Version": "2"}, timeout=10)
    assert pinned.status_code == 404
