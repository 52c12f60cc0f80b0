"""Real bundles of small models, and real prediction servers in processes of their own.

As a script: write one bundle and print its digest (`server_kit.py KIND FOLDER`).
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
)

from serving.bundle import Column, Manifest, Signature
from serving.frame import raw_value
from serving.writing import write_bundle

COLUMNS = [
    Column("monthly fee", "number"),
    Column("visits", "integer"),
    Column("paper", "boolean", nullable=False),
    Column("since", "date"),
    Column("plan", "category"),
    Column("region", "category"),
]
NUMBERS = ["monthly fee", "visits", "since"]
SAMPLES = 30


def frame(rows: int = 400) -> pd.DataFrame:
    """Every kind of column, with nulls in all but one."""
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {
        "monthly fee": random.gamma(2, 20, rows),
        "visits": random.integers(0, 9, rows).astype(float),
        "paper": random.integers(0, 2, rows).astype(float),
        "since": random.integers(18_000, 20_000, rows) + random.choice([0.0, 0.25], rows),
        "plan": random.choice(["basic", "plus", "rare"], rows, p=[0.6, 0.3, 0.1]).astype(object),
        "region": random.choice(["north", "south"], rows).astype(object),
    }
    for column in COLUMNS:
        if column.nullable:
            columns[column.name][random.random(rows) < 0.1] = np.nan
    return pd.DataFrame(
        {name: pd.Series(values, dtype=values.dtype) for name, values in columns.items()}
    )


def linear() -> Pipeline:
    """Scaled numbers and one-hot categories; "region" takes no category it has not seen."""
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    plan = OneHotEncoder(handle_unknown="ignore")
    columns = [
        ("numbers", numbers, NUMBERS),
        ("plan", plan, ["plan", "paper"]),
        ("region", OneHotEncoder(), ["region"]),
    ]
    return make_pipeline(ColumnTransformer(columns), LogisticRegression(max_iter=500))


def trees() -> Pipeline:
    """Native categories, nulls as they are."""
    codes = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan
    )
    columns = ColumnTransformer([("codes", codes, ["plan", "region"])], remainder="passthrough")
    model = HistGradientBoostingClassifier(max_iter=20, random_state=0, categorical_features=[0, 1])
    return make_pipeline(columns, model)


def forest() -> Pipeline:
    """Columns chosen by type, functions of NumPy, a union, and settings of a big machine."""
    numbers = make_pipeline(
        FunctionTransformer(np.log1p), SimpleImputer(), FunctionTransformer(np.abs)
    )
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder())
    by_type = ColumnTransformer(
        [
            ("numbers", numbers, make_column_selector(dtype_include=np.number)),
            ("texts", texts, make_column_selector(dtype_include=object)),
        ]
    )
    rest = ColumnTransformer([("paper", "passthrough", ["paper"])])
    model = RandomForestClassifier(20, random_state=0, n_jobs=2)
    return make_pipeline(FeatureUnion([("types", by_type), ("rest", rest)]), model)


def search() -> GridSearchCV:
    """A search around a whole pipeline."""
    return GridSearchCV(linear(), {"logisticregression__C": [0.1, 1.0]}, cv=2)


def as_pandas() -> Pipeline:
    """Steps that hand each other data frames, and select from them by name."""
    first = linear().steps[0][1].set_params(sparse_threshold=0)
    first.set_params(plan__sparse_output=False, region__sparse_output=False)
    names = ["numbers__visits", "plan__plan_basic"]
    second = ColumnTransformer([("some", StandardScaler(), names)], remainder="passthrough")
    return make_pipeline(
        first.set_output(transform="pandas"), second, LogisticRegression(max_iter=500)
    )


def regression() -> Pipeline:
    """A value instead of a class."""
    return Pipeline([("columns", linear().steps[0][1]), ("line", Ridge())])


KINDS = {
    "linear": linear,
    "trees": trees,
    "forest": forest,
    "search": search,
    "as_pandas": as_pandas,
    "regression": regression,
    "multiclass": trees,
}


@dataclass(frozen=True)
class Author:
    """A fitted pipeline and all that its bundle is written from."""

    pipeline: Any
    manifest: Manifest
    table: pd.DataFrame
    records: list[dict[str, Any]]
    expected: Any

    def write(self, folder: Path, **changes: Any) -> str:
        """Write the bundle, with other inputs if wanted; returns its digest."""
        inputs = {
            "manifest": self.manifest,
            "signature": Signature(COLUMNS),
            "pipeline": self.pipeline,
            "samples_records": self.records,
            "profile": b"{}",
            "expected": self.expected,
        }
        return write_bundle(folder, **(inputs | changes)).digest


def author(kind: str) -> Author:
    """Fit one of KINDS."""
    table = frame()
    signal = table["monthly fee"].fillna(40.0) + 20.0 * (table["plan"] == "basic")
    if kind == "regression":
        y, task, classes = signal.to_numpy(), "regression", []
    elif kind == "multiclass":
        y, task, classes = np.digitize(signal, [30.0, 60.0]), "multiclass", [0, 1, 2]
    else:
        y, task, classes = np.where(signal > 50.0, "yes", "no"), "binary", ["no", "yes"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = KINDS[kind]().fit(table, y)
    head = table.head(SAMPLES)
    scores = pipeline.predict(head) if task == "regression" else pipeline.predict_proba(head)
    manifest = Manifest("churn", "3", task, "left", "build-1", classes)
    return Author(pipeline, manifest, table, records(head), scores)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as a client sends them."""
    return [
        {
            column.name: raw_value(column.kind, value)
            for column, value in zip(COLUMNS, row, strict=True)
        }
        for row in table.itertuples(index=False, name=None)
    ]


class Server:
    """`python -m serving`, ready to answer; leaving the block kills what still runs."""

    def __init__(self, bundle: Path, *options: object) -> None:
        command = [sys.executable, "-m", "serving", "--bundle", bundle, "--port", "0", *options]
        self.process = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        deadline = time.monotonic() + 120
        while not select.select([self.process.stdout], [], [], 0.1)[0]:
            assert time.monotonic() < deadline, "the server did not get ready"
        line = self.process.stdout.readline()
        assert " on http://" in line, f"the server said {line!r} and {self.process.poll()}"
        self.url = line.split()[-1]
        self.address = (self.url.split("/")[2].split(":")[0], int(self.url.split(":")[-1]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        return self.process.wait(60)


def start(bundle: Path, logs: Path, *options: object) -> Server:
    """With all logs, as an environment called staging."""
    folders = ("--log-dir", logs / "inference", "--feedback-dir", logs / "feedback")
    return Server(bundle, "--environment", "staging", *folders, *options)


def logged(folder: Path) -> list[dict[str, Any]]:
    """Every whole row of an inference log, however many segments it has by now."""
    found = []
    for path in sorted(folder.rglob("*.arrows")):
        with path.open("rb") as file, suppress(pa.ArrowInvalid, StopIteration):
            stream = pa.ipc.open_stream(file)
            facts = {k.decode(): v.decode() for k, v in (stream.schema.metadata or {}).items()}
            while True:
                rows = stream.read_next_batch().to_pylist()
                found += [_row(row, facts) for row in rows]
    return found


def _row(row: dict[str, Any], facts: dict[str, str]) -> dict[str, Any]:
    same = {name: facts[f"andon.{name}"] for name in ("model", "version", "environment")}
    inputs = {k.removeprefix("in."): _told(v) for k, v in row.items() if k.startswith("in.")}
    outputs = {k.removeprefix("out."): v for k, v in row.items() if k.startswith("out.")}
    rest = {k: v for k, v in row.items() if not k.startswith(("in.", "out."))}
    return {**rest, "time": row["time"].timestamp(), **same, "inputs": inputs, "outputs": outputs}


def _told(value: Any) -> Any:
    """A date as a client sends it."""
    if not isinstance(value, datetime):
        return value
    midnight = value.time() == datetime.min.time()
    return (value.date() if midnight else value.replace(tzinfo=None)).isoformat()


def lines(folder: Path) -> list[dict[str, Any]]:
    """Every whole line of the labels' log, however many files it has by now."""
    texts = [path.read_text().split("\n")[:-1] for path in sorted(folder.rglob("*.jsonl"))]
    return [json.loads(line) for text in texts for line in text]


if __name__ == "__main__":
    print(author(sys.argv[1]).write(Path(sys.argv[2])))
