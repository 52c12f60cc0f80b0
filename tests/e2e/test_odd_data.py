"""Tables that nobody expects: each is delivered to live traffic, or stopped with a reason."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest
import yaml
from line_under_test import LineUnderTest, copy_project
from one_process import Deliveries, last_station
from support import free_port_block, scratch_folder, wait_until

from andon.settings import Settings

pytestmark = pytest.mark.slow

ROWS = 400
PIPELINE = textwrap.dedent("""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder


    def pipeline():
        texts = OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=float("nan"), min_frequency=2
        )
        columns = make_column_transformer(
            (texts, make_column_selector(dtype_include=object)), remainder="passthrough"
        )
        return make_pipeline(columns, HistGradientBoostingClassifier(max_iter=20, random_state=0))
""")
SPEC = {
    "data": "data/rows.csv",
    "target": "y",
    "task": "binary",
    "metric": {"margin": 0.2},
    "tests": {"robustness": 0.01},
    "slices": {"find": False},
    "release": {
        "staging": {"requests": 5},
        "production": {
            "strategy": "all_at_once",
            "steps": [{"weight": 100, "seconds": 0, "min_requests": 5}],
        },
    },
    "monitors": [],
}


def table(rows: int = ROWS) -> pl.DataFrame:
    """A feature that tells much of the target."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=rows).round(4)
    y = np.where(x + rng.normal(0, 0.5, rows) > 0, "yes", "no")
    return pl.DataFrame({"x": x, "y": y})


def csv(made: pl.DataFrame) -> bytes:
    return made.write_csv().encode()


def wide() -> bytes:
    rng = np.random.default_rng(1)
    noise = {f"column {i:04}": rng.normal(size=ROWS).round(3) for i in range(1_999)}
    return csv(table().with_columns(**{name: pl.Series(it) for name, it in noise.items()}))


def mixed(column: str, values: list[str]) -> bytes:
    """The values one after the other, as text in a CSV."""
    cells = [values[i % len(values)] for i in range(ROWS)]
    return csv(table().with_columns(pl.Series(column, cells)))


def many_categories() -> bytes:
    rows = 100_000
    return csv(table(rows).with_columns(pl.Series("city", [f"city {i}" for i in range(rows)])))


SERVED: dict[str, Callable[[], bytes]] = {
    "one-column": lambda: csv(table()),
    "wide": wide,
    "a-constant": lambda: csv(table().with_columns(pl.lit(7).alias("seven"))),
    "mixed-types": lambda: mixed("mixed", ["12", "twelve", "12.5", "true"]),
    "non-ascii": lambda: csv(table().rename({"x": "größe [µm] \N{SNOWMAN} \"'"})),
    "huge-integers": lambda: mixed("count", ["9007199254740993", "9223372036854775807", "-1"]),
    "dates-in-three-forms": lambda: mixed("when", ["2026-01-31", "31.01.2026", "Jan 31, 2026"]),
    "many-categories": many_categories,
}


@dataclass(frozen=True)
class Stop:
    """What has to be stopped: where, and with which words."""

    content: Callable[[], bytes]
    station: str
    words: tuple[str, ...]


STOPPED = {
    "no-rows": Stop(lambda: b"x,y\n", "take snapshot", ("rows.csv", "0 rows")),
    "empty-file": Stop(lambda: b"", "take snapshot", ("rows.csv",)),
    "one-row": Stop(lambda: b"x,y\n1,yes\n", "validate", ("found 1", "needs exactly 2 classes")),
    "three-rows": Stop(
        lambda: b"x,y\n1,yes\n2,no\n3,yes\n", "split rows", ("held-out rows are too few",)
    ),
    "nothing-but-nulls": Stop(
        lambda: csv(table().with_columns(pl.lit(None, pl.String).alias("nothing"))),
        "train",
        ("no value at all", "`drop`: nothing"),
    ),
    "beyond-int64": Stop(
        lambda: mixed("count", ["18446744073709551616", "-5", "7"]),
        "take snapshot",
        ("rows.csv", "'count'", "beyond 64 bits", "store them as text"),
    ),
    "twice-the-name": Stop(lambda: b"x,y,x\n1,yes,2\n", "take snapshot", ("stand twice", "'x'")),
    "not-utf8": Stop(lambda: "x,y\nä,yes\n".encode("latin-1"), "take snapshot", ("rows.csv",)),
}


@pytest.fixture(scope="module")
def line() -> Iterator[LineUnderTest]:
    with scratch_folder() as folder:
        copy_project(folder, ())
        found = LineUnderTest(Settings(project=folder, port_base=free_port_block(), image="off"))
        try:
            found.andon("up")
            yield found
        finally:
            found.close()


@pytest.fixture(scope="module")
def deliveries(line: LineUnderTest) -> Iterator[Deliveries]:
    made = Deliveries(line)
    yield made
    made.close()


def add(line: LineUnderTest, model: str, content: bytes) -> None:
    """A model project, committed."""
    folder = line.project / "models" / model
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "rows.csv").write_bytes(content)
    (folder / "model.yaml").write_text(yaml.safe_dump(SPEC))
    (folder / "pipeline.py").write_text(PIPELINE)
    line.track(model)


@pytest.mark.parametrize("model", SERVED)
def test_it_is_delivered_and_answers(line: LineUnderTest, deliveries: Deliveries, model: str):
    add(line, model, SERVED[model]())
    run = deliveries.deliver(model)
    assert run.outcome == "completed", run.message
    record = line.sample(model)
    answer = line.ask(model, record)
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"][0]["label"] in ("yes", "no")
    again = deliveries.deliver(model)
    assert again.outcome == "completed"
    assert line.champion(model) == "1", "nothing new, nothing released"


@pytest.mark.parametrize("model", STOPPED)
def test_it_is_stopped_with_a_reason(line: LineUnderTest, deliveries: Deliveries, model: str):
    wanted = STOPPED[model]
    add(line, model, wanted.content())
    run = deliveries.deliver(model)
    assert run.outcome in ("failed", "stopped")
    for word in wanted.words:
        assert word in run.message
    wait_until(
        lambda: last_station(line, run.id) == wanted.station, 30, f"stopped at {wanted.station}"
    )
    assert line.champion(model) is None
