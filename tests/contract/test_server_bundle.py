"""A bundle answers as its author's pipeline did, or it does not come into being, or not serve."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import server_kit
import skops.io
from server_kit import KINDS, SAMPLES, Author, author
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from threadpoolctl import threadpool_limits

from serving.bundle import (
    CHECKSUMS,
    FILES,
    BundleError,
    Column,
    Manifest,
    Signature,
    kind_of,
    read_manifest,
    seal,
)
from serving.engine import Model, Refused, assemble, load, same
from serving.engines.sklearn import TRUSTED, SklearnEngine
from serving.writing import positional


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in a server; on a busy machine OpenMP's threads mostly wait for each other."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def linear() -> Author:
    return author("linear")


ENGINES = {
    "linear": "linear",
    "trees": "trees",
    "forest": "trees",
    "search": "linear",
    "as_pandas": "linear",
    "regression": "linear",
    "multiclass": "trees",
}
SERVED = [(kind, engine) for kind in KINDS for engine in (ENGINES[kind], "sklearn")]


@pytest.fixture(scope="module", params=SERVED, ids="-".join)
def served(request, tmp_path_factory) -> tuple[Author, Model]:
    """Every kind of pipeline, in its fastest engine and as it is."""
    kind, engine = request.param
    it = author(kind)
    folder = tmp_path_factory.mktemp(kind)
    digest = it.write(folder, engines=["sklearn"] if engine == "sklearn" else None)
    assert kind_of(read_manifest(folder).engine) == engine
    engine = load(folder)
    assert engine.digest == digest
    return it, engine


def test_a_bundle_scores_rows_it_has_not_seen_as_the_pipeline_does(served):
    it, engine = served
    rest = it.table.iloc[SAMPLES:]
    method = "predict" if it.manifest.task == "regression" else "predict_proba"
    expected = getattr(it.pipeline, method)(rest)
    np.testing.assert_allclose(engine.scores(server_kit.records(rest)), expected, rtol=1e-12)
    if it.manifest.task != "regression":
        labels = [answer["label"] for answer in engine.answer(server_kit.records(rest))]
        assert labels == it.pipeline.predict(rest).tolist()


def test_a_row_scores_the_same_alone_and_among_others(served):
    it, engine = served
    together = engine.answer(server_kit.records(it.table.head(60)))
    nulls = it.table.head(60)[["plan", "region", "visits"]].isna()
    assert nulls.any().all()  # or it would prove nothing of null categories
    for record, answer in zip(server_kit.records(it.table.head(60)), together, strict=True):
        (alone,) = engine.answer([record])
        assert same(alone, answer)


def test_trees_score_the_same_alone_and_among_others_to_the_last_bit(tmp_path):
    it = author("trees")
    it.write(tmp_path)
    engine = load(tmp_path)
    together = engine.scores(it.records)
    alone = np.vstack([engine.scores([record]) for record in it.records])
    assert np.array_equal(alone, together)


def test_answers_have_the_classes_of_the_manifest(served):
    it, engine = served
    answer = engine.answer(it.records[:1])[0]
    if it.manifest.task == "regression":
        assert answer == {"value": pytest.approx(it.expected[0])}
        return
    keys = [str(label) for label in it.manifest.classes]
    assert answer["label"] in it.manifest.classes
    assert list(answer["probabilities"]) == keys
    assert sum(answer["probabilities"].values()) == pytest.approx(1.0)


def test_what_the_pipeline_says_of_unknown_categories_is_law(linear, tmp_path):
    linear.write(tmp_path)
    engine = load(tmp_path)
    record = linear.records[0]
    assert engine.answer([record | {"plan": "never seen"}])
    with pytest.raises(Refused, match="never seen"):
        engine.answer([record | {"region": "never seen"}])


def test_a_value_that_no_number_can_hold_is_not_an_answer():
    line = LinearRegression().fit([[0.0], [1.0]], [0.0, 1e5])
    manifest = Manifest("line", "1", "regression", "y", "b")
    signature = Signature([Column("x", "number")])
    engine = Model(SklearnEngine(line, manifest, signature), manifest, signature)
    assert engine.answer([{"x": 2.0}])[0]["value"] == pytest.approx(2e5)
    with pytest.raises(Refused, match=r"row 1: .* no finite answer"):
        engine.answer([{"x": 2.0}, {"x": 1.7e308}])
    with pytest.raises(Refused, match="NaN"):
        engine.answer([{"x": None}])


def test_positional_leaves_the_pipeline_as_it_was(linear):
    twin = positional(linear.pipeline)
    again = positional(twin)
    matrix = linear.table.head(5).to_numpy()
    expected = linear.pipeline.predict_proba(linear.table.head(5))
    assert np.array_equal(twin.predict_proba(matrix), expected)
    assert np.array_equal(again.predict_proba(matrix), expected)
    assert hasattr(linear.pipeline, "feature_names_in_")
    assert not hasattr(twin[0], "feature_names_in_")


@pytest.mark.parametrize("kind", ["linear", "trees", "forest"])
def test_the_same_inputs_give_the_same_digest_in_another_process(kind, tmp_path):
    digests = set()
    for seed in ("1", "2"):
        command = [sys.executable, server_kit.__file__, kind, tmp_path / seed]
        environment = os.environ | {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"}
        run = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=300
        )
        digests.add(run.stdout.strip())
    assert len(digests) == 1
    assert len(digests.pop()) == 64


def test_other_inputs_give_another_digest(linear, tmp_path):
    first = linear.write(tmp_path / "a")
    assert linear.write(tmp_path / "b") == first
    assert linear.write(tmp_path / "c", profile=b"{ }") != first


def shouted(values: Any) -> Any:
    """Anyone's code."""
    return values


def test_code_of_ones_own_is_refused_by_name(linear, tmp_path):
    pipeline = make_pipeline(FunctionTransformer(shouted), linear.pipeline)
    with pytest.raises(BundleError, match=r"not trusted.*shouted"):
        linear.write(tmp_path, pipeline=pipeline)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"expected": np.zeros((SAMPLES, 2))}, "on the training frame"),
        ({"expected": np.zeros(3)}, "shape"),
        ({"samples_records": []}, r"samples.json.*at least one"),
        ({"samples_records": [{"paper": 1}]}, r"samples.json.*true or false"),
        ({"manifest": Manifest("churn", "3", "binary", "y", "b", ["yes", "no"])}, "classes are"),
        ({"signature": Signature([Column("paper", "boolean")])}, "samples.json"),
    ],
)
def test_a_bundle_that_would_answer_otherwise_is_not_written(linear, tmp_path, changes, reason):
    with pytest.raises(BundleError, match=reason):
        linear.write(tmp_path, **changes)
    assert not (tmp_path / CHECKSUMS).exists()


def test_one_score_a_row_will_do(linear, tmp_path):
    linear.write(tmp_path / "binary", expected=linear.expected[:, 1])
    many = author("multiclass")
    many.write(tmp_path / "many", expected=many.expected.max(axis=1))


def test_a_pipeline_that_looks_at_the_other_rows_is_refused(linear, tmp_path, monkeypatch):
    rank = FunctionTransformer(np.argsort, kw_args={"axis": 0})
    steps = [clone(linear.pipeline[0]).set_params(sparse_threshold=0), rank]
    pipeline = make_pipeline(*steps, clone(linear.pipeline[1]))
    pipeline.fit(linear.table, linear.pipeline.predict(linear.table))
    expected = pipeline.predict_proba(linear.table.head(SAMPLES))
    with pytest.raises(BundleError, match=r"not trusted.*argsort"):
        linear.write(tmp_path, pipeline=pipeline, expected=expected)
    # Were it trusted, it would still not do.
    monkeypatch.setattr("serving.engines.sklearn.TRUSTED", (*TRUSTED, "numpy.argsort"))
    with pytest.raises(BundleError, match=r"alone and .* among others"):
        linear.write(tmp_path, pipeline=pipeline, expected=expected)


@pytest.mark.parametrize("name", [*FILES, CHECKSUMS, "front.json", "linear.json"])
def test_a_file_that_was_changed_or_lost_is_named(linear, tmp_path, name):
    linear.write(tmp_path)
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"\.(json|skops)"):
        load(tmp_path)
    path.unlink()
    with pytest.raises(BundleError, match=name):
        load(tmp_path)


def test_a_sealed_bundle_with_wrong_answers_does_not_load(linear, tmp_path):
    linear.write(tmp_path)
    path = tmp_path / "samples.json"
    samples = msgspec.json.decode(path.read_bytes())
    samples["answers"][4]["probabilities"]["yes"] += 1e-6
    path.write_bytes(msgspec.json.encode(samples))
    seal(tmp_path)
    with pytest.raises(BundleError, match="sample 4"):
        load(tmp_path)


@pytest.mark.parametrize("model", [Path, subprocess.run, os.path.join])
def test_a_sealed_bundle_with_a_type_that_is_not_trusted_does_not_load(linear, tmp_path, model):
    linear.write(tmp_path, engines=["sklearn"])
    skops.io.dump(model, tmp_path / "model.skops")
    seal(tmp_path)
    with pytest.raises(BundleError, match=rf"not trusted.*{model.__name__}"):
        load(tmp_path)


def test_nothing_that_acts_is_trusted():
    acting = ("os", "posix", "subprocess", "pathlib", "shutil", "importlib", "builtins.eval")
    assert not [name for name in TRUSTED if name.startswith(acting)]


def test_another_format_does_not_load(linear, tmp_path):
    linear.write(tmp_path)
    path = tmp_path / "manifest.json"
    path.write_bytes(msgspec.json.encode(msgspec.json.decode(path.read_bytes()) | {"format": 1}))
    with pytest.raises(BundleError, match="format 1, this server reads 2"):
        assemble(tmp_path)
