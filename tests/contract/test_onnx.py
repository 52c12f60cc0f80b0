"""What skl2onnx converts is loaded and asked as it should be; whether it is right, parity tells."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    HistGradientBoostingClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.svm import SVC

from serving.bundle import BundleError, Column, Manifest, Onnx, Signature
from serving.compiling.convert import compile_onnx
from serving.compiling.errors import CannotCompile
from serving.engines.base import Refused
from serving.engines.front import Chain, FrontSpec
from serving.engines.onnx import Graph, load_onnx
from serving.table import Table

WIDTH = 8
X, Y2 = make_classification(2500, WIDTH, n_informative=6, n_redundant=0, random_state=0, flip_y=0.1)
Y3 = make_classification(2500, WIDTH, n_informative=6, n_classes=3, random_state=0)[1]
Y = np.abs(X[:, 0] * 3 + X[:, 1] ** 2)
TRAIN, TEST = slice(0, 500), slice(500, 2500)
SIGNATURE = Signature([Column(f"x{i}", "number") for i in range(WIDTH)])
VOTERS = [("linear", LogisticRegression()), ("bayes", GaussianNB())]

CLASSIFIERS = {
    "components": [PCA(4), LogisticRegression()],
    "support vectors": [CalibratedClassifierCV(SVC(), ensemble=False)],
    "neighbours": [KNeighborsClassifier()],
    "network": [MLPClassifier((20,), max_iter=40, tol=0.1, random_state=0)],
    "bayes": [GaussianNB()],
    "quadratic": [QuadraticDiscriminantAnalysis()],
    "calibrated": [CalibratedClassifierCV(GaussianNB())],
    "voting": [VotingClassifier(VOTERS, voting="soft")],
    "stacking": [StackingClassifier(VOTERS)],
    "polynomial": [PolynomialFeatures(2), LogisticRegression(max_iter=1000)],
    "adaptive boosting": [AdaBoostClassifier(n_estimators=9, random_state=0)],
}
REGRESSORS = {
    "neighbours": [KNeighborsRegressor()],
    "network": [MLPRegressor(hidden_layer_sizes=(20,), max_iter=400, tol=0.1, random_state=0)],
    "polynomial": [PolynomialFeatures(2), Ridge()],
    "counts": [PoissonRegressor()],
}


def fitted(estimators, y, x=X):
    return make_pipeline(*estimators).fit(x[TRAIN], y[TRAIN])


def steps(model):
    return [step for _, step in model.steps]


def manifest_of(model, **changes) -> Manifest:
    classes = np.asarray(getattr(model, "classes_", [])).tolist()
    task = {0: "regression", 2: "binary"}.get(len(classes), "multiclass")
    facts = {"task": task, "classes": classes, "positive": len(classes) - 1, "engine": Onnx()}
    return Manifest(model="m", version="1", target="y", build="b", **{**facts, **changes})


def load(folder, model, **changes):
    """The model through its files."""
    manifest = manifest_of(model, **changes)
    for name, raw in compile_onnx(steps(model), WIDTH, manifest).items():
        (folder / name).write_bytes(raw)
    spec = FrontSpec(base=[0.0] * WIDTH, chains=[Chain(i, i) for i in range(WIDTH)])
    (folder / "front.json").write_bytes(msgspec.json.encode(spec))
    return load_onnx(folder, manifest, SIGNATURE)


def table_of(x) -> Table:
    return Table(len(x), [np.ascontiguousarray(column) for column in x.T])


def graph_of(folder) -> Graph:
    return msgspec.json.decode((folder / "onnx.json").read_bytes(), type=Graph)


@pytest.mark.parametrize("y", [Y2, Y3], ids=["binary", "multiclass"])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_answer_as_scikit_learn_does(tmp_path, name, y):
    model = fitted(CLASSIFIERS[name], y)
    engine = load(tmp_path, model)
    found = engine.table(table_of(X[TEST]))
    exact = graph_of(tmp_path).type == "float64"
    np.testing.assert_allclose(
        found.scores, model.predict_proba(X[TEST]), atol=1e-6 if exact else 1e-4
    )
    flips = np.count_nonzero(found.labels != model.predict(X[TEST]))
    assert flips == 0 if exact else flips <= 2


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_answer_as_scikit_learn_does(tmp_path, name):
    model = fitted(REGRESSORS[name], Y)
    found = load(tmp_path, model).table(table_of(X[TEST]))
    assert found.labels == []
    exact = graph_of(tmp_path).type == "float64"
    tolerance = 1e-9 if exact else 1e-4
    np.testing.assert_allclose(
        found.scores, model.predict(X[TEST])[:, None], rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize(
    ("estimators", "y"),
    [
        (CLASSIFIERS["network"], Y3),
        (CLASSIFIERS["components"], Y3),
        (CLASSIFIERS["calibrated"], Y2),
        (REGRESSORS["polynomial"], Y),
        (REGRESSORS["neighbours"], Y),
    ],
)
def test_a_row_is_the_same_alone_and_in_a_table(tmp_path, estimators, y):
    engine = load(tmp_path, fitted(estimators, y))
    table = engine.table(table_of(X))
    for row in range(500):
        alone = engine.row(tuple(X[row].tolist()))
        assert alone == (table.labels[row : row + 1], table.scores[row : row + 1])


@pytest.mark.parametrize("names", [["no", "yes"], ["b", "a"], [False, True], [3, 10], "zyx"])
def test_labels_are_positions_of_the_manifests_classes(tmp_path, names):
    y = np.array(list(names))[Y2 if len(names) == 2 else Y3]
    model = fitted([LogisticRegression()], y)
    found = load(tmp_path, model).table(table_of(X))
    assert [model.classes_.tolist()[it] for it in found.labels] == model.predict(X).tolist()
    assert np.argmax(found.scores, axis=1).tolist() == found.labels


def test_a_threshold_decides_instead_of_the_model(tmp_path):
    model = fitted([GaussianNB()], Y2)
    for positive in (0, 1):
        engine = load(tmp_path, model, engine=Onnx(threshold=0.2), positive=positive)
        found = engine.table(table_of(X))
        chosen = np.array(found.scores)[:, positive] >= 0.2
        assert found.labels == np.where(chosen, positive, 1 - positive).tolist()
        assert found.labels != model.predict(X).tolist()


@pytest.mark.parametrize("bad", [None, np.inf, -np.inf, 1e39])
def test_what_the_model_does_not_take_is_refused(tmp_path, bad):
    engine = load(tmp_path, fitted(CLASSIFIERS["adaptive boosting"], Y2))  # float32
    row = [0.0] * WIDTH
    row[3] = bad
    with pytest.raises(Refused, match="row 0: the model takes no"):
        engine.row(tuple(row))
    x = np.zeros((3, WIDTH))
    x[2, 3] = np.nan if bad is None else bad
    with pytest.raises(Refused, match="row 2: the model takes no"):
        engine.table(table_of(x))


def test_nulls_are_for_a_model_that_takes_them(tmp_path):
    x = np.where(np.random.default_rng(0).random(X.shape) < 0.1, np.nan, X)
    model = fitted([SimpleImputer(), LogisticRegression()], Y2, x)
    engine = load(tmp_path, model)
    found = engine.table(table_of(x[TEST]))
    np.testing.assert_allclose(found.scores, model.predict_proba(x[TEST]), atol=1e-5)
    with pytest.raises(Refused, match="too large"):
        engine.row((np.inf,) * WIDTH)


def test_an_answer_that_is_not_finite_is_refused(tmp_path):
    engine = load(tmp_path, fitted([PoissonRegressor()], Y))
    with pytest.raises(Refused, match="row 1: the model has no finite answer"):
        engine.table(table_of(np.stack([np.zeros(WIDTH), np.full(WIDTH, 1e300)])))


@pytest.mark.parametrize("name", ["neighbours", "stacking", "voting", "adaptive boosting"])
def test_the_same_model_gives_the_same_bytes(name):
    model = fitted(CLASSIFIERS[name], Y2)
    manifest = manifest_of(model)
    first, second = (compile_onnx(steps(model), WIDTH, manifest) for _ in range(2))
    assert first == second


def test_the_model_given_is_left_as_it_is():
    model = fitted(CLASSIFIERS["voting"], Y2)
    compile_onnx(steps(model), WIDTH, manifest_of(model))
    assert model[-1].flatten_transform is True


@pytest.mark.parametrize(
    ("estimators", "reason"),
    [
        # The converter hands over booleans where protobuf wants integers.
        ([HistGradientBoostingClassifier(max_iter=3)], "skl2onnx: .*TreeEnsemble"),
        ([Nystroem(n_components=9), LogisticRegression()], "float64: .*Nystroem.*; float32: "),
        ([CalibratedClassifierCV(GaussianNB(), method="temperature")], "Temperature"),
    ],
)
def test_what_is_not_converted_is_told_with_the_librarys_reason(capfd, estimators, reason):
    model = fitted(estimators, Y2)
    with pytest.raises(CannotCompile, match=reason):
        compile_onnx(steps(model), WIDTH, manifest_of(model))
    assert capfd.readouterr() == ("", "")


def test_classes_that_are_not_the_manifests_are_told():
    model = fitted([GaussianNB()], Y3)
    with pytest.raises(CannotCompile, match="classes are"):
        compile_onnx(steps(model), WIDTH, manifest_of(model, classes=["a", "b"]))


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("onnx.json", b"{}", "onnx.json"),
        ("onnx.json", b'{"width":9,"type":"float64","outputs":["label"]}', "does not fit"),
        (
            "onnx.json",
            b'{"width":8,"type":"float64","outputs":["nothing"],"labels":[0,1]}',
            "not among",
        ),
        ("model.onnx", b"rubbish", "model.onnx"),
        ("front.json", b"[]", "front.json"),
    ],
)
def test_files_that_are_malformed_or_do_not_fit_make_no_engine(tmp_path, capfd, name, raw, message):
    model = fitted([GaussianNB()], Y2)
    load(tmp_path, model)
    (tmp_path / name).write_bytes(raw)
    with pytest.raises(BundleError, match=message):
        load_onnx(tmp_path, manifest_of(model), SIGNATURE)
    assert capfd.readouterr() == ("", "")


def test_a_server_needs_no_other_library_and_hears_nothing(tmp_path):
    load(tmp_path, fitted(CLASSIFIERS["network"], Y2))
    program = (
        "import sys, pathlib\n"
        "from serving.bundle import Column, Manifest, Onnx, Signature\n"
        "from serving.engines.onnx import load_onnx\n"
        f"columns = [Column(f'x{{i}}', 'number') for i in range({WIDTH})]\n"
        "manifest = Manifest(model='m', version='1', target='y', build='b', task='binary',\n"
        "    classes=[0, 1], positive=1, engine=Onnx())\n"
        "engine = load_onnx(pathlib.Path(sys.argv[1]), manifest, Signature(columns))\n"
        f"engine.row((0.5,) * {WIDTH})\n"
        "strange = {'sklearn', 'onnx', 'skl2onnx', 'pandas', 'scipy'} & set(sys.modules)\n"
        "assert not strange, strange\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
