"""Bad data, bad code, bad specs, bad candidates: the line stops at the right station, says why, and
the champion keeps serving.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import polars as pl
import pytest
from line_under_test import LineUnderTest, commit

from andon.adapters.mlflow_registry import Registry

pytestmark = pytest.mark.slow

Damage = Callable[[pl.DataFrame], pl.DataFrame]
MODEL = "tumor"


@pytest.fixture(scope="module", autouse=True)
def delivered(line: LineUnderTest) -> None:
    line.andon("deliver", MODEL)


@pytest.fixture(autouse=True)
def as_it_was(line: LineUnderTest) -> Iterator[None]:
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


def stopped(line: LineUnderTest) -> tuple[str, str]:
    """Deliver, see it end badly; what the terminal said, and what the ledger keeps."""
    done = line.andon("deliver", MODEL, check=False)
    assert done.returncode == 1, done.stdout
    run = line.ledger.runs(MODEL, limit=1)[0]
    assert run.outcome in ("stopped", "failed") and run.ended_at is not None
    assert "Traceback" not in done.stdout + done.stderr + run.message
    return done.stdout, run.message


DAMAGES: dict[str, tuple[Damage, str, list[str]]] = {
    "a missing column": (lambda t: t.drop("mean_radius"), "validate", ["mean_radius"]),
    "a wrong type": (
        lambda t: t.with_columns(pl.format("{} cm", "mean_radius").alias("mean_radius")),
        "validate",
        ["mean_radius"],
    ),
    "all nulls in the target": (
        lambda t: t.with_columns(pl.lit(None, pl.String).alias("diagnosis")),
        "validate",
        ["diagnosis", "null"],
    ),
    "one class only": (
        lambda t: t.filter(pl.col("diagnosis") == "benign"),
        "validate",
        ["diagnosis", "class"],
    ),
    "0 rows": (lambda t: t.head(0), "take snapshot", ["0 rows"]),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_damaged_data_stops_the_line_at_its_station(line: LineUnderTest, what: str):
    damage, station, words = DAMAGES[what]
    table = damage(pl.read_parquet(data(line)))
    data(line).unlink()  # it may be a link into DVC's store
    table.write_parquet(data(line))
    line.track(MODEL)
    said, kept = stopped(line)
    stations = [row for row in said.splitlines() if "✓" in row or "✗" in row]
    assert any(station in row for row in stations)
    assert not any("train" in row for row in stations), "nothing after it ran"
    for word in words:
        assert word in kept, kept


def test_a_file_that_is_not_parquet(line: LineUnderTest):
    data(line).unlink()
    data(line).write_bytes(b"not a table")
    line.track(MODEL)
    _, kept = stopped(line)
    assert "tumor.parquet" in kept and "not a readable Parquet file" in kept


def test_no_such_file(line: LineUnderTest):
    data(line).unlink()
    data(line).with_suffix(".parquet.dvc").unlink()
    _, kept = stopped(line)
    assert "tumor.parquet" in kept and "dvc add" in kept


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def pipeline(:", ["pipeline.py", "SyntaxError"]),
        ("def pipeline():\n    raise RuntimeError('no luck')", ["pipeline.py", "no luck"]),
        ("def pipeline():\n    return 7", ["pipeline.py", "int"]),
        ("def other():\n    return 7", ["pipeline.py", "`pipeline`"]),
    ],
)
def test_bad_code_is_named(line: LineUnderTest, code: str, words: list[str]):
    (line.project / "models" / MODEL / "pipeline.py").write_text(code)
    _, kept = stopped(line)
    for word in words:
        assert word in kept, kept


def test_every_problem_of_a_spec_is_said_at_once(line: LineUnderTest):
    path = line.project / "models" / MODEL / "model.yaml"
    path.write_text("data: x.parquet\ntask: guessing\ncolour: red\n")
    _, kept = stopped(line)
    for word in ("models/tumor/model.yaml", "target", "guessing", "colour"):
        assert word in kept, kept


WORSE = """
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def pipeline():
    one = ColumnTransformer([("one", "passthrough", ["mean_texture"])])
    return make_pipeline(one, LogisticRegression())
"""


def test_a_worse_candidate_is_registered_but_not_released_and_a_broken_one_gets_no_traffic(
    line: LineUnderTest,
):
    folder = line.project / "models" / MODEL
    (folder / "pipeline.py").write_text(WORSE)
    spec = (folder / "model.yaml").read_text()
    (folder / "model.yaml").write_text(spec.replace("limit: 0.95", "limit: 0.6"))
    _, kept = stopped(line)
    assert "not worse than champion" in kept
    worse = line.ledger.candidate(MODEL, "2")
    assert worse is not None
    assert Registry(line.settings).version_of(MODEL, worse.build) == "2"
    assert {it.version for it in line.ledger.releases(MODEL)} == {"1"}

    # Released by hand all the same, and its bundle is not what it was: its server ends at once.
    bundle = line.settings.state / worse.bundle
    (bundle / "model.skops").write_bytes(b"broken")
    done = line.andon("release", MODEL, "2", check=False)
    assert done.returncode == 1
    assert "model.skops" in done.stdout
    (release,) = [it for it in line.ledger.releases(MODEL) if it.version == "2"]
    assert release.rollout.phase == "rolled_back"
    weights = [it.weights for it in line.ledger.transitions(release.seq)]
    assert not any("production-tumor-v2" in it for it in weights)
    url = f"{line.settings.gateway_url}/production/{MODEL}/predict"
    pinned = httpx.post(url, json={"records": []}, headers={"X-Andon-Version": "2"}, timeout=10)
    assert pinned.status_code == 404
